//! How the records of a topic become the rows of its table: made at start from the topic's schema and the table's
//! columns, so that what can't fit is known before the first record.
//!
//! **A column's name is the path of a field, its names joined by `_`, and the record `meta` may be left out:** `area`
//! is the field `area`, `evidence_first` is `first` in `evidence`, and since no record has a field `evidence` of its
//! own, it is that of `meta`. A field of the record itself wins over one of `meta`, and a whole name over a
//! path. A column without a field needs a default; a field without a column is not stored.
//!
//! A field that is a union of records has two columns: `body` holds what the union holds as JSON, and `body_kind` which of
//! its records that is. And four names are not fields but [what a record is besides its value](RecordPart): where it lies,
//! when it was appended, and its key.

use std::sync::LazyLock;

use apache_avro::Schema;
use apache_avro::schema::{NamesRef, RecordSchema, ResolvedSchema, UnionSchema};
use apache_avro::types::Value;
use rdkafka::message::Message;

use super::converter::{Converter, ValueError, referenced};
use super::types::{ColumnType, UnknownType};
use crate::codec::{self, CodecError, PinnedSchema};

const TRANSPARENT: &str = "meta";
/// What the name of a union's field is followed by where the column holds which of the union's records it is.
const KIND: &str = "kind";

/// A column of a table, as `system.columns` describes it.
#[derive(Debug, Clone, clickhouse::Row, serde::Deserialize)]
pub struct TableColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub r#type: String,
    /// `DEFAULT`, `MATERIALIZED`, `ALIAS`, `EPHEMERAL`, or empty.
    pub default_kind: String,
}

/// Why a topic's records don't fit its table.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// There is no such table.
    #[error("table {table} does not exist in the database; run `tidewatch migrate`")]
    NoTable {
        /// The table.
        table: String,
    },
    /// The schema is not a record.
    #[error("table {table}: the schema of {subject} is {schema}, not a record")]
    NotARecord {
        /// The table.
        table: String,
        /// The schema's subject.
        subject: &'static str,
        /// What it is.
        schema: String,
    },
    /// A column has neither field nor default.
    #[error(
        "table {table}: column {column} {column_type} has no field in the schema of {subject} and no default; \
         its name has to be the path of a field, joined by '_'"
    )]
    NoField {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// Its type.
        column_type: String,
        /// The schema's subject.
        subject: &'static str,
    },
    /// A column's type is none that is written.
    #[error("table {table}: column {column}: {source}")]
    UnknownType {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// Its type.
        source: UnknownType,
    },
    /// A field's values can't be written to the column.
    #[error("table {table}: column {column} {column_type} can't hold the field's type, Avro {field_type}")]
    Mismatch {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// Its type.
        column_type: String,
        /// The field's type.
        field_type: String,
    },
}

/// A record that can't become a row.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// It can't be decoded.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// It was written with an older schema that the newest can't stand for.
    #[error("a value of schema {id} can't be read as the newest schema of its subject: {source}")]
    Schema {
        /// The schema's id.
        id: u32,
        /// What Avro says.
        source: Box<apache_avro::Error>,
    },
    /// A value doesn't fit its column.
    #[error("column {column}: {source}")]
    Value {
        /// The column.
        column: String,
        /// Why.
        source: ValueError,
    },
}

/// How the records of a topic become the rows of a table.
pub struct Plan {
    table: String,
    insert: String,
    schema: &'static PinnedSchema,
    columns: Vec<Column>,
}

struct Column {
    name: String,
    origin: Origin,
    converter: Converter,
}

/// Where a column's values come from.
#[derive(Debug, PartialEq)]
enum Origin {
    /// From the value: the position of a field in each record on the way.
    Field(Vec<usize>),
    /// From the record around the value.
    Record(RecordPart),
}

/// What a record of the log is besides its value, as far as columns can hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordPart {
    /// `log_partition`: the partition in which it lies.
    Partition,
    /// `log_offset`: its offset there.
    Offset,
    /// `log_append_time`: when it was appended.
    AppendTime,
    /// `log_key`: its key; null where it has none.
    Key,
}

impl RecordPart {
    fn named(column: &str) -> Option<Self> {
        match column {
            "log_partition" => Some(Self::Partition),
            "log_offset" => Some(Self::Offset),
            "log_append_time" => Some(Self::AppendTime),
            "log_key" => Some(Self::Key),
            _ => None,
        }
    }

    /// As a field of this type would be.
    fn schema(self) -> &'static Schema {
        static KEY: LazyLock<Schema> = LazyLock::new(|| {
            // Two different types make a union.
            UnionSchema::new(vec![Schema::Null, Schema::Bytes]).map_or(Schema::Bytes, Schema::Union)
        });
        match self {
            Self::Partition => &Schema::Int,
            Self::Offset => &Schema::Long,
            Self::AppendTime => &Schema::TimestampMillis,
            Self::Key => &KEY,
        }
    }

    fn of(self, record: &impl Message) -> Value {
        match self {
            Self::Partition => Value::Int(record.partition()),
            Self::Offset => Value::Long(record.offset()),
            Self::AppendTime => Value::TimestampMillis(record.timestamp().to_millis().unwrap_or_default()),
            Self::Key => record.key().map_or(Value::Null, |key| Value::Bytes(key.to_vec())),
        }
    }
}

