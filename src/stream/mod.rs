//! The engine, without I/O: a task folds one partition of one family topic (I2).
//!
//! A [`Task`] is fed records in the order of the log, each with its append time. It keeps the
//! partition's clock, each key's time (`time`), its timers (`timers`) and the ids seen lately, and calls the
//! [`Operator`] when a record is to be folded or a timer fires. What comes back are rows. No Kafka, no
//! tokio, no clock, no randomness in here: the same records give the same rows, which is what makes
//! replay, backtest and exactly-once possible.

mod duplicates;
mod operator;
mod task;
mod time;
mod timers;

pub use operator::{Context, Operator, Refusal, Timer};
pub use task::{Outcome, Payload, Record, Task};
pub use time::{FamilySettings, KeyTime};
