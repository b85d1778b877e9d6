//! Why a worker has to start again.

use rdkafka::error::KafkaError;

use crate::codec::CodecError;
use crate::engine::RestoreError;
use crate::log::topic_check::TopicFault;
use crate::settings::SettingsError;

/// Why a worker had to let go of its partitions. It starts again from what is committed.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// A client call failed.
    #[error("{action} failed: {source}")]
    Kafka {
        /// What was being done.
        action: &'static str,
        /// What Kafka said.
        source: KafkaError,
    },
    /// An output was not taken by Kafka.
    #[error("an output to {topic} was not delivered: {reason}")]
    Undelivered {
        /// Topic of the output.
        topic: String,
        /// What Kafka said.
        reason: String,
    },
    /// A row does not follow its schema: a fault of the program.
    #[error("a row of {topic} can't be written: {source}")]
    Encode {
        /// Topic of the row.
        topic: &'static str,
        /// What is wrong.
        source: CodecError,
    },
    /// The group gave the partitions to another worker.
    #[error(
        "partitions were lost to another worker: this one was silent for longer than process.session_timeout"
    )]
    Lost,
    /// The broker has ended this worker's transactions.
    #[error(
        "its transactions were ended: it was silent for longer than 15 s, or another worker is at work as \
         process.instance = {instance:?} (each needs a name of its own, the same after a restart)"
    )]
    Fenced {
        /// The instance.
        instance: String,
    },
    /// The state can't be restored.
    #[error("{changelog}/{partition}: {source}")]
    Restore {
        /// The changelog.
        changelog: String,
        /// Partition.
        partition: i32,
        /// The reason.
        source: RestoreError,
    },
    /// The changelog and the group's offset, which are written together, do not agree.
    #[error(
        "{changelog}/{partition} ends with delta {number} at offset {offset}, but the group is at delta {committed:?} and offset \
         {committed_offset}: one of them has been changed by hand; set the group's offset to {offset}, or fold \
         the log anew by `tidewatch refold`"
    )]
    Disagreement {
        /// The changelog.
        changelog: String,
        /// Partition.
        partition: i32,
        /// The last delta of the changelog.
        number: u64,
        /// The state's offset.
        offset: i64,
        /// The last delta, as the group has it.
        committed: String,
        /// The group's offset.
        committed_offset: i64,
    },
    /// A part of the changelog is gone.
    #[error(
        "{changelog}/{partition} is not whole: {reason}; somebody has deleted records of it, or its retention has; `tidewatch refold` folds \
         the log anew"
    )]
    Incomplete {
        /// The changelog.
        changelog: String,
        /// Partition.
        partition: i32,
        /// What is missing.
        reason: String,
    },
    /// The settings can't be read or followed.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The log is not the one that the state has folded.
    #[error(
        "{topic}/{partition} is not the log whose records up to offset {offset} have been folded: it was deleted and made \
         anew; `tidewatch skip` goes on with what it holds now, `tidewatch refold` folds that alone"
    )]
    Changed {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// The last that was folded.
        offset: i64,
    },
    /// A topic is not as its file says.
    #[error(transparent)]
    Topic(#[from] TopicFault),
    /// Records are gone that have not been folded.
    #[error(
        "records of {topic} were deleted before they were folded: the next one to be folded is gone; raise retention.ms of the topic; \
         `tidewatch skip` goes on behind them and counts them"
    )]
    Cut {
        /// Topic.
        topic: String,
    },
    /// A record came by a way on which none is expected: it would be passed over.
    #[error("{topic}/{partition}: the record at offset {offset} came past the queue of its partition")]
    Stray {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Its offset.
        offset: i64,
    },
    /// A topic has a name that the client does not take.
    #[error("the topic {topic} can't be read by that name; see kafka.prefix")]
    TopicName {
        /// Topic.
        topic: String,
    },
}

impl WorkerError {
    pub(super) fn restore(changelog: &str, partition: i32) -> impl FnOnce(RestoreError) -> Self {
        move |source| Self::Restore { changelog: changelog.to_owned(), partition, source }
    }

    pub(super) fn encode(topic: &'static str) -> impl FnOnce(CodecError) -> Self {
        move |source| Self::Encode { topic, source }
    }

    pub(crate) fn kafka(action: &'static str) -> impl FnOnce(KafkaError) -> Self {
        move |source| Self::Kafka { action, source }
    }
}
