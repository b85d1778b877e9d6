//! An operator made of windows: an [`Aggregate`] says what is kept of a window's records, [`Windowed`] the rest.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::evidence::EvidenceState;
use super::operator::{Context, Operator, Rejection};
use super::window::{FixedWindows, SessionWindows, Window};
use crate::engine::rows::{DeadLetter, LateEvent, RowMeta};
use crate::engine::{Event, Millis};

/// What is kept of the records of a window.
pub trait Aggregate: 'static {
    /// The family's records.
    type Event: Event;
    /// The value that is kept of a window; it begins as its default.
    type Value: Default + Clone + fmt::Debug + Serialize + DeserializeOwned;
    /// The rows that it emits.
    type Row: From<DeadLetter> + From<LateEvent>;

    /// As [`Operator::NAME`].
    const NAME: &'static str;
    /// As [`Operator::VERSION`].
    const VERSION: i32;
    /// Whether rows name the records behind them (I8). A total over very many that says no keeps their number alone.
    const HAS_EVIDENCE: bool = true;

    /// Whether an event counts at all; one that doesn't only moves its key's time.
    fn accepts(&self, _event: &Self::Event) -> bool {
        true
    }

    /// Takes an event in.
    fn add(&self, value: &mut Self::Value, event: &Self::Event);

    /// Takes in another session's value, which began after this one to arrive.
    fn merge(&self, value: &mut Self::Value, other: &Self::Value);

    /// The row of a window.
    fn row(&self, meta: RowMeta, window: Window, value: &Self::Value) -> Self::Row;
}

/// Which windows there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowKind {
    /// Tumbling or hopping.
    Fixed(FixedWindows),
    /// Sessions.
    Session(SessionWindows),
}

/// When rows are emitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emission {
    /// With each record, and once more as `final`.
    OnUpdate,
    /// Once, as `final`, when the watermark has passed the window's end and grace.
    OnClose,
}

/// An aggregate over windows, as an operator.
///
/// A window is finalised when the watermark has reached its end (for a session: strictly passed its last record and the gap)
/// and the grace besides: then its `final` row is emitted, and it is dropped. A record is late if all windows to which
/// it belongs have been; for sessions this is judged after the merge, so that a record far behind still joins one
/// that lives, and one within the gap of a session that is final already begins another if that one would not be. A key
/// that is silent for longer than the horizon of duplicates forgets what was final. (So do Kafka Streams' windows, `TimeWindows.ofSizeAndGrace` and `SessionWindows`; their stream time is
/// a partition's, ours a key's.)
pub struct Windowed<A> {
    /// What is kept of a window's records.
    pub aggregate: A,
    /// Which windows there are.
    pub kind: WindowKind,
    /// How long after its end a window still takes records.
    pub grace: Millis,
    /// When rows are emitted.
    pub emission: Emission,
}

/// What is kept of a window; of a key's sessions, also their cuts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum WindowedEntry<V> {
    /// A window.
    Window {
        /// Its bounds.
        window: Window,
        /// Event id of the first record to arrive.
        event_id: Arc<str>,
        /// When that record was appended.
        first_arrival: Millis,
        /// The records behind it; none where [`Aggregate::HAS_EVIDENCE`] is not set.
        evidence: Option<EvidenceState>,
        /// The aggregate of its records.
        value: V,
    },
    /// Times from which no session reaches to a later one.
    Cuts(Vec<Millis>),
}

/// The name of the entry that holds the cuts. Others are named by a fixed window's beginning, or by the offset of a session's
/// first record to arrive.
const CUTS: i64 = i64::MIN;

impl<A: Aggregate> Operator for Windowed<A> {
    type Event = A::Event;
    type Name = i64;
    type Entry = WindowedEntry<A::Value>;
    type Timer = i64;
    type Settings = ();
    type Row = A::Row;

    const NAME: &'static str = A::NAME;
    const VERSION: i32 = A::VERSION;

    fn record(&self, context: &mut Context<'_, Self>, event: &A::Event) -> Result<(), Rejection> {
        if !self.aggregate.accepts(event) {
            return Ok(());
        }
        match self.kind {
            WindowKind::Fixed(windows) => self.add_to_fixed(context, event, windows),
            WindowKind::Session(windows) => self.add_to_session(context, event, windows),
        }
    }

    fn timer(&self, context: &mut Context<'_, Self>, name: &i64, due: Millis) {
        self.emit(context, *name, |meta| meta.is_final = true);
        context.remove(name);
        context.drop_through(due);
        if let (WindowKind::Session(windows), Some(WindowedEntry::Cuts(cuts))) =
            (self.kind, context.get(&CUTS))
        {
            // What lies before such a cut would be late.
            let is_needed = |cut: &Millis| !context.is_closed(self.session_due(windows, *cut));
            let needed: Vec<Millis> = cuts.iter().copied().filter(is_needed).collect();
            put_cuts(context, needed);
        }
    }
}