impl Plan {
    /// The plan from `schema`, the newest of its subject, to `table` with its `columns`.
    pub fn new(
        schema: &'static PinnedSchema,
        table: &str,
        columns: &[TableColumn],
    ) -> Result<Self, PlanError> {
        if columns.is_empty() {
            return Err(PlanError::NoTable { table: table.to_owned() });
        }
        let not_a_record = || PlanError::NotARecord {
            table: table.to_owned(),
            subject: schema.subject,
            schema: describe(schema.schema),
        };
        let names = ResolvedSchema::new(schema.schema).map_err(|_| not_a_record())?;
        let Schema::Record(record) = schema.schema else { return Err(not_a_record()) };
        let mut planned = Vec::with_capacity(columns.len());
        for column in columns {
            match column.default_kind.as_str() {
                "" | "DEFAULT" => {}
                _ => continue, // computed by ClickHouse
            }
            let Some(found) = Found::named(record, &column.name, names.get_names()) else {
                if column.default_kind.is_empty() {
                    return Err(PlanError::NoField {
                        table: table.to_owned(),
                        column: column.name.clone(),
                        column_type: column.r#type.clone(),
                        subject: schema.subject,
                    });
                }
                continue;
            };
            let column_type: ColumnType = column.r#type.parse().map_err(|source| PlanError::UnknownType {
                table: table.to_owned(),
                column: column.name.clone(),
                source,
            })?;
            let converter =
                found.converter(&column_type, names.get_names()).ok_or_else(|| PlanError::Mismatch {
                    table: table.to_owned(),
                    column: column.name.clone(),
                    column_type: column.r#type.clone(),
                    field_type: describe(found.schema),
                })?;
            planned.push(Column { name: column.name.clone(), origin: found.origin, converter });
        }
        let names: Vec<String> = planned.iter().map(|column| format!("`{}`", column.name)).collect();
        let insert = format!("INSERT INTO `{table}` ({}) FORMAT RowBinary", names.join(", "));
        Ok(Self { table: table.to_owned(), insert, schema, columns: planned })
    }

    /// The table.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// The columns whose values come from the log.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str())
    }

    /// The statement under which rows are sent.
    pub fn insert(&self) -> &str {
        &self.insert
    }

    /// Appends the row of a record to `rows`, or leaves `rows` as it was.
    pub fn write(&self, record: &impl Message, rows: &mut Vec<u8>) -> Result<(), RowError> {
        let value = self.decode(record.payload())?;
        let start = rows.len();
        for column in &self.columns {
            let written = match &column.origin {
                Origin::Field(path) => {
                    field(&value, path).and_then(|value| column.converter.write(value, rows))
                }
                Origin::Record(part) => column.converter.write(&part.of(record), rows),
            };
            if let Err(source) = written {
                rows.truncate(start);
                return Err(RowError::Value { column: column.name.clone(), source });
            }
        }
        Ok(())
    }

    /// The value as the newest schema has it: one of an older schema is resolved by Avro's rules.
    fn decode(&self, value: Option<&[u8]>) -> Result<Value, RowError> {
        let (schema, value) = codec::decode_generic(value)?;
        if schema.subject != self.schema.subject {
            let (id, found, expected) = (schema.id, schema.subject, self.schema.subject);
            return Err(CodecError::WrongSubject { id, found, expected }.into());
        }
        if schema.id == self.schema.id {
            return Ok(value);
        }
        value
            .resolve(self.schema.schema)
            .map_err(|source| RowError::Schema { id: schema.id, source: Box::new(source) })
    }
}

fn field<'v>(value: &'v Value, path: &[usize]) -> Result<&'v Value, ValueError> {
    path.iter()
        .try_fold(value, |value, position| match value {
            Value::Record(fields) => fields.get(*position).map(|(_, value)| value),
            _ => None,
        })
        .ok_or(ValueError::Type)
}

/// What a column is named after.
struct Found<'a> {
    origin: Origin,
    schema: &'a Schema,
    /// Not what a union holds, but which of its records that is.
    is_kind: bool,
}

impl<'a> Found<'a> {
    fn named(record: &'a RecordSchema, column: &str, names: &NamesRef<'a>) -> Option<Self> {
        if let Some(part) = RecordPart::named(column) {
            return Some(Self { origin: Origin::Record(part), schema: part.schema(), is_kind: false });
        }
        let found = |(path, schema), is_kind| Self { origin: Origin::Field(path), schema, is_kind };
        find(record, column, names).map(|field| found(field, false)).or_else(|| {
            let union = column.strip_suffix(KIND)?.strip_suffix('_')?;
            find(record, union, names).map(|field| found(field, true))
        })
    }

    fn converter(&self, column: &ColumnType, names: &NamesRef<'_>) -> Option<Converter> {
        if self.is_kind {
            Converter::kind(self.schema, column, names)
        } else {
            Converter::new(self.schema, column, names)
        }
    }
}

/// The field that a column is named after: its path from the record, and its schema.
fn find<'a>(
    record: &'a RecordSchema,
    column: &str,
    names: &NamesRef<'a>,
) -> Option<(Vec<usize>, &'a Schema)> {
    let inside = |position: usize, rest: &str| {
        let Schema::Record(inner) = referenced(&record.fields[position].schema, names)? else { return None };
        let (mut path, schema) = find(inner, rest, names)?;
        path.insert(0, position);
        Some((path, schema))
    };
    if let Some(position) = record.lookup.get(column) {
        return Some((vec![*position], &record.fields[*position].schema));
    }
    let below = record.fields.iter().enumerate().find_map(|(position, field)| {
        inside(position, column.strip_prefix(field.name.as_str())?.strip_prefix('_')?)
    });
    below.or_else(|| inside(*record.lookup.get(TRANSPARENT)?, column))
}

fn describe(schema: &Schema) -> String {
    serde_json::to_string(schema).unwrap_or_else(|_| format!("{schema:?}"))
}

#[cfg(test)]
mod tests;
