//! Generated sessions, sent through the API as pages send real ones.

use std::collections::HashMap;

use compact_str::CompactString;
use tokio::time::Instant;

use crate::engine::Millis;
use crate::families::demonstration::{Demo, Failure, KEY, say};
use crate::families::interactions::generate::event::Body;
use crate::families::interactions::generate::send::Sender;
use crate::families::interactions::generate::{Generator, Label, Plan, Rule, Sign};

/// What was sent.
#[derive(Debug)]
pub(super) struct Sent {
    /// By session, when its page was left last, by another page's coming or its own end.
    left: HashMap<CompactString, Option<Millis>>,
    /// What the rules are to find by now, and what must not mislead them.
    pub truth: Vec<Sign>,
    /// How many forms were begun and never left: that they are abandoned can't be known before their session has ended.
    pub unripe: usize,
    /// From which seed.
    pub seed: u64,
    /// Events, those that came twice counted twice.
    pub events: usize,
    /// When the last of them had been accepted.
    pub at: Instant,
}

impl Sent {
    /// Whether a session is one of them.
    pub fn has(&self, session_id: &str) -> bool {
        self.left.contains_key(session_id)
    }

    /// How many sessions.
    pub fn sessions(&self) -> usize {
        self.left.len()
    }
}

/// Sends the sessions, all at once: they lie in the past, and each event says when it happened.
pub(super) async fn send(sessions: u64, demo: &Demo) -> Result<Sent, Failure> {
    let seed = demo.seed;
    let mut generator = Generator::new(Plan { seed, sessions, ..Plan::default() });
    let (mut events, mut left) = (0, HashMap::<_, Option<Millis>>::new());
    let batches = generator.by_ref().inspect(|batch| {
        events += batch.events.len();
        let leaves = |body: &Body| matches!(body, Body::Navigation { .. } | Body::PageUnload);
        let last = batch.events.iter().filter(|event| leaves(&event.body)).map(|event| event.occurred_at);
        let known = left.entry(batch.visitor.session_id.clone()).or_default();
        *known = last.max().max(*known);
    });
    Sender::new(&demo.url, KEY).as_history(batches).await?;
    let is_left = |sign: &Sign| left.get(&sign.session_id).is_some_and(|at| *at >= Some(sign.started_at));
    let mut truth = generator.take_signs();
    let all = truth.len();
    truth.retain(|sign| sign.rule != Rule::AbandonedForm || sign.planted == Label::NearMiss || is_left(sign));
    let unripe = all - truth.len();
    say(&format!("Sent {events} events of {} generated browser sessions (seed {seed}).", left.len()));
    Ok(Sent { left, truth, unripe, seed, events, at: Instant::now() })
}
