//! A session's events in chunks, and the pass over them.

use std::sync::Arc;

use super::fact::Fact;
use super::scan::{Candidate, Scan};
use super::session::{Base, CHUNK, Chunk, Entry, Part, Profile};
use super::settings::InteractionSettings;
use super::{Interactions, Wait, end_of, head, head_mut};
use crate::stream::Context;

/// The last event of a session.
pub(super) fn last_fact<'a>(context: &'a Context<'_, Interactions>, name: i64) -> Option<&'a Fact> {
    let (first, end) = head(context, name)?.chunks;
    chunk(context, name, end.checked_sub(1).filter(|last| *last >= first)?)?.facts.last()
}

/// A chunk of a session's events.
pub(super) fn chunk<'a>(context: &'a Context<'_, Interactions>, name: i64, number: u32) -> Option<&'a Chunk> {
    match context.get(&(name, Part::Chunk(number))) {
        Some(Entry::Chunk(chunk)) => Some(chunk),
        _ => None,
    }
}

/// The state of the matchers after the last event.
pub(super) fn tail<'a>(context: &'a Context<'_, Interactions>, name: i64) -> Option<&'a Scan> {
    match context.get(&(name, Part::Tail)) {
        Some(Entry::Tail(scan)) => Some(scan),
        _ => None,
    }
}

/// What is left of events that are not kept any more.
pub(super) fn base<'a>(context: &'a Context<'_, Interactions>, name: i64) -> Option<&'a Base> {
    match context.get(&(name, Part::Base)) {
        Some(Entry::Base(base)) => Some(base),
        _ => None,
    }
}

fn put_chunk(context: &mut Context<'_, Interactions>, name: i64, number: u32, chunk: Chunk) {
    context.put(&(name, Part::Chunk(number)), Entry::Chunk(chunk));
}

impl Interactions {
    /// Takes in an event that comes after all others: one step.
    pub(super) fn append(
        &self,
        context: &mut Context<'_, Self>,
        name: i64,
        fact: Fact,
        settings: &InteractionSettings,
    ) -> bool {
        let Some((first, end)) = head(context, name).map(|head| head.chunks) else { return false };
        let is_full =
            end == first || chunk(context, name, end - 1).is_none_or(|chunk| chunk.facts.len() >= CHUNK);
        let number = if is_full { end } else { end - 1 };
        if is_full {
            let before = Arc::new(tail(context, name).cloned().unwrap_or_default());
            put_chunk(context, name, number, Chunk { before, ..Chunk::default() });
        }
        let mut closed = Vec::new();
        let mut is_changed = false;
        if let Some(Entry::Tail(scan)) = context.get_mut(&(name, Part::Tail)) {
            is_changed = scan.step(&fact, settings, &mut closed);
        }
        let is_there =
            matches!(context.get(&(name, Part::Path)), Some(Entry::Path(path)) if path.is_at(&fact));
        if !is_there && let Some(Entry::Path(path)) = context.get_mut(&(name, Part::Path)) {
            path.go(&fact);
        }
        if let Some(Entry::Chunk(chunk)) = context.get_mut(&(name, Part::Chunk(number))) {
            if fact.is_error() {
                chunk.errors.push(fact.time);
            }
            chunk.closed.append(&mut closed);
            chunk.facts.push(fact);
        }
        if let Some(head) = head_mut(context, name) {
            head.chunks.1 = number + 1;
            head.kept += 1;
        }
        self.truncate(context, name, settings);
        is_changed
    }

