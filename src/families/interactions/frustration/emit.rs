//! What is emitted: the difference between what is found and what was emitted before.

use std::collections::{BTreeMap, BTreeSet};

use compact_str::CompactString;
use uuid::Uuid;

use super::correlate::{IncidentContent, RULE, SignalContent, correlate, score};
use super::fact::{Kind, Order};
use super::scan::{Candidate, Effects, Member};
use super::session::{Entry, Part, Path, SignalName};
use super::settings::InteractionSettings;
use super::{ALL, Frustration, UPDATE, Wait, end_of, evidence, final_due, fold, head, head_mut, index};
use crate::engine::Millis;
use crate::engine::rows::RowMeta;
use crate::families::incident::Incident;
use crate::families::interactions::frustration::rows::{FrustrationRow, Session, Signal};
use crate::engine::Context;

/// How long after a signal an error still is its own.
const ERROR: Millis = 1_000;

/// What is found of a session, by name.
type Found = BTreeMap<SignalName, SignalContent>;

impl Frustration {
    /// What candidates say.
    pub(super) fn contents(
        &self,
        context: &Context<'_, Self>,
        name: i64,
        candidates: &[Candidate],
        settings: &InteractionSettings,
    ) -> Vec<SignalContent> {
        let errors: Vec<Millis> =
            fold::stretches(context, name).flat_map(|(_, stretch)| stretch.errors.iter().copied()).collect();
        let content = |candidate: &Candidate| {
            let place = errors.partition_point(|error| *error < candidate.started);
            let is_error = errors.get(place).is_some_and(|error| *error <= candidate.ended + ERROR);
            SignalContent::of(candidate, settings, is_error)
        };
        candidates.iter().filter_map(content).collect()
    }

    /// What follows an event: signals and incidents that are others now, the session's row, and what is waited for. `extends`: the
    /// event is the last one of its session.
    pub(super) fn after(
        &self,
        context: &mut Context<'_, Self>,
        name: i64,
        is_changed: bool,
        extends: bool,
        settings: &InteractionSettings,
    ) {
        let Some(end) = end_of(context, name) else { return };
        if extends && head(context, name).is_some_and(|head| head.closed) {
            if let Some(head) = head_mut(context, name) {
                head.closed = false;
            }
            context.cancel_timer(&Wait::Final(name));
            context.set_timer(&Wait::Close(name), end.saturating_add(settings.gap));
            self.emit_found(context, name, settings);
        } else if is_changed {
            self.emit_found(context, name, settings);
        }
        self.update(context, name);
    }

    /// Emits the session's row, if it is another one and the last was long enough ago; else a timer will.
    pub(super) fn update(&self, context: &mut Context<'_, Self>, name: i64) {
        let now = context.append_time();
        let Some(head) = head(context, name) else { return };
        if !head.is_dirty {
            return;
        }
        if head.emitted_at.is_none_or(|at| now >= at + UPDATE) {
            self.emit_session(context, name, |_| {});
        } else if !head.is_scheduled {
            let due = context.watermark().saturating_add(UPDATE);
            context.set_timer(&Wait::Update(name), due);
            if let Some(head) = head_mut(context, name) {
                head.is_scheduled = true;
            }
        }
    }

    /// Sets and cancels the timers of signals that only time brings. Whether one of them has been emitted, and is another now.
    pub(super) fn wait(
        &self,
        context: &mut Context<'_, Self>,
        name: i64,
        effects: &Effects,
        settings: &InteractionSettings,
    ) -> bool {
        let mut is_emitted = false;
        for (rule, offset, due) in &effects.waits {
            let Some(rule) = settings.rules.get(usize::from(*rule)) else { continue };
            let signal = (rule.name.clone(), *offset, 0);
            if context.get(&(name, Part::Signal(signal.clone()))).is_some() {
                is_emitted = true;
                continue;
            }
            let timer = Wait::Absence(name, signal);
            match due {
                Some(due) => set_timer_once(context, &timer, *due),
                None => context.cancel_timer(&timer),
            }
        }
        is_emitted
    }

    /// Nothing has come that would be a signal's answer.
    pub(super) fn ripen(
        &self,
        context: &mut Context<'_, Self>,
        name: i64,
        signal: &SignalName,
        settings: &InteractionSettings,
    ) {
        let mut found = self.found(context, name, settings);
        let Some((content, _)) = found.remove(signal) else { return };
        // It counts from now on as one that was emitted; what it says is emitted with its incident.
        let blank = SignalContent { count: 0, ..content };
        context.put(&(name, Part::Signal(signal.clone())), Entry::Signal(Box::new(blank)));
        self.emit_found(context, name, settings);
        self.update(context, name);
    }

