//! The pure part of Tidewatch, compiled against an allow-list of dependencies in which there is no Kafka, no tokio and
//! no clock (I2). A module that reaches for anything else, or for a layer above it, does not compile here.

#[path = "../../../src/event/mod.rs"]
pub mod event;
#[path = "../../../src/operators/mod.rs"]
pub mod operators;
#[path = "../../../src/stream/mod.rs"]
pub mod stream;
