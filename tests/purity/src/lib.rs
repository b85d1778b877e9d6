//! The pure part of Tidewatch, compiled against an allow-list of dependencies in which there is no Kafka, no tokio and
//! no clock (I2). A module that reaches for anything else, or for a layer above it, does not compile here.
//!
//! `build.rs` finds the modules: the engine, and of each family its events and its operators.

include!(concat!(env!("OUT_DIR"), "/pure.rs"));
