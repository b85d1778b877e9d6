//! Tidewatch: an event-sourced stream processor over Kafka.
//!
//! # The path of an event
//!
//! 1. A client posts it. [`ingest`] checks it against the family's form ([`families`]), gives it the tenant of the API key
//!    ([`http`]), writes it as an event in the Confluent wire format ([`codec`]) and answers once Kafka holds
//!    it on the family topic ([`mod@log`]): the log is the truth (I1).
//! 2. A job's worker ([`runtime`]) owns partitions of that topic. It feeds each record to the partition's [`engine::Task`],
//!    which keeps time by the log alone (I3) and calls the job's operator: the record is
//!    folded into the key's state, timers fire, rows are emitted. Rows and offsets are committed together (I5).
//! 3. The [`sink`] reads the derived topics and writes their rows to ClickHouse, as often as it must: a row is
//!    named by its id and ordered by its version, so repeats change nothing (I6).
//! 4. [`read`] answers questions from there, and from what it sees on the derived topics itself: it tells live what is found,
//!    says up to where in the log an answer holds, and never goes back behind what it has shown.
//!
//! A record that can't be read or folded goes to the topic `dead-letters` with where it lies and why, and the
//! partition goes on: nothing vanishes (I7), and it can be sent again ([`tools::dead_letters`]). When time has to pass in
//! silence, the worker appends a mark to the log (I4), so that a replay sees what was seen. What can be set of the operators
//! ([`settings`]) is a log too, whose versions come into force by such marks.
//!
//! What came of it can be asked afterwards ([`tools`]), for rows name the records behind them (I8): what other settings would
//! have found, why a row is what it is. And because tables only project the log, one can be made anew from it beside the live
//! one, compared and put in its place.
//!
//! # Invariants
//!
//! Code cites them by number, and so do the names of the tests that prove them.
//!
//! - **I1 The log is the truth.** Tables are projections of derived topics, whose rows follow from the family log.
//! - **I2 A task is a fold.** State and rows are a pure function of a partition's records, in order, and of the settings that
//!   its marks name: no clock, no randomness, no I/O.
//! - **I3 Time enters only through the log.** A partition's clock is its highest append time; a key's time is made of its
//!   own records, so that nobody can make another's late; in silence it passes with the clock.
//! - **I4 Marks** in the log say that time has passed, and which settings are in force from there on.
//! - **I5 One transaction a commit**: rows, changes of the state, offsets. A crash neither loses nor repeats a row.
//! - **I6 Rows are idempotent**: named by an id, ordered by a version.
//! - **I7 Nothing vanishes**: each record is folded, a duplicate, late, or a dead letter, and counted.
//! - **I8 Rows carry their evidence**: the first 8 and last 24 records behind them, and how many there were.
//! - **I9 Late data corrects** what is not final yet; what comes too late for that is kept and counted.
//! - **I10 The hot path is deterministic**: between a record and its rows there is no model, no network, no lock.
//!
//! *Identity*: a row's id is a hash of tenant, operator, key and the event id of the first record to arrive; of two that
//! merge, the one that arrived first survives. Its version is made of the job's epoch, the input's offset, and
//! the count of its emissions there. A public id ends in the hash that routes it to its partition.
//!
//! Dependencies point one way: [`engine`] ← the operators of [`families`] ← [`runtime`] ← the [`role`]s. `engine` and the
//! operators know no Kafka, no tokio and no clock.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod codec;
pub mod config;
#[cfg(feature = "local")]
pub mod demo;
pub mod engine;
pub mod families;
pub mod http;
pub mod ingest;
pub mod log;
pub mod read;
pub mod resource;
pub mod role;
pub mod runtime;
pub mod settings;
pub mod sink;
pub mod store;
pub mod telemetry;
pub mod tools;
