//! What is found of a session, and how it differs from what was emitted before.

use std::collections::{BTreeMap, BTreeSet};

use super::correlate::{IncidentContent, SignalContent, correlate, score};
use super::emit::{emit_incident, emit_signal, incident_id, signal_id};
use super::entries::{
    base, emitted_incidents, emitted_signals, head, head_mut, segments, set_timer_once, tail,
};
use super::normalized_event::Order;
use super::scan::Candidate;
use super::session::{Entry, Part, SignalName};
use super::settings::InteractionSettings;
use super::{Frustration, Wait};
use crate::engine::{Context, Millis};

/// How long after a signal an error still is its own.
const ERROR: Millis = 1_000;

/// What is found of a session, by name.
type Found = BTreeMap<SignalName, SignalContent>;

impl Frustration {
    /// The contents of the candidates' signals.
    pub(super) fn contents(
        &self,
        context: &Context<'_, Self>,
        name: i64,
        candidates: &[Candidate],
        settings: &InteractionSettings,
    ) -> Vec<SignalContent> {
        let errors: Vec<Millis> =
            segments(context, name).flat_map(|(_, segment)| segment.errors.iter().copied()).collect();
        let content = |candidate: &Candidate| {
            let place = errors.partition_point(|error| *error < candidate.started);
            let is_error = errors.get(place).is_some_and(|error| *error <= candidate.ended + ERROR);
            SignalContent::of(candidate, settings, is_error)
        };
        candidates.iter().filter_map(content).collect()
    }

    /// What is found of a session, and what is waited for, with the time that has to pass first.
    pub(super) fn found(
        &self,
        context: &Context<'_, Self>,
        name: i64,
        settings: &InteractionSettings,
    ) -> BTreeMap<SignalName, (SignalContent, Option<Millis>)> {
        let Some(head) = head(context, name) else { return BTreeMap::new() };
        let mut candidates: Vec<Candidate> =
            segments(context, name).flat_map(|(_, segment)| segment.closed.iter().cloned()).collect();
        if let Some(scan) = tail(context, name) {
            scan.open(settings, head.closed, &mut candidates);
        }
        let dues: Vec<Option<Millis>> = candidates.iter().map(|candidate| candidate.due).collect();
        let contents = self.contents(context, name, &candidates, settings);
        let left = base(context, name).into_iter().flat_map(|base| base.signals.iter().cloned());
        let all = left.map(|content| (content, None)).chain(contents.into_iter().zip(dues));
        let mut found = BTreeMap::new();
        for (content, due) in all {
            let mut signal = (content.rule.clone(), content.earliest.offset, 0);
            while found.contains_key(&signal) && signal.2 < u8::MAX {
                signal.2 += 1;
            }
            found.insert(signal, (content, due));
        }
        found
    }

    /// Emits what is found and was not emitted before, or otherwise; and retracts what does not hold any more.
    pub(super) fn emit_found(
        &self,
        context: &mut Context<'_, Self>,
        name: i64,
        settings: &InteractionSettings,
    ) {
        let emitted = emitted_signals(context, name);
        let mut waited: BTreeSet<Wait> = context.timers().map(|(timer, _)| timer.clone()).collect();
        waited.retain(|timer| matches!(timer, Wait::Absence(session, _) if *session == name));
        let mut found = Found::new();
        for (signal, (content, due)) in self.found(context, name, settings) {
            match due.filter(|_| !emitted.contains_key(&signal)) {
                None => drop(found.insert(signal, content)),
                Some(due) => {
                    let timer = Wait::Absence(name, signal);
                    set_timer_once(context, &timer, due);
                    waited.remove(&timer);
                }
            }
        }
        for timer in waited {
            context.cancel_timer(&timer);
        }
        let now = head(context, name).and_then(|head| head.last).map_or(Millis::MIN, Order::time);
        let is_closed = head(context, name).is_some_and(|head| head.closed);
        let mut names: Vec<SignalName> = found.keys().cloned().collect();
        names.sort_by(|one, other| {
            let of = |signal: &SignalName| {
                let content = found.get(signal)?;
                // The element before the place in the log, which is by the order of arrival.
                Some((content.started, content.ended, content.rule.clone(), content.element.clone()))
            };
            of(one).cmp(&of(other)).then_with(|| one.cmp(other))
        });
        let mut signals: Vec<SignalContent> =
            names.iter().filter_map(|signal| found.remove(signal)).collect();
        let mut incidents = BTreeMap::new();
        for incident in correlate(&mut signals, settings, now, is_closed) {
            let mut number = (incident.earliest.offset, 0_u8);
            while incidents.contains_key(&number) && number.1 < u8::MAX {
                number.1 += 1;
            }
            incidents.insert(number, incident);
        }
        let holds: BTreeMap<SignalName, SignalContent> = names.into_iter().zip(signals).collect();
        self.emit_signals(context, name, emitted, &holds, &incidents);
        self.emit_incidents(context, name, &incidents);
        let until =
            incidents.values().filter(|incident| !incident.is_over).map(|incident| incident.ended).min();
        let frustration = score(holds.values().map(|content| content.weight));
        if let Some(head) = head_mut(context, name) {
            head.open_until = until.map(|ended| ended.saturating_add(settings.together));
            let now = (holds.len() as u32, frustration);
            head.is_dirty |= (head.signals, head.score) != now;
            (head.signals, head.score) = now;
        }
    }

    fn emit_signals(
        &self,
        context: &mut Context<'_, Self>,
        name: i64,
        emitted: BTreeMap<SignalName, SignalContent>,
        holds: &BTreeMap<SignalName, SignalContent>,
        incidents: &BTreeMap<(i64, u8), IncidentContent>,
    ) {
        for (signal, content) in &emitted {
            if holds.contains_key(signal) {
                continue;
            }
            context.remove(&(name, Part::Signal(signal.clone())));
            // One of the same rule that has its events now.
            let heir = holds.iter().find(|((rule, ..), other)| {
                *rule == signal.0 && other.started <= content.ended && content.started <= other.ended
            });
            let into = heir.map(|(signal, content)| signal_id(context, signal, &content.earliest));
            emit_signal(context, signal, content, incidents, |meta| {
                meta.retracted = true;
                meta.merged_into = into;
            });
        }
        for (signal, content) in holds {
            if emitted.get(signal) != Some(content) {
                emit_signal(context, signal, content, incidents, |_| {});
                context.put(&(name, Part::Signal(signal.clone())), Entry::Signal(Box::new(content.clone())));
            }
        }
    }

    fn emit_incidents(
        &self,
        context: &mut Context<'_, Self>,
        name: i64,
        incidents: &BTreeMap<(i64, u8), IncidentContent>,
    ) {
        let emitted = emitted_incidents(context, name);
        for (number, content) in &emitted {
            if incidents.contains_key(number) {
                continue;
            }
            context.remove(&(name, Part::Incident(number.0, number.1)));
            let heir = incidents.iter().find(|(_, other)| {
                other.route == content.route
                    && other.started <= content.ended
                    && content.started <= other.ended
            });
            let into = heir.map(|(number, content)| incident_id(context, *number, content));
            emit_incident(context, *number, content, |meta| {
                meta.retracted = true;
                meta.merged_into = into;
            });
        }
        for (number, content) in incidents {
            if emitted.get(number) != Some(content) {
                emit_incident(context, *number, content, |_| {});
                let part = Part::Incident(number.0, number.1);
                context.put(&(name, part), Entry::Incident(Box::new(content.clone())));
            }
        }
    }
}
