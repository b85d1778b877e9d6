//! Kafka: topics, clients, and how both are named.

pub mod declaration;
pub mod first_append;
pub mod lag;
mod position;
pub mod redriven;
pub mod replay;
mod restarts;
pub mod statistics;
pub mod topic_check;
pub mod topics;

use std::sync::{Arc, Mutex};
use std::time::Instant;

pub use position::{LogPosition, NotAPosition};
use rdkafka::ClientConfig;
pub use restarts::Restarts;

use crate::config::KafkaConfig;

/// Names and client settings of one system on a Kafka cluster.
#[derive(Debug, Clone)]
pub struct Log {
    config: KafkaConfig,
    /// When the topics were last found to be as declared, by any part of this process ([`topic_check`]).
    checked: Arc<Mutex<Option<Instant>>>,
}

impl Log {
    /// The log that `config` names.
    pub fn new(config: &KafkaConfig) -> Self {
        Self { config: config.clone(), checked: Arc::default() }
    }

    /// The name on the cluster of a topic, group or transactional id.
    pub fn name(&self, name: &str) -> String {
        format!("{}{name}", self.config.prefix)
    }

    /// The other way round: what [`name`](Self::name) was made of.
    pub fn plain_name<'n>(&self, name: &'n str) -> &'n str {
        name.strip_prefix(&self.config.prefix).unwrap_or(name)
    }

    /// Settings that every client shares.
    pub fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.config.brokers).set("client.id", "tidewatch");
        for (name, value) in &self.config.client {
            client.set(name, value.expose());
        }
        client
    }

    /// A producer that loses nothing it acknowledged and keeps order: `acks=all`, idempotent.
    /// The partition is murmur2 of the key, as in Java's client.
    pub fn producer(&self) -> ClientConfig {
        let mut client = self.client();
        client
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("partitioner", "murmur2_random")
            .set("compression.type", "lz4")
            .set("linger.ms", "2")
            // A dead letter is larger than the record that it keeps, which may be as large as a topic takes.
            .set("message.max.bytes", "4194304")
            .set("queue.buffering.max.messages", "1000000");
        client
    }

    /// A consumer that sees only what is committed and commits nothing by itself.
    pub fn consumer(&self, group: &str) -> ClientConfig {
        let mut client = self.client();
        client
            .set("group.id", self.name(group))
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("fetch.wait.max.ms", "50")
            // A full queue is drained in far less than the default of 1 s, which would then be spent idle.
            .set("fetch.queue.backoff.ms", "10");
        client
    }

    /// Replicas of a topic that is created.
    pub fn replication(&self) -> i32 {
        self.config.replication
    }
}
