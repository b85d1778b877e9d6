//! Why unfolded records can't be listed, shown or sent again.

use std::io;

use rdkafka::error::KafkaError;

use super::redrive::Obstacle;
use crate::codec::CodecError;

/// Why it could not be done.
#[derive(Debug, thiserror::Error)]
pub enum DeadLettersError {
    /// A client call failed.
    #[error("{action} failed: {source}; is Kafka reachable at kafka.brokers?")]
    Kafka {
        /// What was being done.
        action: &'static str,
        /// What Kafka said.
        source: KafkaError,
    },
    /// The topic is not there.
    #[error("there is no topic {topic}: see kafka.brokers and kafka.prefix; \"tidewatch migrate\" makes it")]
    NoTopic {
        /// Its name on the cluster.
        topic: String,
    },
    /// A record of the topic is none that a worker writes.
    #[error("{topic}/{partition} at offset {offset}: {source}; run the version of the program that wrote it")]
    Unreadable {
        /// The topic.
        topic: &'static str,
        /// The partition.
        partition: i32,
        /// The offset.
        offset: i64,
        /// The cause.
        source: CodecError,
    },
    /// A span that holds no time.
    #[error("--since {since} is not before --until {until}")]
    Span {
        /// Its beginning.
        since: String,
        /// Its end.
        until: String,
    },
    /// A reason that nothing has.
    #[error("nothing in {topic} has the reason {reason}; there are {known}")]
    NoReason {
        /// The topic.
        topic: &'static str,
        /// The reason.
        reason: String,
        /// Those that there are.
        known: String,
    },
    /// A position where nothing failed.
    #[error("nothing in {topic} is of the record at {position}; \"list\" prints what there is")]
    NotFound {
        /// The topic.
        topic: &'static str,
        /// The position.
        position: String,
    },
    /// The record that was named can't be redriven.
    #[error("{position} can't be redriven: {obstacle}")]
    Obstacle {
        /// The position.
        position: String,
        /// Why not.
        obstacle: Obstacle,
    },
    /// Kafka did not take all.
    #[error(
        "Kafka did not take {failed} records, {left} more were not tried, {appended} were appended; redrive them again: what \
         has been appended is then a duplicate"
    )]
    Undelivered {
        /// How many it did not take.
        failed: usize,
        /// How many were not tried.
        left: usize,
        /// How many it took.
        appended: usize,
    },
    /// Printing.
    #[error("can't write: {0}")]
    Write(#[from] io::Error),
    /// The file.
    #[error("can't write {path}: {source}")]
    File {
        /// Its path.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// Printing.
    #[error("can't print JSON: {0}")]
    Json(#[from] serde_json::Error),
}
