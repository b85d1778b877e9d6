//! An event as the engine sees it: whose it is, when it happened, how repeats of it are recognised.
//!
//! Times are milliseconds since the Unix epoch, UTC, everywhere in the log ([`Millis`]).

use std::borrow::Cow;

/// A point in time or a span, in milliseconds (since the Unix epoch where it is a point).
pub type Millis = i64;

/// How an event is told from a repeat of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity<'a> {
    /// By the producer's id, unique within the tenant; repeats are recognised within the family's horizon.
    Id(&'a str),
    /// By the producer's count of its own events, which begins at 0 or 1. As long as it has no gap, the key's
    /// records are known to be in order (I3).
    Sequence {
        /// The producer, unique within the key (a session's tab, for example).
        producer: &'a str,
        /// Its count.
        number: u64,
    },
    /// Not at all: each record of the log counts.
    Record,
}

impl Identity<'_> {
    /// The identity in words, as evidence and ids name an event; empty where it has none.
    pub fn name(&self) -> Cow<'_, str> {
        match self {
            Self::Id(id) => Cow::Borrowed(id),
            Self::Sequence { producer, number } => Cow::Owned(format!("{producer}/{number}")),
            Self::Record => Cow::Borrowed(""),
        }
    }
}

/// A family's record, as the engine sees it: enough to order, route and deduplicate it.
pub trait Event {
    /// The tenant, from the API key; never from the body. Keys begin with it: `tenant/…`.
    fn tenant(&self) -> &str;
    /// How repeats of it are recognised.
    fn identity(&self) -> Identity<'_>;
    /// When it happened, by the producer.
    fn event_time(&self) -> Millis;
    /// The public name of something folded before, under whose key this one is folded; `None` where the record's
    /// own key says it. A name begins with the tenant, so that it never leads to another tenant's key.
    fn alias(&self) -> Option<String> {
        None
    }
}
