//! Why the sink can't start or go on.

use rdkafka::error::KafkaError;
use tokio::task::JoinError;

use super::plan::PlanError;
use crate::codec::CodecError;
use crate::resource::ResourceError;
use crate::store;

/// Why the sink can't start or go on.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// What is declared of resources is not sound.
    #[error(transparent)]
    Resource(#[from] ResourceError),
    /// A topic's records don't fit its table.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// ClickHouse refuses to describe a table.
    #[error(
        "can't read the columns of table {table}: {}; was `tidewatch migrate` run, and are clickhouse.user and password right?",
        store::describe(source)
    )]
    Columns {
        /// The table.
        table: String,
        /// What ClickHouse answered.
        source: clickhouse::error::Error,
    },
    /// A topic's schema is missing.
    #[error("topics/{topic}.yaml names the schema {subject}, of which schemas/avro has none")]
    NoSchema {
        /// The topic.
        topic: String,
        /// The subject of its values.
        subject: String,
    },
    /// Kafka can't be used.
    #[error("the sink can't use Kafka: {0}")]
    Kafka(#[from] KafkaError),
    /// A dead letter can't be encoded, so its record may not be passed over.
    #[error("a dead letter can't be encoded: {0}")]
    Letter(#[from] CodecError),
    /// A task of the sink panicked: what it was about may not be committed.
    #[error("a part of the sink ended unexpectedly: {0}")]
    Part(#[from] JoinError),
}
