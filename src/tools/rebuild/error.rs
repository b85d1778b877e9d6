//! Why a table could not be rebuilt.

use clickhouse::error::Error as ClickHouseError;
use rdkafka::error::KafkaError;
use tokio::task::JoinError;

use crate::codec::CodecError;
use crate::sink::SinkError;
use crate::store;

/// Why a table could not be rebuilt. Whatever it is, the live table holds what it held, or what
/// [`Unfinished`](Self::Unfinished) says.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// No topic has this table.
    #[error("no topic of topics/*.yaml has a table {table}; the tables are {tables}")]
    UnknownTable {
        /// The table.
        table: String,
        /// Those there are.
        tables: String,
    },
    /// The table is not there.
    #[error("table {table} does not exist in database {database}; run `tidewatch migrate`")]
    NoTable {
        /// The table.
        table: String,
        /// Its database.
        database: String,
    },
    /// A table whose rows have no last version.
    #[error(
        "table {table} has the engine {engine}: only the rows of a ReplacingMergeTree can be compared with their log"
    )]
    Engine {
        /// The table.
        table: String,
        /// Its engine.
        engine: String,
    },
    /// Kafka can't be read.
    #[error("can't read the topic {topic}: {source}; is Kafka reachable at kafka.brokers?")]
    Log {
        /// The topic.
        topic: String,
        /// What the client says.
        source: KafkaError,
    },
    /// ClickHouse is away or refuses.
    #[error(
        "can't {what}: {}; is ClickHouse reachable at clickhouse.url, and may its user do that?",
        store::describe(source)
    )]
    ClickHouse {
        /// What was tried.
        what: String,
        /// What ClickHouse answered.
        source: ClickHouseError,
    },
    /// The table that this run was filling is gone.
    #[error(
        "table {table} is gone: another `tidewatch rebuild` of the same table has begun, and this one ends"
    )]
    Superseded {
        /// The table.
        table: String,
    },
    /// The topic's records don't fit the table.
    #[error(transparent)]
    Plan(#[from] SinkError),
    /// A record that has no row can't be told of.
    #[error("a record of {topic} can't be converted: {source}")]
    Convert {
        /// The topic.
        topic: String,
        /// The cause.
        source: CodecError,
    },
    /// A migration came between.
    #[error("table {table} was not swapped: its columns have changed since the rebuild began; run it again")]
    Migrated {
        /// The table.
        table: String,
    },
    /// A swap would lose rows.
    #[error(
        "table {table} was not swapped: of {rows} of its rows retention has taken the records from the topic {topic}, \
         and they would be lost"
    )]
    Irreplaceable {
        /// The table.
        table: String,
        /// Its topic.
        topic: String,
        /// How many of its rows nothing can bring back.
        rows: u64,
    },
    /// The tables are exchanged, and what was written meanwhile is not all there.
    #[error(
        "table {table} is swapped, but the records since then are not all in it: {source}; run `tidewatch rebuild {table}` \
         again, it goes on there"
    )]
    Unfinished {
        /// The table.
        table: String,
        /// What went wrong.
        source: Box<RebuildError>,
    },
    /// A swap can't be finished from the topic.
    #[error(
        "a swap of table {table} was cut short, and retention has taken the records that it lacks from the topic {topic} \
         (partition {partition}, from offset {offset}); what it held before is in the table {former}: copy it over with \
         INSERT INTO {table} SELECT * FROM {former}, then set the comment of {table} without its last brackets"
    )]
    Lost {
        /// The table.
        table: String,
        /// Its topic.
        topic: String,
        /// A partition of it.
        partition: i32,
        /// The first offset there that the table lacks.
        offset: i64,
        /// What the table was.
        former: String,
    },
    /// A fault of the program.
    #[error("the task that reads the topic failed: {0}")]
    Panicked(#[from] JoinError),
}

/// The number of ClickHouse's error for a table that is not there.
const UNKNOWN_TABLE: &str = "Code: 60.";

impl RebuildError {
    /// ClickHouse has refused `what`, which needs the table `shadow` of this run.
    pub(super) fn of_shadow(shadow: &str, what: String, source: ClickHouseError) -> Self {
        match source {
            ClickHouseError::BadResponse(text) if text.contains(UNKNOWN_TABLE) && text.contains(shadow) => {
                Self::Superseded { table: shadow.to_owned() }
            }
            source => Self::ClickHouse { what, source },
        }
    }
}
