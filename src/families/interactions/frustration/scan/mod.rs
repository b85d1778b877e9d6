//! One pass over a session's events in the order of their time: what the matchers remember, and what they have found.
//!
//! The state after an event is a function of the events up to it, so a late one is put in its place and the pass goes on from the
//! state before it. Each step looks at a bounded number of streaks, whatever the length of the session.

mod step;
mod streak;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::step::Step;
use self::streak::Streak;
pub use self::streak::{Candidate, Member};
use super::normalized_event::NormalizedEvent;
use super::rule::{Matcher, Rule};
use super::settings::InteractionSettings;
use crate::engine::Millis;

/// What the matchers remember.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Scan {
    /// By rule; a copy shares what does not change.
    streaks: Vec<Arc<Vec<Streak>>>,
    /// Without the pauses.
    pub active_ms: i64,
    /// The last thing that a person did.
    last_human: Option<Millis>,
}

/// The effects of a step.
#[derive(Debug, Default)]
pub struct Effects {
    /// Signals that no later event changes.
    pub closed: Vec<Candidate>,
    /// Whether the signals are others than before the step.
    pub is_changed: bool,
    /// Absences whose time-out is set or cancelled: the rule, the offset of the first event to arrive, and when it is due;
    /// `None` where it is cancelled.
    pub waits: Vec<(u16, i64, Option<Millis>)>,
}

impl Scan {
    /// Takes the next event in.
    pub fn step(&mut self, event: &NormalizedEvent, settings: &InteractionSettings, effects: &mut Effects) {
        if event.kind.is_human() {
            if let Some(last) = self.last_human {
                let pause = event.time - last;
                self.active_ms += if pause <= settings.active_gap { pause } else { 0 };
            }
            self.last_human = Some(event.time);
        }
        self.streaks.resize(settings.rules.len(), Arc::default());
        let rules = settings.rules.iter().zip(&mut self.streaks).enumerate();
        for (place, (rule, streaks)) in rules.filter(|(_, (rule, _))| rule.kinds & event.kind.bit() != 0) {
            let mut step = Step { rule: place, event, streaks, effects };
            match &rule.matcher {
                Matcher::Count(count) => step.count(count),
                Matcher::Absence(absence) => step.absence(absence),
                Matcher::Reversal(reversal) => step.reversal(reversal),
                Matcher::Sequence(sequence) => step.sequence(sequence),
            }
        }
    }

    /// Without what depends on the rules.
    pub fn without_streaks(&self) -> Self {
        Self { streaks: Vec::new(), ..*self }
    }

    /// What is found, or waited for, and may still change with the next event. `is_closed`: the session is over.
    pub fn open(&self, settings: &InteractionSettings, is_closed: bool, found: &mut Vec<Candidate>) {
        for (place, (Rule { matcher, .. }, streaks)) in settings.rules.iter().zip(&self.streaks).enumerate() {
            for streak in &**streaks {
                match matcher {
                    Matcher::Count(_) | Matcher::Reversal(_) if streak.fired => {
                        found.push(streak.candidate(place, None));
                    }
                    Matcher::Absence(absence) if absence.then.is_empty() && absence.takes(streak.count) => {
                        found.push(streak.candidate(place, Some(streak.started + absence.within)));
                    }
                    Matcher::Absence(absence)
                        if absence.or_session_end && is_closed && absence.takes(streak.count) =>
                    {
                        found.push(streak.candidate(place, None));
                    }
                    _ => {}
                }
            }
        }
    }
}
