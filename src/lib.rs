//! Tidewatch: an event-sourced stream processor over Kafka.
//!
//! # The path of an event
//!
//! 1. A client posts it. [`ingest`] checks it against the family's form, gives it the tenant of the API key
//!    ([`http`]), writes it as an [`event`] in the Confluent wire format ([`codec`]) and answers once Kafka holds
//!    it on the family topic ([`mod@log`]): the log is the truth (I1).
//! 2. A [`worker`] owns partitions of that topic. It feeds each record to the partition's [`stream::Task`], which
//!    keeps time by the log alone (I3) and calls the family's operator ([`operators`]): the record is
//!    folded into the key's state, timers fire, rows are emitted. Rows and offsets are committed together (I5).
//! 3. The [`sink`] reads the derived topics and writes their rows to ClickHouse, as often as it must: a row is
//!    named by its id and ordered by its version, so repeats change nothing (I6).
//! 4. [`serve`] answers questions from there.
//!
//! A record that can't be read or folded goes to the topic `dead-letters` with where it lies and why, and the
//! partition goes on: nothing vanishes (I7). When time has to pass in silence, the worker appends a
//! mark to the log (I4), so that a replay sees what was seen.
//!
//! [`trial`] takes the same path without any server: a file in, rows out, on one machine and in memory.
//!
//! Dependencies point one way: [`event`] ← [`stream`] ← [`operators`] ← [`worker`] ← the [`role`]s. `stream` and
//! `operators` know no Kafka, no tokio and no clock.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod codec;
pub mod config;
#[cfg(feature = "local")]
pub mod demo;
pub mod event;
pub mod http;
pub mod ingest;
pub mod log;
pub mod operators;
pub mod role;
pub mod serve;
pub mod sink;
pub mod store;
pub mod stream;
pub mod telemetry;
pub mod trial;
pub mod worker;
