//! A session's events in the order of their time, and the pass over them.

use super::entries::{
    base, end_of, events, events_from, head, head_mut, put_event, put_segment, segments, segments_up_to, tail,
};
use super::evidence;
use super::normalized_event::{NormalizedEvent, Order};
use super::scan::Effects;
use super::session::{Entry, Part, Path, Profile, SEGMENT, Segment};
use super::settings::InteractionSettings;
use super::{Frustration, Wait};
use crate::engine::Context;

impl Frustration {
    /// Takes in an event that comes after all others: one step. Whether what is found is another now.
    pub(super) fn append(
        &self,
        context: &mut Context<'_, Self>,
        name: i64,
        order: Order,
        event: NormalizedEvent,
        settings: &InteractionSettings,
    ) -> bool {
        let Some(head) = head_mut(context, name) else { return false };
        head.kept += 1;
        head.of_last_segment += 1;
        let is_first = head.kept == 1 || head.of_last_segment > SEGMENT;
        if is_first {
            head.of_last_segment = 1;
            let before = tail(context, name).cloned().unwrap_or_default();
            put_segment(context, name, order, Segment { before, ..Segment::default() });
        }
        let mut effects = Effects::default();
        if let Some(Entry::Tail(scan)) = context.get_mut(&(name, Part::Tail)) {
            scan.step(&event, settings, &mut effects);
        }
        let is_there =
            matches!(context.get(&(name, Part::Path)), Some(Entry::Path(path)) if path.is_at(&event));
        if !is_there && let Some(Entry::Path(path)) = context.get_mut(&(name, Part::Path)) {
            path.go(&event);
        }
        if event.is_error() || !effects.closed.is_empty() {
            let last = segments(context, name).next_back().map(|(order, _)| order);
            if let Some(order) = last
                && let Some(Entry::Segment(segment)) = context.get_mut(&(name, Part::Segment(order)))
            {
                segment.errors.extend(event.is_error().then_some(event.time));
                segment.closed.append(&mut effects.closed);
            }
        }
        put_event(context, name, event);
        self.truncate(context, name, settings);
        self.wait(context, name, &effects, settings) || effects.is_changed
    }

    /// Puts a late event in its place, and goes on from there. Whether what is found may be another now.
    pub(super) fn insert(
        &self,
        context: &mut Context<'_, Self>,
        name: i64,
        order: Order,
        event: NormalizedEvent,
        settings: &InteractionSettings,
    ) -> bool {
        let before = segments_up_to(context, name, order).next_back().map(|(order, _)| order);
        let first = segments(context, name).next().map(|(order, _)| order);
        let from = match (before, first) {
            (Some(before), _) => before,
            // What lay around it is not kept any more: it counts, but changes no signal.
            (None, _) if head(context, name).is_some_and(|head| head.truncated) => return false,
            (None, first) => {
                if let Some(first) = first {
                    context.remove(&(name, Part::Segment(first)));
                }
                put_segment(context, name, order, Segment::default());
                order
            }
        };
        put_event(context, name, event);
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
        let former: Vec<Order> = segments(context, name).map(|(order, _)| order).collect();
        let left = segments(context, name).next().map(|(_, segment)| segment.before.without_streaks());
        for order in former {
            context.remove(&(name, Part::Segment(order)));
        }
        let Some(first) = events(context, name).map(NormalizedEvent::order).min() else { return };
        // What has been active before the first event that is kept stays.
        let before = left.unwrap_or_default();
        put_segment(context, name, first, Segment { before, ..Segment::default() });
        self.scan_again(context, name, first, settings);
    }

    /// Passes over the events of a segment and all that follow once more, until nothing is different from before.
    fn scan_again(
        &self,
        context: &mut Context<'_, Self>,
        name: i64,
        from: Order,
        settings: &InteractionSettings,
    ) {
        let Some(Entry::Segment(first)) = context.get(&(name, Part::Segment(from))) else { return };
        let mut scan = first.before.clone();
        let (mut written, mut count) = (Vec::new(), 0);
        let (mut order, mut segment) = (from, Segment { before: scan.clone(), ..Segment::default() });
        let mut effects = Effects::default();
        let mut is_as_before = false;
        let known = (name, Part::Segment(from))..=(name, Part::Segment(Order::LAST));
        let mut known = context.range(known).skip(1).peekable();
        for (next, event) in events_from(context, name, from) {
            let former = known.next_if(|((_, part), _)| *part == Part::Segment(next)).map(|(_, entry)| entry);
            if former.is_some() || count > SEGMENT + SEGMENT / 2 {
                segment.closed.append(&mut effects.closed);
                written.push((order, std::mem::take(&mut segment)));
                (order, count) = (next, 0);
                if matches!(former, Some(Entry::Segment(former)) if former.before == scan) {
                    // From here on all is as it was.
                    is_as_before = true;
                    break;
                }
                segment.before = scan.clone();
            }
            scan.step(event, settings, &mut effects);
            segment.errors.extend(event.is_error().then_some(event.time));
            count += 1;
        }
        drop(known);
        if !is_as_before {
            segment.closed.append(&mut effects.closed);
            written.push((order, segment));
            context.put(&(name, Part::Tail), Entry::Tail(scan));
            if let Some(head) = head_mut(context, name) {
                head.of_last_segment = count;
            }
        }
        for (order, segment) in written {
            put_segment(context, name, order, segment);
        }
        let mut path = base(context, name).map_or_else(Path::default, |base| base.path.clone());
        for (_, event) in events_from(context, name, Order::FIRST) {
            path.go(event);
        }
        context.put(&(name, Part::Path), Entry::Path(Box::new(path)));
    }

    /// Lets go of the first events where there are too many.
    fn truncate(&self, context: &mut Context<'_, Self>, name: i64, settings: &InteractionSettings) {
        if head(context, name).is_none_or(|head| head.kept <= settings.events) {
            return;
        }
        let mut segments = segments(context, name);
        let (Some((first, oldest)), Some((second, _))) = (segments.next(), segments.next()) else { return };
        let mut left = base(context, name).cloned().unwrap_or_default();
        left.signals.extend(self.contents(context, name, &oldest.closed, settings));
        let mut gone = Vec::new();
        let events = events_from(context, name, first);
        for (_, event) in events.iter().take_while(|(order, _)| *order < second) {
            left.path.go(event);
            gone.push(event.offset);
            left.records.push(event.offset);
        }
        left.records = evidence::ends(left.records);
        drop(segments);
        if let Some(head) = head_mut(context, name) {
            head.kept -= gone.len();
            head.truncated = true;
        }
        for offset in gone {
            context.remove(&(name, Part::Event(offset)));
        }
        context.remove(&(name, Part::Segment(first)));
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
                (part @ (Part::Event(_) | Part::Signal(_) | Part::Incident(..)), entry) => {
                    context.put(&(name, part), entry);
                }
                (Part::Base, Entry::Base(other)) => {
                    let mut left = base(context, name).cloned().unwrap_or_default();
                    left.signals.extend(other.signals);
                    left.records = evidence::ends([left.records, other.records].concat());
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
