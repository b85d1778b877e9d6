//! How the items of a family become events.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::body::Form;
use super::item::{Item, Origin, Submission};
use crate::config::{IngestConfig, Secret};
use crate::engine::{Event, id};
use crate::http::ApiError;

/// The source of a family's events: how its items become events, over HTTP, through its intake topic, and in a dry run.
pub trait Source: Sized + Send + Sync + 'static {
    /// The family's name: that of its topic, and of the subject of its values.
    const NAME: &'static str;
    /// What a body of its main route holds, which is also what a record of its intake topic and a line of a dry run hold.
    const FORM: Form;
    /// Its events.
    type Event: Event + Serialize + DeserializeOwned + Clone + Send + Sync;
    /// What an answer says of an accepted item.
    type Receipt: Serialize;
    /// The rules by which items are read: how texts are cleaned, users hashed …
    type Rules: Send + Sync;

    /// The rules that the configuration gives. Users are hashed with `salt`, which is the configuration's or, without one, the
    /// process's own.
    fn rules(config: &IngestConfig, salt: &Secret) -> Self::Rules;

    /// Reads an item of any of its routes as an event that may enter the log.
    ///
    /// # Errors
    /// Which field is not allowed, and why.
    fn read(item: &Item<'_>, rules: &Self::Rules)
    -> Result<Submission<Self::Event, Self::Receipt>, ApiError>;

    /// Makes an event that a Kafka client wrote as Avro fit for the log: it is as raw as one in JSON. `origin` gives
    /// its tenant, and a name where it has none of its own.
    ///
    /// # Errors
    /// Which field is not allowed, and why.
    fn adopt(event: Self::Event, origin: &Origin<'_>, rules: &Self::Rules) -> Result<Self::Event, ApiError>;

    /// The Kafka key of an event.
    fn key(event: &Self::Event) -> String;

    /// The murmur2 hash that chooses the partition of an event: that of the key under which it is folded, which is the
    /// record's own unless the event names what is known under another one ([`Event::alias`]).
    fn route(event: &Self::Event) -> u32 {
        id::murmur2(Self::key(event).as_bytes())
    }
}
