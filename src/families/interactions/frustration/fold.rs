//! A session's events in the order of their time, and the pass over them.

use std::sync::Arc;

use super::evidence;
use super::fact::{Fact, Order};
use super::scan::{Effects, Scan};
use super::session::{Base, Entry, Name, Part, Path, Profile, STRETCH, Stretch};
use super::settings::InteractionSettings;
use super::{Frustration, Wait, end_of, head, head_mut};
use crate::engine::Context;

/// A session's events, in the order of their arrival.
pub(super) fn facts<'a>(
    context: &'a Context<'_, Frustration>,
    name: i64,
) -> impl DoubleEndedIterator<Item = &'a Fact> {
    let fact = |entry: &'a Entry| match entry {
        Entry::Fact(fact) => Some(&**fact),
        _ => None,
    };
    let names = (name, Part::Fact(i64::MIN))..=(name, Part::Fact(i64::MAX));
    context.range(names).filter_map(move |(_, entry)| fact(entry))
}

/// A session's events from one on, in the order of their time.
fn facts_from<'a>(context: &'a Context<'_, Frustration>, name: i64, from: Order) -> Vec<(Order, &'a Fact)> {
    let ordered = facts(context, name).map(|fact| (fact.order(), fact));
    let mut facts: Vec<_> = ordered.filter(|(order, _)| *order >= from).collect();
    facts.sort_unstable_by_key(|(order, _)| *order);
    facts
}

/// The stretches of a session, each with the first of its events.
pub(super) fn stretches<'a>(
    context: &'a Context<'_, Frustration>,
    name: i64,
) -> impl DoubleEndedIterator<Item = (Order, &'a Stretch)> {
    stretches_up_to(context, name, Order::LAST)
}

