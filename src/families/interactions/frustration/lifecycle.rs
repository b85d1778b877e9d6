//! The life of a session: what follows an event or a timer, up to its end.

use super::correlate::SignalContent;
use super::emit::{emit_incident, emit_signal};
use super::entries::{emitted_incidents, emitted_signals, end_of, head, head_mut, index, set_timer_once};
use super::scan::Effects;
use super::session::{ALL, Entry, Part, SignalName};
use super::settings::InteractionSettings;
use super::{Frustration, UPDATE, Wait, final_due};
use crate::engine::{Context, Millis};

impl Frustration {
    /// Emits what follows from an event: signals and incidents that have changed, and the session's row; and sets the timers.
    /// `extends`: the event is the last one of its session.
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

    /// The time-out of an absence is over without an answer: its signal is emitted.
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
}
