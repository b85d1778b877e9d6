//! How the records of a topic become the rows of its table: made at start from the topic's schema and the table's
//! columns, so that what can't fit is known before the first record.
//!
//! **A column's name is the path of a field, its names joined by `_`, and the record `meta` may be left out:** `area`
//! is the field `area`, `evidence_first` is `first` in `evidence`, and since no record has a field `evidence` of its
//! own, it is that of `meta`. A field of the record itself wins over one of `meta`, and a whole name over a
//! path. A column without a field needs a default; a field without a column is not stored.

use apache_avro::Schema;
use apache_avro::schema::{NamesRef, RecordSchema, ResolvedSchema};
use apache_avro::types::Value;

use super::converter::{Converter, ValueError, referenced};
use super::types::{ColumnType, UnknownType};
use crate::codec::{self, CodecError, PinnedSchema};

const TRANSPARENT: &str = "meta";

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
    path: Vec<usize>,
    converter: Converter,
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
            let Some((path, field)) = find(record, &column.name, names.get_names()) else {
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
            let converter = Converter::new(field, &column_type, names.get_names()).ok_or_else(|| {
                PlanError::Mismatch {
                    table: table.to_owned(),
                    column: column.name.clone(),
                    column_type: column.r#type.clone(),
                    field_type: describe(field),
                }
            })?;
            planned.push(Column { name: column.name.clone(), path, converter });
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

    /// Appends the row of a record's value to `rows`, or leaves `rows` as it was.
    pub fn write(&self, value: Option<&[u8]>, rows: &mut Vec<u8>) -> Result<(), RowError> {
        let value = self.decode(value)?;
        let start = rows.len();
        for column in &self.columns {
            let written = column
                .path
                .iter()
                .try_fold(&value, |value, position| match value {
                    Value::Record(fields) => fields.get(*position).map(|(_, value)| value),
                    _ => None,
                })
                .ok_or(ValueError::Type)
                .and_then(|value| column.converter.write(value, rows));
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
