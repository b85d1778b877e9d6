//! The rows: sessions, signals and incidents.

use std::collections::BTreeMap;
use std::sync::Arc;

use compact_str::CompactString;
use uuid::Uuid;

use super::correlate::{IncidentContent, RULE, SignalContent};
use super::entries::{events, head_mut, index, tail};
use super::kind::Kind;
use super::rows::{FrustrationRow, Session, Signal};
use super::scan::Member;
use super::session::{Entry, Part, Path, SignalName};
use super::{Frustration, evidence};
use crate::engine::rows::RowMeta;
use crate::engine::{Context, Millis};
use crate::families::incident::Incident;

impl Frustration {
    /// Emits the session's row.
    pub(super) fn emit_session(
        &self,
        context: &mut Context<'_, Self>,
        name: i64,
        change: impl FnOnce(&mut RowMeta),
    ) {
        let Some(window) = index(context).sessions.iter().find(|(other, _)| *other == name).map(|it| it.1)
        else {
            // It is absorbed, and no more in the index.
            return self.emit_absorbed(context, name, change);
        };
        self.emit_session_of(context, name, (window.start, window.end), change);
    }

    fn emit_absorbed(&self, context: &mut Context<'_, Self>, name: i64, change: impl FnOnce(&mut RowMeta)) {
        let start = events(context, name).map(|event| event.time).min();
        let end = events(context, name).map(|event| event.time).max();
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
        let evidence = evidence::of_session(context, name);
        let mut meta = context.row_meta(&parts, head.first_arrival, &evidence);
        change(&mut meta);
        let unknown = Path::default();
        let path = match context.get(&(name, Part::Path)) {
            Some(Entry::Path(path)) => path,
            _ => &unknown,
        };
        let active_ms = tail(context, name).map_or(0, |scan| scan.active_ms);
        let mut counts: BTreeMap<CompactString, i64> = BTreeMap::new();
        for (kind, count) in Kind::ALL.iter().zip(head.counts).filter(|(_, count)| *count > 0) {
            *counts.entry(kind.name().into()).or_default() += i64::from(count);
        }
        let profile = &head.profile;
        let texts = |texts: &[Arc<str>]| texts.iter().map(|text| (&**text).into()).collect();
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

/// The producer's session: what comes behind the tenant in the key.
fn session_id(context: &Context<'_, Frustration>) -> CompactString {
    context.key().split_once('/').map_or("", |(_, session)| session).into()
}

/// What a row is named by: the event id of the first record to arrive; its offset where it has none.
fn first_name(earliest: &Member) -> String {
    if earliest.name.is_empty() { earliest.offset.to_string() } else { earliest.name.to_string() }
}

/// The id of a signal's row.
pub(super) fn signal_id(context: &Context<'_, Frustration>, signal: &SignalName, earliest: &Member) -> Uuid {
    context.row_id(&["signal", &signal.0, &first_name(earliest), &signal.2.to_string()])
}

/// The id of an incident's row.
pub(super) fn incident_id(
    context: &Context<'_, Frustration>,
    number: (i64, u8),
    content: &IncidentContent,
) -> Uuid {
    context.row_id(&[RULE, &first_name(&content.earliest), &number.1.to_string()])
}

/// Emits a signal's row.
pub(super) fn emit_signal(
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
    let mut meta = context.row_meta(&parts, content.earliest.append_time, &content.evidence);
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

/// Emits an incident's row.
pub(super) fn emit_incident(
    context: &mut Context<'_, Frustration>,
    number: (i64, u8),
    content: &IncidentContent,
    change: impl FnOnce(&mut RowMeta),
) {
    let parts = [RULE, &*first_name(&content.earliest), &*number.1.to_string()];
    let mut meta = context.row_meta(&parts, content.earliest.append_time, &content.evidence);
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
