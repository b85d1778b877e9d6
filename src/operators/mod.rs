//! The domain: what each family's records mean. One file an operator; no Kafka, no tokio, no clock.

pub mod interactions;
pub mod sla;
