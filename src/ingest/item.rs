//! An item of a request, and what becomes of it.

use serde_json::value::RawValue;

use super::body::Shared;
use crate::engine::Millis;

/// An item of a request, yet to be read.
pub struct Item<'a> {
    /// The tenant that sends it: that of the API key.
    pub tenant: &'a str,
    /// When it arrives.
    pub arrival: Arrival,
    /// Makes the id of an event that has none of its producer's.
    pub new_id: &'a dyn Fn() -> String,
    /// Where it stands in the body: `events[3]`, or nothing where it is the body.
    pub path: &'a str,
    /// Its JSON.
    pub json: &'a RawValue,
    /// What its batch says of all items.
    pub shared: Shared<'a>,
}

/// When an item arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Now: an event without a time of its own happened then, and none may lie far ahead.
    At(Millis),
    /// The moment it happens, as in a file of the past: an event has to say when.
    AsItHappens,
}

/// An item that is fit for the log.
#[derive(Debug)]
pub struct Submission<E, R> {
    /// The event.
    pub event: E,
    /// What the answer says of it.
    pub receipt: R,
}

/// Where an event comes from that was not sent over HTTP.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The tenant that sends it: that of the API key in the record's header.
    pub tenant: &'a str,
    /// When it arrived.
    pub arrival: Millis,
    /// A name that no other event has: where its record lies.
    pub place: &'a str,
}
