//! How the records of a topic become the rows of its table: made at start from the topic's schema and the table's
//! columns, so that what can't fit is known before the first record.
//!
//! A column's name is [the path of a field](crate::codec::path). A column without a field needs a default; a field without a
//! column is not stored, which of a resource's answered fields is an error.
//!
//! A field that is a union of records has two columns: `body` holds what the union holds as JSON, and `body_kind` which of
//! its records that is. And four names are not fields but [what a record is besides its value](RecordPart): where it lies,
//! when it was appended, and its key.
//!
//! Values go from bytes to bytes: for each schema of the subject a [`Program`] walks what that has written. The columns of the insert are
//! in the order of the newest schema's fields, so that its program writes the row as it walks.

use apache_avro::Schema;
use apache_avro::schema::{NamesRef, RecordSchema, ResolvedSchema};
use rdkafka::message::Message;

use super::converter::{Converter, Fault, Form};
use super::record_part::{PartConverter, RecordPart};
use super::row_binary::ValueError;
use super::types::{ColumnType, UnknownType};
use crate::codec;
use crate::codec::datum::Datum;
use crate::codec::path::{FieldPath, find};
use crate::codec::program::{Output, Program, Unfit};
use crate::codec::shape::Scoped;
use crate::codec::{CodecError, PinnedSchema};
use crate::resource::Resource;

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
        /// The field's schema.
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
    /// What the API answers has no column.
    #[error("table {table}: there is no column {field}, which {route} answers")]
    Unanswered {
        /// The table.
        table: String,
        /// The field.
        field: String,
        /// The route.
        route: &'static str,
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
    /// What an older schema has written can't be read as the newest has it.
    #[error(
        "table {table}: column {column} can't hold what schema {id} of {subject} has written: \
         between that schema and the newest, its field has changed in a way that Avro does not resolve"
    )]
    Unresolved {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// The older schema.
        id: u32,
        /// Its subject.
        subject: &'static str,
    },
    /// A schema holds a type that is not read.
    #[error(
        "table {table}: schema {id} of {subject} holds what the sink does not read: a decimal, a duration, \
         a UUID that is no string, an array of nulls, or a record within itself"
    )]
    Unreadable {
        /// The table.
        table: String,
        /// The schema.
        id: u32,
        /// Its subject.
        subject: &'static str,
    },
}

/// A record that can't become a row.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// It can't be decoded.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A value doesn't fit its column.
    #[error("column {column}: {source}")]
    Value {
        /// The column.
        column: String,
        /// The cause.
        source: ValueError,
    },
}

/// How the records of a topic become the rows of a table.
pub struct Plan {
    table: String,
    insert: String,
    schema: &'static PinnedSchema,
    /// In the order of the insert: first those of parts, then those of fields.
    columns: Vec<String>,
    parts: Vec<PartConverter>,
    /// By the id of the schema that was written with.
    programs: Vec<(u32, Program<Converter>)>,
}

