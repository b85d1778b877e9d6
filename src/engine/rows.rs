//! Derived rows: what every one carries ([`RowMeta`]), those of the engine itself, and what an operator's own rows have to
//! be ([`DerivedRow`], [`OperatorRow`]). Texts are short ones that lie in place, or shared with the state from which they
//! come: most records emit a row.

use compact_str::CompactString;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Millis;

/// What every derived row carries (I6, I8): its name, its version, and where it comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowMeta {
    /// The row's id, the same in all its versions.
    pub id: Uuid,
    /// Orders the versions of the row: [`super::id::version`].
    pub version: i64,
    /// The row no longer holds; a later version may take that back.
    pub retracted: bool,
    /// The last version of the row: its window or entity is finalised, and dropped from the state (I9).
    #[serde(rename = "final", default)]
    pub is_final: bool,
    /// Of a retracted row: the row that has absorbed it.
    #[serde(default)]
    pub merged_into: Option<Uuid>,
    /// The tenant whose records are behind the row.
    pub tenant: CompactString,
    /// The key under which it was folded.
    pub key: CompactString,
    /// Which operator emitted it.
    pub operator: CompactString,
    /// The operator's semantic version: the same log gives the same rows under the same version (I2).
    pub operator_version: i32,
    /// The settings in force: an offset of the `settings` topic (I4).
    pub settings_version: i64,
    /// Append time of the first record behind it; it never changes for an id.
    pub first_arrival: Millis,
    /// The records behind it.
    pub evidence: Evidence,
}

/// The records behind a row (I8). One partition has them all (I2), so that and the topic are said once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// How many records are behind the row.
    pub count: i64,
    /// The input topic. Empty in rows of a former version, whose evidence is not read.
    #[serde(default)]
    pub topic: CompactString,
    /// Its partition.
    #[serde(default)]
    pub partition: i32,
    /// The offsets of the first 8 and of the last 24 after those, in the order of the log.
    #[serde(default)]
    pub offsets: Vec<i64>,
}

/// A record that could not be folded, kept whole. Topic `dead-letters`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Where it lies: topic.
    pub topic: String,
    /// Where it lies: partition.
    pub partition: i32,
    /// Where it lies: offset.
    pub offset: i64,
    /// When it was appended there.
    pub append_time: Millis,
    /// Its tenant, where that could be read.
    pub tenant: Option<String>,
    /// Its event id, where that could be read.
    pub event_id: Option<String>,
    /// The operator that could not fold it; empty where it was refused before or after that.
    #[serde(default)]
    pub operator: String,
    /// Why, as a code: `undecodable`, `unknown_issue`, `future_event` …
    pub reason: String,
    /// The reason, for people.
    pub message: String,
    /// The record's key, as it was.
    #[serde(with = "serde_bytes")]
    pub record_key: Option<Vec<u8>>,
    /// The record's value, as it was.
    #[serde(with = "serde_bytes")]
    pub record_value: Option<Vec<u8>>,
}

/// A record that came after everything it would change had been finalised and dropped (I9), kept whole. Topic
/// `late-events`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LateEvent {
    /// Where it lies: topic.
    pub topic: String,
    /// Where it lies: partition.
    pub partition: i32,
    /// Where it lies: offset.
    pub offset: i64,
    /// When it was appended there.
    pub append_time: Millis,
    /// When it happened.
    pub event_time: Millis,
    /// Its tenant.
    pub tenant: String,
    /// Its event id; empty where it has none.
    pub event_id: String,
    /// The operator for which it came too late.
    pub operator: String,
    /// The record's key, as it was.
    #[serde(with = "serde_bytes")]
    pub record_key: Option<Vec<u8>>,
    /// The record's value, as it was.
    #[serde(with = "serde_bytes")]
    pub record_value: Option<Vec<u8>>,
}