impl<A: Aggregate> Windowed<A> {
    fn add_to_fixed(
        &self,
        context: &mut Context<'_, Self>,
        event: &A::Event,
        windows: FixedWindows,
    ) -> Result<(), Rejection> {
        let mut is_late = true;
        for window in windows.of(event.event_time()) {
            // The watermark has reached the end when it has strictly passed the last instant.
            let due = window.end.saturating_sub(1).saturating_add(self.grace);
            if context.is_closed(due) {
                continue;
            }
            is_late = false;
            if context.get(&window.start).is_none() {
                let entry = self.begin(context, event, window);
                context.put(&window.start, entry);
                context.set_timer(&window.start, due);
            }
            self.add(context, window.start, event);
        }
        if is_late { Err(Rejection::Late) } else { Ok(()) }
    }

    fn add_to_session(
        &self,
        context: &mut Context<'_, Self>,
        event: &A::Event,
        windows: SessionWindows,
    ) -> Result<(), Rejection> {
        let mut cuts = Vec::new();
        let mut sessions = Vec::new();
        for (name, entry) in context.entries() {
            match entry {
                WindowedEntry::Window { window, .. } => sessions.push((*name, *window)),
                WindowedEntry::Cuts(made) => cuts.clone_from(made),
            }
        }
        let placement = windows.place(sessions.into_iter(), &cuts, event.event_time());
        let due = self.session_due(windows, placement.session.end);
        if placement.absorbed.is_empty() && context.is_closed(due) {
            return Err(Rejection::Late);
        }
        if !placement.cuts.is_empty() {
            cuts.extend(&placement.cuts);
            put_cuts(context, cuts);
        }
        // Of those that merge, the one that arrived first survives ("Identity" in the docs of the crate).
        let survivor = placement.absorbed.iter().copied().min();
        let name = survivor.unwrap_or_else(|| context.offset());
        if survivor.is_none() {
            let entry = self.begin(context, event, placement.session);
            context.put(&name, entry);
        }
        for other in placement.absorbed.into_iter().filter(|other| *other != name) {
            self.absorb(context, name, other);
        }
        if let Some(WindowedEntry::Window { window, .. }) = context.get_mut(&name) {
            *window = placement.session;
        }
        context.set_timer(&name, due);
        self.add(context, name, event);
        Ok(())
    }

    fn session_due(&self, windows: SessionWindows, end: Millis) -> Millis {
        end.saturating_add(windows.gap).saturating_add(self.grace)
    }

    fn begin(
        &self,
        context: &Context<'_, Self>,
        event: &A::Event,
        window: Window,
    ) -> WindowedEntry<A::Value> {
        WindowedEntry::Window {
            window,
            event_id: event.identity().name().into(),
            first_arrival: context.append_time(),
            evidence: A::HAS_EVIDENCE.then(EvidenceState::default),
            value: A::Value::default(),
        }
    }

    fn add(&self, context: &mut Context<'_, Self>, name: i64, event: &A::Event) {
        let offset = context.offset();
        if let Some(WindowedEntry::Window { evidence, value, .. }) = context.get_mut(&name) {
            if let Some(evidence) = evidence {
                evidence.push(offset);
            }
            self.aggregate.add(value, event);
        }
        if self.emission == Emission::OnUpdate {
            self.emit(context, name, |_| {});
        }
    }

    /// Takes the session `other` into `name`, which arrived before; its row, if there is one, is retracted.
    fn absorb(&self, context: &mut Context<'_, Self>, name: i64, other: i64) {
        if self.emission == Emission::OnUpdate {
            let survivor = context.get(&name).and_then(|entry| row_id(context, name, entry));
            self.emit(context, other, |meta| {
                meta.retracted = true;
                meta.merged_into = survivor;
            });
        }
        let absorbed = context.get(&other).cloned();
        context.remove(&other);
        context.cancel_timer(&other);
        if let (
            Some(WindowedEntry::Window { evidence, value, .. }),
            Some(WindowedEntry::Window { evidence: other_evidence, value: other_value, .. }),
        ) = (context.get_mut(&name), absorbed)
        {
            self.aggregate.merge(value, &other_value);
            if let (Some(evidence), Some(other)) = (evidence, other_evidence) {
                evidence.merge(&other);
            }
        }
    }

    fn emit(&self, context: &mut Context<'_, Self>, name: i64, change: impl FnOnce(&mut RowMeta)) {
        let Some(WindowedEntry::Window { window, event_id, first_arrival, evidence, value }) =
            context.get(&name).cloned()
        else {
            return;
        };
        // A name tells the windows of one first record apart.
        let parts = [&*name.to_string(), &*event_id];
        let mut meta = context.row_meta(&parts, first_arrival, &evidence.unwrap_or_default());
        change(&mut meta);
        let row = self.aggregate.row(meta, window, &value);
        context.emit(row);
    }
}

fn row_id<A: Aggregate>(
    context: &Context<'_, Windowed<A>>,
    name: i64,
    entry: &WindowedEntry<A::Value>,
) -> Option<Uuid> {
    let WindowedEntry::Window { event_id, .. } = entry else { return None };
    Some(context.row_id(&[&name.to_string(), event_id]))
}

fn put_cuts<A: Aggregate>(context: &mut Context<'_, Windowed<A>>, mut cuts: Vec<Millis>) {
    cuts.sort_unstable();
    cuts.dedup();
    if cuts.is_empty() {
        context.remove(&CUTS);
    } else {
        context.put(&CUTS, WindowedEntry::Cuts(cuts));
    }
}
