//! The entries and timers of a session in its key's state, read and written.

use std::collections::BTreeMap;

use compact_str::CompactString;

use super::correlate::{IncidentContent, SignalContent};
use super::normalized_event::{NormalizedEvent, Order};
use super::scan::Scan;
use super::session::{ALL, Base, Entry, Head, Index, Name, Part, Segment, SignalName};
use super::{Frustration, Wait};
use crate::engine::{Context, Millis};

/// The sessions of the key.
pub(super) fn index(context: &Context<'_, Frustration>) -> Index {
    match context.get(&(ALL, Part::Index)) {
        Some(Entry::Index(index)) => index.clone(),
        _ => Index::default(),
    }
}

/// When the last event of a session was.
pub(super) fn end_of(context: &Context<'_, Frustration>, name: i64) -> Option<Millis> {
    let Some(Entry::Index(index)) = context.get(&(ALL, Part::Index)) else { return None };
    index.sessions.iter().find(|(other, _)| *other == name).map(|(_, window)| window.end)
}

/// The head of a session.
pub(super) fn head<'a>(context: &'a Context<'_, Frustration>, name: i64) -> Option<&'a Head> {
    match context.get(&(name, Part::Head)) {
        Some(Entry::Head(head)) => Some(head),
        _ => None,
    }
}

/// The head of a session, to be changed.
pub(super) fn head_mut<'a>(context: &'a mut Context<'_, Frustration>, name: i64) -> Option<&'a mut Head> {
    match context.get_mut(&(name, Part::Head)) {
        Some(Entry::Head(head)) => Some(head),
        _ => None,
    }
}

/// A session's events, in the order of their arrival.
pub(super) fn events<'a>(
    context: &'a Context<'_, Frustration>,
    name: i64,
) -> impl DoubleEndedIterator<Item = &'a NormalizedEvent> {
    let event = |entry: &'a Entry| match entry {
        Entry::Event(event) => Some(&**event),
        _ => None,
    };
    let names = (name, Part::Event(i64::MIN))..=(name, Part::Event(i64::MAX));
    context.range(names).filter_map(move |(_, entry)| event(entry))
}

/// A session's events from one on, in the order of their time.
pub(super) fn events_from<'a>(
    context: &'a Context<'_, Frustration>,
    name: i64,
    from: Order,
) -> Vec<(Order, &'a NormalizedEvent)> {
    let ordered = events(context, name).map(|event| (event.order(), event));
    let mut events: Vec<_> = ordered.filter(|(order, _)| *order >= from).collect();
    events.sort_unstable_by_key(|(order, _)| *order);
    events
}

/// The segments of a session, each with the first of its events.
pub(super) fn segments<'a>(
    context: &'a Context<'_, Frustration>,
    name: i64,
) -> impl DoubleEndedIterator<Item = (Order, &'a Segment)> {
    segments_up_to(context, name, Order::LAST)
}

/// The segments of a session that begin no later than `order`.
pub(super) fn segments_up_to<'a>(
    context: &'a Context<'_, Frustration>,
    name: i64,
    order: Order,
) -> impl DoubleEndedIterator<Item = (Order, &'a Segment)> {
    let segment = |(name, entry): (&Name, &'a Entry)| match (&name.1, entry) {
        (Part::Segment(order), Entry::Segment(segment)) => Some((*order, &**segment)),
        _ => None,
    };
    let names = (name, Part::Segment(Order::FIRST))..=(name, Part::Segment(order));
    context.range(names).filter_map(segment)
}

/// The state of the matchers after the last event.
pub(super) fn tail<'a>(context: &'a Context<'_, Frustration>, name: i64) -> Option<&'a Scan> {
    match context.get(&(name, Part::Tail)) {
        Some(Entry::Tail(scan)) => Some(scan),
        _ => None,
    }
}

/// What is left of events that are not kept any more.
pub(super) fn base<'a>(context: &'a Context<'_, Frustration>, name: i64) -> Option<&'a Base> {
    match context.get(&(name, Part::Base)) {
        Some(Entry::Base(base)) => Some(base),
        _ => None,
    }
}

/// Keeps an event of a session.
pub(super) fn put_event(context: &mut Context<'_, Frustration>, name: i64, event: NormalizedEvent) {
    context.put(&(name, Part::Event(event.offset)), Entry::Event(Box::new(event)));
}

/// Keeps a segment of a session, which begins at `order`.
pub(super) fn put_segment(context: &mut Context<'_, Frustration>, name: i64, order: Order, segment: Segment) {
    context.put(&(name, Part::Segment(order)), Entry::Segment(Box::new(segment)));
}

/// The signals of a session that were emitted.
pub(super) fn emitted_signals(
    context: &Context<'_, Frustration>,
    name: i64,
) -> BTreeMap<SignalName, SignalContent> {
    let of = |(part, entry): (&(i64, Part), &Entry)| match (part, entry) {
        ((session, Part::Signal(signal)), Entry::Signal(content)) if *session == name => {
            Some((signal.clone(), SignalContent::clone(content)))
        }
        _ => None,
    };
    context
        .range((name, Part::Signal((CompactString::const_new(""), i64::MIN, 0)))..=(name, Part::LAST))
        .filter_map(of)
        .collect()
}

/// The incidents of a session that were emitted.
pub(super) fn emitted_incidents(
    context: &Context<'_, Frustration>,
    name: i64,
) -> BTreeMap<(i64, u8), IncidentContent> {
    let of = |(part, entry): (&(i64, Part), &Entry)| match (part, entry) {
        ((session, Part::Incident(offset, number)), Entry::Incident(content)) if *session == name => {
            Some(((*offset, *number), IncidentContent::clone(content)))
        }
        _ => None,
    };
    context.range((name, Part::Incident(i64::MIN, 0))..=(name, Part::LAST)).filter_map(of).collect()
}

/// Sets a timer, unless it is set so already: one that is set anew would wait anew, where its due time is past.
pub(super) fn set_timer_once(context: &mut Context<'_, Frustration>, timer: &Wait, due: Millis) {
    if context.timer(timer) != Some(due) {
        context.set_timer(timer, due);
    }
}
