//! Integration tests on the real Kafka and ClickHouse, which they start themselves.
//!
//! A test makes a [`system::System`] of its own (topic prefix, database, ports), runs the roles as processes, and
//! waits for conditions. An invariant is named by the test that proves it.

mod backtest;
mod browser;
mod chaos;
mod civic;
mod crash;
mod dead_letters;
mod demo;
mod dry_run;
mod expected;
mod explain;
mod generate;
mod golden;
mod input;
mod interactions;
mod live;
mod load;
mod odd;
mod openapi;
mod operation;
mod page;
mod proxy;
mod python;
mod readme;
mod rebuild;
mod recovery;
mod registry;
mod restore;
mod rules;
mod sessions;
mod settings;
mod sink;
mod system;
mod tables;
mod tuning;