/// What became of a tenant's records in one hour of append time, in one partition (I7): `read` is the sum of the others.
/// Topic `accounting`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounting {
    /// The tenant; empty where records could not be read.
    pub tenant: String,
    /// Which operator counted.
    pub operator: String,
    /// The family topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// The beginning of the hour.
    pub hour: Millis,
    /// Orders the versions of the row.
    pub version: i64,
    /// Data records read.
    pub read: i64,
    /// Of them, folded.
    pub folded: i64,
    /// Of them, seen before.
    pub duplicate: i64,
    /// Of them, late: what they would change had been finalised and dropped.
    pub late: i64,
    /// Of them, not foldable.
    pub dead_lettered: i64,
    /// Offsets that a person's decision has passed over (`tidewatch skip`): not read.
    #[serde(default)]
    pub skipped: i64,
}

/// The end of what a task has written to a partition of a derived topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputEnd {
    /// The derived topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// The offset behind the last row.
    pub offset: i64,
}

/// How far a partition of a family topic has been folded. Topic `progress`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The family topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Which operator.
    pub operator: String,
    /// The next offset to be folded.
    pub offset: i64,
    /// The partition's clock: the highest append time folded.
    pub clock: Millis,
    /// The settings in force.
    pub settings_version: i64,
    /// Where what follows from the log up to `offset` ends: a reader that has come so far has seen all of it. (Each end is a
    /// bound: where the worker took the partition over, it is the end that the derived topic had then.)
    pub outputs: Vec<OutputEnd>,
}

/// A row of one derived topic.
pub trait DerivedRow: Serialize + DeserializeOwned {
    /// The topic, and the subject of its schema.
    const TOPIC: &'static str;

    /// Its key there.
    fn key(&self) -> &[u8];
}

/// A row with versions: one struct a topic, whose first field is its [`RowMeta`].
macro_rules! versioned_row {
    ($row:ty, $topic:literal) => {
        impl $crate::engine::rows::DerivedRow for $row {
            const TOPIC: &'static str = $topic;

            fn key(&self) -> &[u8] {
                self.meta.key.as_bytes()
            }
        }
    };
}

pub(crate) use versioned_row;

impl DerivedRow for DeadLetter {
    const TOPIC: &'static str = "dead-letters";

    fn key(&self) -> &[u8] {
        self.record_key.as_deref().unwrap_or_default()
    }
}

impl DerivedRow for LateEvent {
    const TOPIC: &'static str = "late-events";

    fn key(&self) -> &[u8] {
        self.record_key.as_deref().unwrap_or_default()
    }
}

impl DerivedRow for Accounting {
    const TOPIC: &'static str = "accounting";

    fn key(&self) -> &[u8] {
        self.tenant.as_bytes()
    }
}

impl DerivedRow for Progress {
    const TOPIC: &'static str = "progress";

    fn key(&self) -> &[u8] {
        self.topic.as_bytes()
    }
}