impl Plan {
    /// The plan from `schema`, the newest of its subject, to `table` with its `columns`.
    pub fn new(
        schema: &'static PinnedSchema,
        table: &str,
        columns: &[TableColumn],
    ) -> Result<Self, PlanError> {
        let (table, subject) = (table.to_owned(), schema.subject);
        if columns.is_empty() {
            return Err(PlanError::NoTable { table });
        }
        let Schema::Record(record) = schema.schema else {
            return Err(PlanError::NotARecord { table, subject, schema: describe(schema.schema) });
        };
        let unreadable = |id| PlanError::Unreadable { table: table.clone(), id, subject };
        let resolved = ResolvedSchema::new(schema.schema).map_err(|_| unreadable(schema.id))?;
        let newest = Scoped::new(schema.schema, resolved.get_names());
        let mut parts = Vec::new();
        let mut fields = Vec::new();
        for column in columns {
            match column.default_kind.as_str() {
                "" | "DEFAULT" => {}
                _ => continue, // computed by ClickHouse
            }
            let Some(found) = Found::named(record, &column.name, newest.names) else {
                if column.default_kind.is_empty() {
                    return Err(PlanError::NoField {
                        table,
                        column: column.name.clone(),
                        column_type: column.r#type.clone(),
                        subject,
                    });
                }
                continue;
            };
            let column_type: ColumnType = column.r#type.parse().map_err(|source| PlanError::UnknownType {
                table: table.clone(),
                column: column.name.clone(),
                source,
            })?;
            match found {
                Found::Part(part) => {
                    let converter = PartConverter::new(part, &column_type)
                        .ok_or_else(|| mismatch(&table, column, part.avro_type()))?;
                    parts.push((column, converter));
                }
                Found::Field { path, is_kind } => fields.push((column, path, is_kind, column_type)),
            }
        }
        fields.sort_by(|(_, one, ..), (_, other, ..)| one.positions.cmp(&other.positions));
        let outputs: Vec<Output<'_, Form<'_>>> = fields
            .iter()
            .map(|(_, path, is_kind, column)| {
                let form = if *is_kind { Form::Kind(column) } else { Form::Column(column) };
                Output { path: path.names.clone(), form }
            })
            .collect();
        let mut programs = Vec::new();
        for writer in codec::schemas().values().rev().filter(|writer| writer.subject == subject) {
            let resolved = ResolvedSchema::new(writer.schema).map_err(|_| unreadable(writer.id))?;
            let program = Program::new(Scoped::new(writer.schema, resolved.get_names()), newest, &outputs)
                .map_err(|unfit| match unfit {
                    Unfit::Output(place) if writer.id == schema.id => {
                        let (column, field, ..) = &fields[place];
                        mismatch(&table, column, &describe(field.schema))
                    }
                    Unfit::Output(place) => PlanError::Unresolved {
                        table: table.clone(),
                        column: fields[place].0.name.clone(),
                        id: writer.id,
                        subject,
                    },
                    Unfit::Schema => unreadable(writer.id),
                })?;
            programs.push((writer.id, program));
        }
        let (of_parts, parts): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let columns = of_parts.into_iter().chain(fields.into_iter().map(|(column, ..)| column));
        let columns: Vec<String> = columns.map(|column| column.name.clone()).collect();
        let names: Vec<String> = columns.iter().map(|column| format!("`{column}`")).collect();
        let insert = format!("INSERT INTO `{table}` ({}) FORMAT RowBinary", names.join(", "));
        Ok(Self { table, insert, schema, columns, parts, programs })
    }

    /// The table.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// The columns whose values come from the log.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(String::as_str)
    }

    /// Checks that it writes all that a resource answers.
    ///
    /// # Errors
    /// An answered field has no column.
    pub fn answers(&self, resource: &'static Resource) -> Result<(), PlanError> {
        let lacks = |field: &&str| !self.columns.iter().any(|column| column == field);
        resource.needed().find(lacks).map_or(Ok(()), |field| {
            let (table, field, route) = (self.table.clone(), field.to_owned(), &*resource.route);
            Err(PlanError::Unanswered { table, field, route })
        })
    }

    /// The statement under which rows are sent.
    pub fn insert(&self) -> &str {
        &self.insert
    }

    /// Appends the row of a record to `rows`, or leaves `rows` as it was.
    pub fn write(&self, record: &impl Message, rows: &mut Vec<u8>) -> Result<(), RowError> {
        let start = rows.len();
        let written = self.append(record, rows);
        if written.is_err() {
            rows.truncate(start);
        }
        written
    }

    fn append(&self, record: &impl Message, rows: &mut Vec<u8>) -> Result<(), RowError> {
        let (schema, bytes) = codec::unframe(record.payload())?;
        let Some((id, program)) = self.programs.iter().find(|(id, _)| *id == schema.id) else {
            let (id, found, expected) = (schema.id, schema.subject, self.schema.subject);
            return Err(CodecError::WrongSubject { id, found, expected }.into());
        };
        let value_error =
            |place: usize, source| RowError::Value { column: self.columns[place].clone(), source };
        let malformed = |datum: &Datum<'_>, source| CodecError::Malformed {
            id: *id,
            at: bytes.len() - datum.left(),
            source,
        };
        let whole = |datum: &Datum<'_>| match datum.left() {
            0 => Ok(()),
            left => Err(CodecError::Remainder { id: *id, left }),
        };
        let mut refused = None;
        for (place, part) in self.parts.iter().enumerate() {
            if let Err(source) = part.write(record, rows) {
                refused.get_or_insert(value_error(place, source));
            }
        }
        let mut datum = Datum::new(bytes);
        match program.write(&mut datum, rows) {
            Ok(()) => {}
            Err((_, Fault::Malformed(source))) => return Err(malformed(&datum, source).into()),
            Err((place, Fault::Value(source))) => {
                // Only of a value that is well-formed is it said that it does not fit.
                datum = Datum::new(bytes);
                program.skip(&mut datum).map_err(|source| malformed(&datum, source))?;
                refused.get_or_insert(value_error(self.parts.len() + place, source));
            }
        }
        whole(&datum)?;
        refused.map_or(Ok(()), Err)
    }
}

fn mismatch(table: &str, column: &TableColumn, field_type: &str) -> PlanError {
    PlanError::Mismatch {
        table: table.to_owned(),
        column: column.name.clone(),
        column_type: column.r#type.clone(),
        field_type: field_type.to_owned(),
    }
}

/// What a column is named after.
enum Found<'a> {
    Part(RecordPart),
    Field {
        path: FieldPath<'a>,
        /// Not what a union holds, but which of its records that is.
        is_kind: bool,
    },
}

impl<'a> Found<'a> {
    fn named(record: &'a RecordSchema, column: &str, names: &NamesRef<'a>) -> Option<Self> {
        if let Some(part) = RecordPart::named(column) {
            return Some(Self::Part(part));
        }
        let field = find(record, column, names).map(|path| Self::Field { path, is_kind: false });
        field.or_else(|| {
            let union = column.strip_suffix(KIND)?.strip_suffix('_')?;
            find(record, union, names).map(|path| Self::Field { path, is_kind: true })
        })
    }
}

fn describe(schema: &Schema) -> String {
    serde_json::to_string(schema).unwrap_or_else(|_| format!("{schema:?}"))
}

#[cfg(test)]
mod tests;