    /// The session has been silent for so long that it is over, unless something came meanwhile.
    pub(super) fn close(&self, context: &mut Context<'_, Self>, name: i64, settings: &InteractionSettings) {
        let Some(end) = end_of(context, name) else { return };
        let due = end.saturating_add(settings.gap);
        if due >= context.watermark() {
            return context.set_timer(&Wait::Close(name), due);
        }
        if let Some(head) = head_mut(context, name) {
            (head.closed, head.is_dirty) = (true, true);
        }
        self.emit_found(context, name, settings);
        self.emit_session(context, name, |_| {});
        context.set_timer(&Wait::Final(name), final_due(end, settings));
    }

    /// No event can change the session any more: what holds is emitted once more, as final, and all is forgotten.
    pub(super) fn finish(&self, context: &mut Context<'_, Self>, name: i64, due: Millis) {
        self.emit_session(context, name, |meta| meta.is_final = true);
        let incidents = emitted_incidents(context, name);
        for (part, content) in emitted_signals(context, name) {
            emit_signal(context, &part, &content, &incidents, |meta| meta.is_final = true);
        }
        for (number, content) in &incidents {
            emit_incident(context, *number, content, |meta| meta.is_final = true);
        }
        self.forget(context, name);
        context.drop_through(due);
        let mut index = index(context);
        index.sessions.retain(|(other, _)| *other != name);
        let gap = context.settings().gap.saturating_add(context.settings().grace);
        // What lies before such a cut would be late.
        index.cuts.retain(|cut| !context.is_closed(cut.saturating_add(gap)));
        if index.sessions.is_empty() && index.cuts.is_empty() {
            context.remove(&(ALL, Part::Index));
        } else {
            context.put(&(ALL, Part::Index), Entry::Index(index));
        }
    }

    /// Retracts the row of a session that another one absorbs.
    pub(super) fn retract(&self, context: &mut Context<'_, Self>, name: i64, absorbed: i64) {
        let survivor = head(context, name).map(|head| head.event_id.clone());
        let into = survivor.map(|event_id| context.row_id(&["session", &name.to_string(), &event_id]));
        if head(context, absorbed).is_some_and(|head| head.emitted_at.is_some()) {
            self.emit_session(context, absorbed, |meta| {
                meta.retracted = true;
                meta.merged_into = into;
            });
        }
    }

