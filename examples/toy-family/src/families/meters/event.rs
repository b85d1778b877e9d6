//! A record of the family topic `meters`: schema `schemas/avro/*-meters.avsc`, key `tenant/meter`.

use serde::{Deserialize, Serialize};

use crate::engine::{Event, Identity, Millis};

/// What a meter read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// The tenant, from the API key.
    pub tenant: String,
    /// The producer's id of the reading, unique within the tenant; repeats are duplicates.
    pub event_id: String,
    /// When it was read.
    pub occurred_at: Millis,
    /// Which meter.
    pub meter: String,
    /// The power at that moment, in watts; what is fed in is negative.
    pub watts: i64,
}

impl Reading {
    /// The key of its record, under which it is folded.
    pub fn key(&self) -> String {
        [&self.tenant, "/", &self.meter].concat()
    }
}

/// The meter of a key.
pub fn meter_of(key: &str) -> &str {
    key.split_once('/').map_or(key, |(_, meter)| meter)
}

impl Event for Reading {
    fn tenant(&self) -> &str {
        &self.tenant
    }

    fn identity(&self) -> Identity<'_> {
        Identity::Id(&self.event_id)
    }

    fn event_time(&self) -> Millis {
        self.occurred_at
    }
}
