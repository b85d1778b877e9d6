//! Tests of the engine in memory: no Kafka, no clock, no sleeping. `PROPTEST_CASES` sets how many cases a property tries.

mod determinism;
mod i3;
mod interactions;
mod kit;
mod model;
mod nexmark;
mod poison;
mod properties;
mod purity;
mod streaming;
mod sweep;
