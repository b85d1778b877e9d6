//! A normalised event: what the rules see of an event. It is small enough for a session to keep all of its events, so that a
//! late one changes what follows it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::element::Element;
use super::kind::Kind;
use super::pointer::PointerPath;
use crate::engine::Millis;

/// An event of a session, as the rules see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NormalizedEvent {
    /// When it happened.
    pub time: Millis,
    /// The producer's sequence number: orders events of the same time.
    pub seq: i64,
    /// Its event id as text.
    pub name: Arc<str>,
    /// Its offset in the log.
    pub offset: i64,
    /// When it was appended.
    pub append_time: Millis,
    /// Its kind.
    pub kind: Kind,
    /// A hash of its tab's id.
    pub tab: u32,
    /// Horizontal position in CSS pixels.
    pub x: i32,
    /// Vertical position in CSS pixels.
    pub y: i32,
    /// A click that selected text.
    pub selected_text: bool,
    /// Of a form or request: whether it failed, where that is known.
    pub failed: Option<bool>,
    /// Of a request: its status, 999 where there was no answer.
    pub status: i16,
    /// Of a request: whether it is meant to change something.
    pub writes: bool,
    /// Its route.
    pub route: Arc<str>,
    /// The URL of its page; empty where that is unknown.
    pub url: Arc<str>,
    /// The form that it belongs to.
    pub form: Option<Arc<str>>,
    /// The element that it is about.
    pub target: Option<Arc<Element>>,
    /// The path of the pointer.
    pub pointer_path: Option<Arc<PointerPath>>,
}

/// The place of an event among those of its session, the same whatever the order of arrival: by time; of one time by the producer's
/// count, then by a hash of its event id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Order(Millis, i64, u64);

impl Order {
    /// Before all others.
    pub const FIRST: Self = Self(Millis::MIN, i64::MIN, u64::MIN);
    /// Behind all others.
    pub const LAST: Self = Self(Millis::MAX, i64::MAX, u64::MAX);

    /// When it happened.
    pub fn time(self) -> Millis {
        self.0
    }
}

impl NormalizedEvent {
    /// Its place among the events of its session.
    pub fn order(&self) -> Order {
        Order(self.time, self.seq, twox_hash::XxHash3_128::oneshot(self.name.as_bytes()) as u64)
    }

    /// Whether the system itself answered with an error.
    pub fn is_error(&self) -> bool {
        self.kind == Kind::Error || self.status >= 500
    }
}