    /// Puts a late event in its place, and goes on from there.
    pub(super) fn insert(
        &self,
        context: &mut Context<'_, Self>,
        name: i64,
        fact: Fact,
        settings: &InteractionSettings,
    ) -> bool {
        let Some((first, end, truncated)) =
            head(context, name).map(|head| (head.chunks.0, head.chunks.1, head.truncated))
        else {
            return false;
        };
        let begins_before = |number: &u32| {
            let begin = chunk(context, name, *number).and_then(|chunk| chunk.facts.first());
            begin.is_some_and(|begin| begin.order() <= fact.order())
        };
        let number = match (first..end).rev().find(begins_before) {
            Some(number) => number,
            // What lay around it is not kept any more: it counts, but changes no signal.
            None if truncated => return false,
            None => first,
        };
        let mut facts = chunk(context, name, number).map(|chunk| chunk.facts.clone()).unwrap_or_default();
        let place = facts.partition_point(|other| other.order() <= fact.order());
        facts.insert(place, fact);
        if facts.len() > CHUNK + CHUNK / 2 {
            // All that follow move; it is rare.
            let mut all = facts;
            for later in number + 1..end {
                all.extend(
                    chunk(context, name, later).into_iter().flat_map(|chunk| chunk.facts.iter().cloned()),
                );
            }
            self.put_facts(context, name, number, all);
        } else if let Some(Entry::Chunk(chunk)) = context.get_mut(&(name, Part::Chunk(number))) {
            chunk.facts = facts;
        }
        if let Some(head) = head_mut(context, name) {
            head.kept += 1;
        }
        self.scan_again(context, name, number, settings);
        self.truncate(context, name, settings);
        true
    }

    /// Writes events into chunks from `number` on; what is known of the first of them stays.
    fn put_facts(&self, context: &mut Context<'_, Self>, name: i64, number: u32, facts: Vec<Fact>) {
        let before = chunk(context, name, number).map(|chunk| Arc::clone(&chunk.before));
        let former = head(context, name).map_or(number, |head| head.chunks.1);
        let mut end = number;
        let mut rest = facts.into_iter().peekable();
        while rest.peek().is_some() {
            let facts: Vec<Fact> = rest.by_ref().take(CHUNK).collect();
            put_chunk(context, name, end, Chunk { facts, ..Chunk::default() });
            end += 1;
        }
        for number in end..former {
            context.remove(&(name, Part::Chunk(number)));
        }
        if let (Some(Entry::Chunk(chunk)), Some(before)) =
            (context.get_mut(&(name, Part::Chunk(number))), before)
        {
            chunk.before = before;
        }
        if let Some(head) = head_mut(context, name) {
            head.chunks.1 = end;
        }
    }

    /// Passes over all events once more, under other rules.
    pub(super) fn scan_anew(
        &self,
        context: &mut Context<'_, Self>,
        name: i64,
        settings: &InteractionSettings,
    ) {
        let Some((first, end)) = head(context, name).map(|head| head.chunks) else { return };
        for number in first..end {
            if let Some(Entry::Chunk(chunk)) = context.get_mut(&(name, Part::Chunk(number))) {
                let scan = if number == first { chunk.before.without_streaks() } else { Scan::default() };
                (chunk.before, chunk.closed) = (Arc::new(scan), Vec::new());
            }
        }
        self.scan_again(context, name, first, settings);
    }

    /// Passes over the events from chunk `number` on once more, until nothing is different from before.
    pub(super) fn scan_again(
        &self,
        context: &mut Context<'_, Self>,
        name: i64,
        number: u32,
        settings: &InteractionSettings,
    ) {
        let Some((_, end)) = head(context, name).map(|head| head.chunks) else { return };
        let before = chunk(context, name, number).map(|chunk| Scan::clone(&chunk.before));
        let mut scan = before.unwrap_or_default();
        for place in number..end {
            let Some(old) = chunk(context, name, place) else { continue };
            if place > number && *old.before == scan && !is_stale(old) {
                // From here on all is as it was.
                self.walk(context, name);
                return;
            }
            let facts = old.facts.clone();
            let before = Arc::new(scan.clone());
            let mut closed: Vec<Candidate> = Vec::new();
            for fact in &facts {
                scan.step(fact, settings, &mut closed);
            }
            let errors = facts.iter().filter(|fact| fact.is_error()).map(|fact| fact.time).collect();
            put_chunk(context, name, place, Chunk { before, facts, closed, errors });
        }
        context.put(&(name, Part::Tail), Entry::Tail(scan));
        self.walk(context, name);
    }