fn stretches_up_to<'a>(
    context: &'a Context<'_, Frustration>,
    name: i64,
    order: Order,
) -> impl DoubleEndedIterator<Item = (Order, &'a Stretch)> {
    let stretch = |(name, entry): (&Name, &'a Entry)| match (&name.1, entry) {
        (Part::Stretch(order), Entry::Stretch(stretch)) => Some((*order, &**stretch)),
        _ => None,
    };
    let names = (name, Part::Stretch(Order::FIRST))..=(name, Part::Stretch(order));
    context.range(names).filter_map(stretch)
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

fn put_fact(context: &mut Context<'_, Frustration>, name: i64, fact: Fact) {
    context.put(&(name, Part::Fact(fact.offset)), Entry::Fact(Box::new(fact)));
}

fn put_stretch(context: &mut Context<'_, Frustration>, name: i64, order: Order, stretch: Stretch) {
    context.put(&(name, Part::Stretch(order)), Entry::Stretch(Box::new(stretch)));
}

impl Frustration {
    /// Takes in an event that comes after all others: one step. Whether what is found is another now.
    pub(super) fn append(
        &self,
        context: &mut Context<'_, Self>,
        name: i64,
        order: Order,
        fact: Fact,
        settings: &InteractionSettings,
    ) -> bool {
        let Some(head) = head_mut(context, name) else { return false };
        head.kept += 1;
        head.of_last_stretch += 1;
        let is_first = head.kept == 1 || head.of_last_stretch > STRETCH;
        if is_first {
            head.of_last_stretch = 1;
            let before = tail(context, name).cloned().unwrap_or_default();
            put_stretch(context, name, order, Stretch { before, ..Stretch::default() });
        }
        let mut effects = Effects::default();
        if let Some(Entry::Tail(scan)) = context.get_mut(&(name, Part::Tail)) {
            scan.step(&fact, settings, &mut effects);
        }
        let is_there =
            matches!(context.get(&(name, Part::Path)), Some(Entry::Path(path)) if path.is_at(&fact));
        if !is_there && let Some(Entry::Path(path)) = context.get_mut(&(name, Part::Path)) {
            path.go(&fact);
        }
        if fact.is_error() || !effects.closed.is_empty() {
            let last = stretches(context, name).next_back().map(|(order, _)| order);
            if let Some(order) = last
                && let Some(Entry::Stretch(stretch)) = context.get_mut(&(name, Part::Stretch(order)))
            {
                stretch.errors.extend(fact.is_error().then_some(fact.time));
                stretch.closed.append(&mut effects.closed);
            }
        }
        put_fact(context, name, fact);
        self.truncate(context, name, settings);
        self.wait(context, name, &effects, settings) || effects.is_changed
    }

    /// Puts a late event in its place, and goes on from there. Whether what is found may be another now.
    pub(super) fn insert(
        &self,
        context: &mut Context<'_, Self>,
        name: i64,
        order: Order,
        fact: Fact,
        settings: &InteractionSettings,
    ) -> bool {
        let before = stretches_up_to(context, name, order).next_back().map(|(order, _)| order);
        let first = stretches(context, name).next().map(|(order, _)| order);
        let from = match (before, first) {
            (Some(before), _) => before,
            // What lay around it is not kept any more: it counts, but changes no signal.
            (None, _) if head(context, name).is_some_and(|head| head.truncated) => return false,
            (None, first) => {
                if let Some(first) = first {
                    context.remove(&(name, Part::Stretch(first)));
                }
                put_stretch(context, name, order, Stretch::default());
                order
            }
        };
        put_fact(context, name, fact);
        if let Some(head) = head_mut(context, name) {
            head.kept += 1;
        }
        self.scan_again(context, name, from, settings);
        self.truncate(context, name, settings);
        true
    }

    /// Passes over all events once more, under other rules or since there are others.
    pub(super) fn scan_anew(
        &self,
        context: &mut Context<'_, Self>,
        name: i64,
        settings: &InteractionSettings,
    ) {
        let former: Vec<Order> = stretches(context, name).map(|(order, _)| order).collect();
        let left = stretches(context, name).next().map(|(_, stretch)| stretch.before.without_streaks());
        for order in former {
            context.remove(&(name, Part::Stretch(order)));
        }
        let Some(first) = facts(context, name).map(Fact::order).min() else { return };
        // What has been active before the first event that is kept stays.
        let before = left.unwrap_or_default();
        put_stretch(context, name, first, Stretch { before, ..Stretch::default() });
        self.scan_again(context, name, first, settings);
    }

    /// Passes over the events of a stretch and all that follow once more, until nothing is different from before.
    fn scan_again(
        &self,
        context: &mut Context<'_, Self>,
        name: i64,
        from: Order,
        settings: &InteractionSettings,
    ) {
        let Some(Entry::Stretch(first)) = context.get(&(name, Part::Stretch(from))) else { return };
        let mut scan = first.before.clone();
        let (mut written, mut count) = (Vec::new(), 0);
        let (mut order, mut stretch) = (from, Stretch { before: scan.clone(), ..Stretch::default() });
        let mut effects = Effects::default();
        let mut is_as_before = false;
        let known = (name, Part::Stretch(from))..=(name, Part::Stretch(Order::LAST));
        let mut known = context.range(known).skip(1).peekable();
        for (next, fact) in facts_from(context, name, from) {
            let former = known.next_if(|((_, part), _)| *part == Part::Stretch(next)).map(|(_, entry)| entry);
            if former.is_some() || count > STRETCH + STRETCH / 2 {
                stretch.closed.append(&mut effects.closed);
                written.push((order, std::mem::take(&mut stretch)));
                (order, count) = (next, 0);
                if matches!(former, Some(Entry::Stretch(former)) if former.before == scan) {
                    // From here on all is as it was.
                    is_as_before = true;
                    break;
                }
                stretch.before = scan.clone();
            }
            scan.step(fact, settings, &mut effects);
            stretch.errors.extend(fact.is_error().then_some(fact.time));
            count += 1;
        }
        drop(known);
        if !is_as_before {
            stretch.closed.append(&mut effects.closed);
            written.push((order, stretch));
            context.put(&(name, Part::Tail), Entry::Tail(scan));
            if let Some(head) = head_mut(context, name) {
                head.of_last_stretch = count;
            }
        }
        for (order, stretch) in written {
            put_stretch(context, name, order, stretch);
        }
        let mut path = base(context, name).map_or_else(Path::default, |base| base.path.clone());
        for (_, fact) in facts_from(context, name, Order::FIRST) {
            path.go(fact);
        }
        context.put(&(name, Part::Path), Entry::Path(Box::new(path)));
    }

    /// Lets go of the first events where there are too many.
    fn truncate(&self, context: &mut Context<'_, Self>, name: i64, settings: &InteractionSettings) {
        if head(context, name).is_none_or(|head| head.kept <= settings.events) {
            return;
        }
        let mut stretches = stretches(context, name);
        let (Some((first, oldest)), Some((second, _))) = (stretches.next(), stretches.next()) else { return };
        let mut left = base(context, name).cloned().unwrap_or_default();
        left.signals.extend(self.contents(context, name, &oldest.closed, settings));
        let mut gone = Vec::new();
        let facts = facts_from(context, name, first);
        for (_, fact) in facts.iter().take_while(|(order, _)| *order < second) {
            left.path.go(fact);
            gone.push(fact.offset);
            left.records.push((fact.offset, Arc::clone(&fact.name)));
        }
        left.records = evidence::ends(left.records);
        drop(stretches);
        if let Some(head) = head_mut(context, name) {
            head.kept -= gone.len();
            head.truncated = true;
        }
        for offset in gone {
            context.remove(&(name, Part::Fact(offset)));
        }
        context.remove(&(name, Part::Stretch(first)));
        context.put(&(name, Part::Base), Entry::Base(Box::new(left)));
    }

    /// Takes the session `other` into `name`, which arrived before; its row, if there is one, is retracted.
    pub(super) fn absorb(
        &self,
        context: &mut Context<'_, Self>,
        name: i64,
        other: i64,
        settings: &InteractionSettings,
    ) {
        self.retract(context, name, other);
        let Some(absorbed) = head(context, other).cloned() else { return };
        if let Some(head) = head_mut(context, name) {
            for (count, more) in head.counts.iter_mut().zip(absorbed.counts) {
                *count += more;
            }
            head.errors += absorbed.errors;
            head.profile = Profile::earlier(&head.profile, &absorbed.profile);
            head.last = head.last.max(absorbed.last);
            head.kept += absorbed.kept;
            head.truncated |= absorbed.truncated;
            head.closed = false;
            head.is_dirty = true;
        }
        for (part, entry) in self.forget(context, other) {
            match (part, entry) {
                // Its events, and what was emitted, are the survivor's from now on.
                (part @ (Part::Fact(_) | Part::Signal(_) | Part::Incident(..)), entry) => {
                    context.put(&(name, part), entry);
                }
                (Part::Base, Entry::Base(base)) => {
                    let mut left = self::base(context, name).cloned().unwrap_or_default();
                    left.signals.extend(base.signals);
                    left.records = evidence::ends([left.records, base.records].concat());
                    context.put(&(name, Part::Base), Entry::Base(Box::new(left)));
                }
                _ => {}
            }
        }
        // Either may have been over: together they are not, until nothing follows the last event of both.
        context.cancel_timer(&Wait::Final(name));
        if let Some(end) = end_of(context, name) {
            context.set_timer(&Wait::Close(name), end.saturating_add(settings.gap));
        }
        self.scan_anew(context, name, settings);
    }

    /// Forgets a session: its entries, which are returned, and its timers.
    pub(super) fn forget(&self, context: &mut Context<'_, Self>, name: i64) -> Vec<(Part, Entry)> {
        let entries: Vec<(Part, Entry)> = context
            .range((name, Part::FIRST)..=(name, Part::LAST))
            .map(|((_, part), entry)| (part.clone(), entry.clone()))
            .collect();
        for (part, _) in &entries {
            context.remove(&(name, part.clone()));
        }
        let timers: Vec<Wait> = context
            .timers()
            .map(|(timer, _)| timer)
            .filter(|timer| timer.session() == name)
            .cloned()
            .collect();
        for timer in timers {
            context.cancel_timer(&timer);
        }
        entries
    }
}
