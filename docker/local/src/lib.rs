//! The local stack without Docker: a real Apache Kafka and the real ClickHouse engine on free ports of 127.0.0.1.
//!
//! - [`Command`] is what the command line offers: `local` runs the stack, `doctor` says what this machine lacks.
//! - [`Stack`] is the client side, for the demo, the tests and the benches: it runs `tidewatch local` as a child.
//! - A [`part`](parts) is one server of the stack. Another one joins as one file that implements [`parts::Part`].
//!   The browser that the tests drive is one too: it starts only where it is named.
//!
//! No process is ever left behind: see [`process`] for how.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod cache;
pub mod checksums;
pub mod command;
pub mod doctor;
pub mod error;
pub mod fetch;
pub mod ground;
pub mod local;
mod npm;
pub mod parts;
pub mod process;
mod progress;
pub mod stack;
mod supervisor;
pub mod tools;

pub use command::{Command, run};
pub use error::Error;
pub use stack::{Stack, StackOptions};
