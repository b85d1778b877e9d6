//! What the operator emits.

use std::collections::BTreeMap;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::engine::Millis;
use crate::engine::rows::{RowMeta, operator_rows, versioned_row};
use crate::families::incident::Incident;

operator_rows! {
    /// What the operator emits.
    pub enum FrustrationRow {
        Incident(Incident),
        Signal(Signal),
        Session(Session),
    }
}

/// A signal of frustration in a session. Topic `signals`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    /// Name, version, provenance.
    pub meta: RowMeta,
    /// The producer's session.
    pub session_id: CompactString,
    /// Which rule found it.
    pub rule: CompactString,
    /// The route on which it began.
    pub route: CompactString,
    /// The selector of the element that it is about, without what is generated in it.
    pub element: Option<CompactString>,
    /// The element's fingerprint, the same from build to build of the page.
    pub element_id: Option<CompactString>,
    /// Time of its first event.
    pub started_at: Millis,
    /// Time of its last event.
    pub ended_at: Millis,
    /// How many events it took: clicks, submits, reversals …
    pub count: i32,
    /// What it counts towards a score, in thousandths.
    pub weight: i32,
    /// Whether the system itself answered with an error.
    pub is_error: bool,
    /// The incident of which it is part.
    pub incident_id: Option<Uuid>,
}

/// What one user did in one sitting. Topic `sessions`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Name, version, provenance.
    pub meta: RowMeta,
    /// The producer's session; after a long pause, or a day, another one has the same.
    pub session_id: CompactString,
    /// A hash of the user's id; none where no event named a user.
    pub user: Option<CompactString>,
    /// `desktop`, `mobile`, `tablet` …
    pub device: Option<CompactString>,
    /// The browser.
    pub browser: Option<CompactString>,
    /// The operating system.
    pub os: Option<CompactString>,
    /// Time of its first event.
    pub started_at: Millis,
    /// Time of its last event so far.
    pub ended_at: Millis,
    /// `ended_at − started_at`, in ms.
    pub duration_ms: i64,
    /// The time without pauses longer than the setting `active_gap`, in ms.
    pub active_ms: i64,
    /// Whether it is over: it has been silent for longer than the gap.
    pub closed: bool,
    /// How many events it has.
    pub events: i64,
    /// How many events it has of each kind.
    pub counts: BTreeMap<CompactString, i64>,
    /// Its routes, in order; the first 50.
    pub routes: Vec<CompactString>,
    /// Its pages, in order; the first 50.
    pub pages: Vec<CompactString>,
    /// The first route.
    pub entry: CompactString,
    /// The last route.
    pub exit: CompactString,
    /// Errors, and requests that failed.
    pub errors: i64,
    /// How many signals hold.
    pub signals: i32,
    /// The frustration score, 0 to 100.
    pub score: i32,
    /// It had more events than are kept: late ones no longer change its signals.
    pub truncated: bool,
}

versioned_row!(Signal, "signals");
versioned_row!(Session, "sessions");