    /// Routes and pages, by all events that are kept.
    fn walk(&self, context: &mut Context<'_, Self>, name: i64) {
        let Some((first, end)) = head(context, name).map(|head| head.chunks) else { return };
        let mut path = base(context, name).map(|base| base.path.clone()).unwrap_or_default();
        for number in first..end {
            for fact in chunk(context, name, number).into_iter().flat_map(|chunk| &chunk.facts) {
                path.go(fact);
            }
        }
        context.put(&(name, Part::Path), Entry::Path(path));
    }

    /// Lets go of the first events where there are too many.
    fn truncate(&self, context: &mut Context<'_, Self>, name: i64, settings: &InteractionSettings) {
        let Some(head) = head(context, name) else { return };
        let (first, end) = head.chunks;
        if head.kept <= settings.events || end <= first + 1 {
            return;
        }
        let Some(oldest) = chunk(context, name, first) else { return };
        let mut left = base(context, name).cloned().unwrap_or_default();
        let signals = self.contents(context, name, &oldest.closed, settings);
        left.signals.extend(signals);
        for fact in &oldest.facts {
            left.path.go(fact);
        }
        let count = oldest.facts.len();
        context.put(&(name, Part::Base), Entry::Base(Box::new(left)));
        context.remove(&(name, Part::Chunk(first)));
        if let Some(head) = head_mut(context, name) {
            head.chunks.0 += 1;
            head.kept -= count;
            head.truncated = true;
        }
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
        let mut facts = Vec::new();
        for session in [name, other] {
            let Some((first, end)) = head(context, session).map(|head| head.chunks) else { continue };
            for number in first..end {
                facts.extend(
                    chunk(context, session, number).into_iter().flat_map(|chunk| chunk.facts.clone()),
                );
            }
        }
        facts.sort_by(|one, other| one.order().cmp(&other.order()));
        let mut left = base(context, name).cloned().unwrap_or_default();
        left.signals.extend(base(context, other).into_iter().flat_map(|base| base.signals.clone()));
        if left != Base::default() {
            context.put(&(name, Part::Base), Entry::Base(Box::new(left)));
        }
        let Some(absorbed) = head(context, other).cloned() else { return };
        // What was emitted or is waited for is the survivor's from now on.
        let entries: Vec<_> = context
            .entries()
            .filter(|((session, _), _)| *session == other)
            .map(|(key, entry)| (key.clone(), entry.clone()))
            .collect();
        for ((_, part), entry) in entries {
            context.remove(&(other, part.clone()));
            match (&part, entry) {
                (Part::Signal(_) | Part::Incident(..), entry) => context.put(&(name, part), entry),
                (Part::Waiting, Entry::Waiting(waiting)) => {
                    for signal in waiting.into_keys() {
                        context.cancel_timer(&Wait::Absence(other, signal));
                    }
                }
                _ => {}
            }
        }
        for timer in [Wait::Update(other), Wait::Close(other), Wait::Final(other), Wait::Final(name)] {
            context.cancel_timer(&timer);
        }
        // Either may have been over: together they are not, until nothing follows the last event of both.
        if let Some(end) = end_of(context, name) {
            context.set_timer(&Wait::Close(name), end.saturating_add(settings.gap));
        }
        if let Some(head) = head_mut(context, name) {
            head.trail.merge(&absorbed.trail);
            for (count, more) in head.counts.iter_mut().zip(absorbed.counts) {
                *count += more;
            }
            head.errors += absorbed.errors;
            head.profile = Profile::earlier(&head.profile, &absorbed.profile);
            head.kept = facts.len();
            head.truncated |= absorbed.truncated;
            head.closed = false;
            head.is_dirty = true;
        }
        let first = head(context, name).map_or(0, |head| head.chunks.0);
        self.put_facts(context, name, first, facts);
        self.scan_again(context, name, first, settings);
    }
}

/// A chunk that was just written anew: what was found in it is not known yet.
fn is_stale(chunk: &Chunk) -> bool {
    *chunk.before == Scan::default() && chunk.closed.is_empty()
}
