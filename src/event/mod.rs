//! What the log holds: one file a family, the derived rows, and how both are named.
//!
//! Times are milliseconds since the Unix epoch, UTC, everywhere in the log ([`Millis`]).

pub mod civic;
pub mod derived;
pub mod id;

/// A point in time or a span, in milliseconds (since the Unix epoch where it is a point).
pub type Millis = i64;

/// How a record says under which key it is folded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyReference {
    /// The key itself.
    Key(String),
    /// The public id of something folded before; the task knows its key.
    Alias(String),
}

/// A family's record, as the engine sees it: enough to order, route and deduplicate it.
pub trait Event {
    /// The tenant, from the API key; never from the body.
    fn tenant(&self) -> &str;
    /// The producer's id of this event, unique within the tenant.
    fn event_id(&self) -> &str;
    /// When it happened, by the producer.
    fn event_time(&self) -> Millis;
    /// Under which key it is folded.
    fn key(&self) -> KeyReference;
}