/// What a row of an operator is.
#[derive(Debug)]
pub enum RowKind<'a> {
    /// One of the operator's own, with its provenance.
    Versioned(&'a RowMeta),
    /// A record that it could not fold.
    DeadLetter(&'a DeadLetter),
    /// A record that came too late for it.
    LateEvent(&'a LateEvent),
}

/// Reads a row from wherever it lies.
pub trait ReadRow {
    /// Why it can't be read.
    type Error;

    /// Reads it.
    fn read<R: DerivedRow>(self) -> Result<R, Self::Error>;
}

/// All that an operator emits: an enum with a variant for each topic, which `operator_rows!` makes.
pub trait OperatorRow:
    From<DeadLetter> + From<LateEvent> + Serialize + Clone + PartialEq + Send + 'static
{
    /// The topics of the variants.
    const TOPICS: &'static [&'static str];

    /// Its topic.
    fn topic(&self) -> &'static str;

    /// Its key there.
    fn key(&self) -> &[u8];

    /// Whether it is a row of the operator's own, a dead letter or a late event.
    fn kind(&self) -> RowKind<'_>;

    /// Its provenance, to be changed; `None` of what has no versions.
    fn meta_mut(&mut self) -> Option<&mut RowMeta>;

    /// Reads a row of that topic; `None` where that is none of [`TOPICS`](Self::TOPICS).
    fn read<R: ReadRow>(topic: &str, reader: R) -> Option<Result<Self, R::Error>>;

    /// Its provenance; `None` of what has no versions.
    fn meta(&self) -> Option<&RowMeta> {
        match self.kind() {
            RowKind::Versioned(meta) => Some(meta),
            RowKind::DeadLetter(_) | RowKind::LateEvent(_) => None,
        }
    }
}

/// Makes the enum of all that an operator emits: its own rows, beside dead letters and late events.
macro_rules! operator_rows {
    ($(#[$doc:meta])* $vis:vis enum $name:ident { $($variant:ident($row:ty)),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize)]
        #[serde(untagged)]
        $vis enum $name {
            $(#[doc = concat!("A [`", stringify!($row), "`].")] $variant($row),)+
            /// A record that could not be folded.
            DeadLetter($crate::engine::rows::DeadLetter),
            /// A record that came too late.
            LateEvent($crate::engine::rows::LateEvent),
        }

        impl From<$crate::engine::rows::DeadLetter> for $name {
            fn from(row: $crate::engine::rows::DeadLetter) -> Self {
                Self::DeadLetter(row)
            }
        }

        impl From<$crate::engine::rows::LateEvent> for $name {
            fn from(row: $crate::engine::rows::LateEvent) -> Self {
                Self::LateEvent(row)
            }
        }

        impl $crate::engine::rows::OperatorRow for $name {
            const TOPICS: &'static [&'static str] = &[
                $(<$row as $crate::engine::rows::DerivedRow>::TOPIC,)+
                <$crate::engine::rows::DeadLetter as $crate::engine::rows::DerivedRow>::TOPIC,
                <$crate::engine::rows::LateEvent as $crate::engine::rows::DerivedRow>::TOPIC,
            ];

            fn topic(&self) -> &'static str {
                fn topic<R: $crate::engine::rows::DerivedRow>(_: &R) -> &'static str {
                    R::TOPIC
                }
                match self {
                    $(Self::$variant(row) => topic(row),)+
                    Self::DeadLetter(row) => topic(row),
                    Self::LateEvent(row) => topic(row),
                }
            }

            fn key(&self) -> &[u8] {
                use $crate::engine::rows::DerivedRow;
                match self {
                    $(Self::$variant(row) => row.key(),)+
                    Self::DeadLetter(row) => row.key(),
                    Self::LateEvent(row) => row.key(),
                }
            }

            fn kind(&self) -> $crate::engine::rows::RowKind<'_> {
                use $crate::engine::rows::RowKind;
                match self {
                    $(Self::$variant(row) => RowKind::Versioned(&row.meta),)+
                    Self::DeadLetter(row) => RowKind::DeadLetter(row),
                    Self::LateEvent(row) => RowKind::LateEvent(row),
                }
            }

            fn meta_mut(&mut self) -> Option<&mut $crate::engine::rows::RowMeta> {
                match self {
                    $(Self::$variant(row) => Some(&mut row.meta),)+
                    Self::DeadLetter(_) | Self::LateEvent(_) => None,
                }
            }

            fn read<R: $crate::engine::rows::ReadRow>(topic: &str, reader: R) -> Option<Result<Self, R::Error>> {
                use $crate::engine::rows::{DeadLetter, DerivedRow, LateEvent};
                $(if topic == <$row as DerivedRow>::TOPIC {
                    return Some(reader.read::<$row>().map(Self::$variant));
                })+
                match topic {
                    DeadLetter::TOPIC => Some(reader.read().map(Self::DeadLetter)),
                    LateEvent::TOPIC => Some(reader.read().map(Self::LateEvent)),
                    _ => None,
                }
            }
        }
    };
}

pub(crate) use operator_rows;