    /// What is found of a session, and what is waited for, with the time that has to pass first.
    fn found(
        &self,
        context: &Context<'_, Self>,
        name: i64,
        settings: &InteractionSettings,
    ) -> BTreeMap<SignalName, (SignalContent, Option<Millis>)> {
        let Some(head) = head(context, name) else { return BTreeMap::new() };
        let stretches = fold::stretches(context, name);
        let mut candidates: Vec<Candidate> =
            stretches.flat_map(|(_, stretch)| stretch.closed.iter().cloned()).collect();
        if let Some(scan) = fold::tail(context, name) {
            scan.open(settings, head.closed, &mut candidates);
        }
        let dues: Vec<Option<Millis>> = candidates.iter().map(|candidate| candidate.due).collect();
        let contents = self.contents(context, name, &candidates, settings);
        let base = fold::base(context, name).into_iter().flat_map(|base| base.signals.iter().cloned());
        let all = base.map(|content| (content, None)).chain(contents.into_iter().zip(dues));
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
    fn emit_found(&self, context: &mut Context<'_, Self>, name: i64, settings: &InteractionSettings) {
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

    fn emit_session(&self, context: &mut Context<'_, Self>, name: i64, change: impl FnOnce(&mut RowMeta)) {
        let Some(window) = index(context).sessions.iter().find(|(other, _)| *other == name).map(|it| it.1)
        else {
            // It is absorbed, and no more in the index.
            return self.emit_absorbed(context, name, change);
        };
        self.emit_session_of(context, name, (window.start, window.end), change);
    }

    fn emit_absorbed(&self, context: &mut Context<'_, Self>, name: i64, change: impl FnOnce(&mut RowMeta)) {
        let start = fold::facts(context, name).map(|fact| fact.time).min();
        let end = fold::facts(context, name).map(|fact| fact.time).max();
        if let (Some(start), Some(end)) = (start, end) {
            self.emit_session_of(context, name, (start, end), change);
        }
    }

    fn emit_session_of(
        &self,
        context: &mut Context<'_, Self>,
        name: i64,
        (started_at, ended_at): (Millis, Millis),
        change: impl FnOnce(&mut RowMeta),
    ) {
        let now = context.append_time();
        let Some(head) = head_mut(context, name) else { return };
        (head.emitted_at, head.is_dirty) = (Some(now), false);
        let head = head.clone();
        let parts = ["session", &*name.to_string(), &*head.event_id];
        let trail = evidence::trail(context, name);
        let mut meta = context.row_meta(&parts, head.first_arrival, &trail);
        change(&mut meta);
        let unknown = Path::default();
        let path = match context.get(&(name, Part::Path)) {
            Some(Entry::Path(path)) => path,
            _ => &unknown,
        };
        let active_ms = fold::tail(context, name).map_or(0, |scan| scan.active_ms);
        let mut counts: BTreeMap<CompactString, i64> = BTreeMap::new();
        for (kind, count) in Kind::ALL.iter().zip(head.counts).filter(|(_, count)| *count > 0) {
            *counts.entry(kind.name().into()).or_default() += i64::from(count);
        }
        let profile = &head.profile;
        let texts = |texts: &[std::sync::Arc<str>]| texts.iter().map(|text| (&**text).into()).collect();
        let row = Session {
            session_id: session_id(context),
            meta,
            user: profile.user.clone(),
            device: profile.device.clone(),
            browser: profile.browser.clone(),
            os: profile.os.clone(),
            started_at,
            ended_at,
            duration_ms: ended_at - started_at,
            active_ms,
            closed: head.closed,
            events: head.events() as i64,
            counts,
            entry: path.routes.first().map(|route| (&**route).into()).unwrap_or_default(),
            exit: path.exit().into(),
            routes: texts(&path.routes),
            pages: texts(&path.pages),
            errors: i64::from(head.errors),
            signals: head.signals as i32,
            score: head.score as i32,
            truncated: head.truncated,
        };
        context.emit(FrustrationRow::Session(row));
    }
}

/// One that is set anew would wait anew, where its due time is past.
fn set_timer_once(context: &mut Context<'_, Frustration>, timer: &Wait, due: Millis) {
    if context.timer(timer) != Some(due) {
        context.set_timer(timer, due);
    }
}

fn emitted_signals(context: &Context<'_, Frustration>, name: i64) -> BTreeMap<SignalName, SignalContent> {
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

fn emitted_incidents(context: &Context<'_, Frustration>, name: i64) -> BTreeMap<(i64, u8), IncidentContent> {
    let of = |(part, entry): (&(i64, Part), &Entry)| match (part, entry) {
        ((session, Part::Incident(offset, number)), Entry::Incident(content)) if *session == name => {
            Some(((*offset, *number), IncidentContent::clone(content)))
        }
        _ => None,
    };
    context.range((name, Part::Incident(i64::MIN, 0))..=(name, Part::LAST)).filter_map(of).collect()
}

/// The producer's session: what comes behind the tenant in the key.
fn session_id(context: &Context<'_, Frustration>) -> CompactString {
    context.key().split_once('/').map_or("", |(_, session)| session).into()
}

/// What a row is named by: the event id of the first record to arrive; its offset where it has none.
fn first_name(earliest: &Member) -> String {
    if earliest.name.is_empty() { earliest.offset.to_string() } else { earliest.name.to_string() }
}

fn signal_id(context: &Context<'_, Frustration>, signal: &SignalName, earliest: &Member) -> Uuid {
    context.row_id(&["signal", &signal.0, &first_name(earliest), &signal.2.to_string()])
}

fn incident_id(context: &Context<'_, Frustration>, number: (i64, u8), content: &IncidentContent) -> Uuid {
    context.row_id(&[RULE, &first_name(&content.earliest), &number.1.to_string()])
}

fn emit_signal(
    context: &mut Context<'_, Frustration>,
    signal: &SignalName,
    content: &SignalContent,
    incidents: &BTreeMap<(i64, u8), IncidentContent>,
    change: impl FnOnce(&mut RowMeta),
) {
    let incident = content.incident.and_then(|offset| {
        let mut of = incidents.range((offset, 0)..=(offset, u8::MAX));
        of.find(|(_, incident)| incident.route == content.route)
    });
    let incident_id = incident.map(|(number, incident)| incident_id(context, *number, incident));
    let parts = ["signal", &*signal.0, &*first_name(&content.earliest), &*signal.2.to_string()];
    let mut meta = context.row_meta(&parts, content.earliest.append_time, &content.trail);
    change(&mut meta);
    let (element, element_id) = content.element.clone().unzip();
    context.emit(FrustrationRow::Signal(Signal {
        session_id: session_id(context),
        meta,
        rule: content.rule.clone(),
        route: (&*content.route).into(),
        element: element.filter(|selector| !selector.is_empty()),
        element_id,
        started_at: content.started,
        ended_at: content.ended,
        count: i32::try_from(content.count).unwrap_or(i32::MAX),
        weight: content.weight as i32,
        is_error: content.is_error,
        incident_id,
    }));
}

fn emit_incident(
    context: &mut Context<'_, Frustration>,
    number: (i64, u8),
    content: &IncidentContent,
    change: impl FnOnce(&mut RowMeta),
) {
    let parts = [RULE, &*first_name(&content.earliest), &*number.1.to_string()];
    let mut meta = context.row_meta(&parts, content.earliest.append_time, &content.trail);
    change(&mut meta);
    let session = session_id(context);
    context.emit(FrustrationRow::Incident(Incident {
        meta,
        family: "interactions".into(),
        rule: RULE.into(),
        severity: content.severity,
        attributes: content.attributes(&session),
        subject: session.into(),
        title: content.title().into(),
        started_at: content.started,
        ended_at: content.is_over.then_some(content.ended),
    }));
}
