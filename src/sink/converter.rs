//! One Avro value to one value in ClickHouse's RowBinary, from bytes to bytes.
//!
//! A [`Converter`] is made once for the type that was written, the type as which that is read, and the column's, and
//! refuses what doesn't fit; then it writes values. What can still go wrong with a value is its range (a negative `long` for a
//! `UInt64`), its text (no UUID), and bytes that don't follow their schema.

use apache_avro::Schema;
use apache_avro::schema::UuidSchema;
use uuid::Uuid;

use super::row_binary::{ValueError, write_bytes, write_counted, write_integer, write_time, write_uuid};
use super::types::ColumnType;
use crate::codec::datum::{Datum, Malformed};
use crate::codec::json_program::{Json, JsonFault};
use crate::codec::program::{Convert, Output, Program};
use crate::codec::resolve::{Number, Whole, entries, name, nullable, records, symbols};
use crate::codec::shape::{Scoped, Shape};

/// As what a field is written.
#[derive(Debug, Clone)]
pub enum Form<'a> {
    /// As the value of a column of that type.
    Column(&'a ColumnType),
    /// Which of its records a union holds, as a column of that type.
    Kind(&'a ColumnType),
}

/// How values are written to a column.
#[derive(Debug, PartialEq)]
pub enum Converter {
    /// `string` or `bytes`, as `String`.
    Text {
        /// Whether it has to be UTF-8.
        utf8: bool,
    },
    /// `uuid`.
    Uuid,
    /// A `string` that should spell a UUID.
    TextUuid,
    /// `boolean`, as `Bool` or `UInt8`.
    Boolean,
    /// A timestamp, as the ticks of a `DateTime64`: so many a second.
    Time {
        /// What was written.
        from: Whole,
        /// Ticks a second.
        ticks: i64,
    },
    /// `int`, `long` or a timestamp, as an integer of so many bytes.
    Integer {
        /// What was written.
        from: Whole,
        /// Width in bytes.
        bytes: usize,
        /// Whether it may be negative.
        signed: bool,
    },
    /// `float` as `Float32` or `double` as `Float64`: the same bytes, so many.
    Same(usize),
    /// Another number, as `Float32` or `Float64`.
    Float {
        /// What was written.
        from: Number,
        /// Width in bytes.
        bytes: usize,
    },
    /// `enum`: what is written for each symbol.
    Symbols(Vec<Vec<u8>>),
    /// `null`, in a `Nullable`.
    Null,
    /// Something, in a `Nullable`.
    NotNull(Box<Converter>),
    /// A union: how each branch is written.
    Union(Vec<Converter>),
    /// `array`.
    Array(Box<Converter>),
    /// `map`, its keys in order.
    Map(Box<Converter>),
    /// `record`, as `Tuple`.
    Record(Program<Converter>),
    /// Whatever it is, the same is written.
    Constant {
        /// The field's shape.
        shape: Shape,
        /// What is written.
        bytes: Vec<u8>,
    },
    /// A union of records, as JSON: what it holds.
    Json(Json),
}

/// Why a value can't be written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Its bytes don't follow the schema.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Its column can't hold it.
    #[error(transparent)]
    Value(#[from] ValueError),
}

impl From<JsonFault> for Fault {
    fn from(fault: JsonFault) -> Self {
        match fault {
            JsonFault::Malformed(fault) => Self::Malformed(fault),
            JsonFault::NoJson(why) => Self::Value(ValueError::NoJson(why)),
        }
    }
}

impl Convert for Converter {
    type Form<'a> = Form<'a>;
    type Fault = Fault;

    fn new(writer: Scoped<'_>, reader: Scoped<'_>, form: &Form<'_>) -> Option<Self> {
        match form {
            Form::Column(column) => Self::column(writer, reader, column),
            Form::Kind(column) => Self::kind(writer, reader, column),
        }
    }

    fn write(&self, datum: &mut Datum<'_>, row: &mut Vec<u8>) -> Result<(), Fault> {
        Self::write(self, datum, row)
    }
}

impl Converter {
    /// How values of `writer`, read as `reader`, are written to a column of type `column`. `None` if that can't be done for all
    /// values, save for their range.
    pub fn column(writer: Scoped<'_>, reader: Scoped<'_>, column: &ColumnType) -> Option<Self> {
        use Schema::{
            Boolean, Bytes, Double, Float, String, TimestampMicros, TimestampMillis, TimestampNanos,
        };
        if let ColumnType::String = column
            && records(reader).is_some()
        {
            return Some(Self::Json(Json::new(writer, reader)?));
        }
        if let Schema::Union(union) = writer.schema {
            let branch = |branch| Self::column(writer.part(branch)?, reader, column);
            return Some(Self::Union(union.variants().iter().map(branch).collect::<Option<_>>()?));
        }
        if let ColumnType::Nullable(inner) = column {
            return match (writer.schema, nullable(reader)) {
                (Schema::Null, Some(_)) => Some(Self::Null),
                (_, something) => {
                    let something = Self::column(writer, something.unwrap_or(reader), inner)?;
                    Some(Self::NotNull(Box::new(something)))
                }
            };
        }
        let converter = match (writer.schema, reader.schema, column) {
            (Bytes, Bytes, ColumnType::String) => Self::Text { utf8: false },
            (String | Bytes, String | Bytes, ColumnType::String) => Self::Text { utf8: true },
            (Schema::Uuid(UuidSchema::String), Schema::Uuid(UuidSchema::String), ColumnType::Uuid) => {
                Self::Uuid
            }
            (String, String | Schema::Uuid(UuidSchema::String), ColumnType::Uuid) => Self::TextUuid,
            (Boolean, Boolean, ColumnType::Bool | ColumnType::Integer { bytes: 1, signed: false }) => {
                Self::Boolean
            }
            (from, to, &ColumnType::Integer { bytes, signed }) => {
                Self::Integer { from: Whole::new(from, to)?, bytes, signed }
            }
            (from, to, ColumnType::DateTime64 { digits }) => {
                let ticks = match (to, digits) {
                    (TimestampMillis, 3) => 1_000,
                    (TimestampMicros, 6) => 1_000_000,
                    (TimestampNanos, 9) => 1_000_000_000,
                    _ => return None,
                };
                Self::Time { from: Whole::new(from, to)?, ticks }
            }
            (Float, Float, ColumnType::Float32) => Self::Same(4),
            (Double, Double, ColumnType::Float64) => Self::Same(8),
            (from, Float, ColumnType::Float32) => Self::Float { from: Number::new(from, &Float)?, bytes: 4 },
            (from, to @ (Float | Double), ColumnType::Float64) => {
                Self::Float { from: Number::new(from, to)?, bytes: 8 }
            }
            (Schema::Enum(written), Schema::Enum(read), column) => {
                Self::Symbols(symbols(written, read, |symbol| symbol_bytes(symbol, column))?)
            }
            (Schema::Array(written), Schema::Array(read), ColumnType::Array(items)) => {
                let (writer, reader) = (writer.part(&written.items)?, reader.part(&read.items)?);
                Self::Array(Box::new(Self::column(writer, reader, items)?))
            }
            (Schema::Map(written), Schema::Map(read), ColumnType::Map(key, value))
                if **key == ColumnType::String =>
            {
                let (writer, reader) = (writer.part(&written.types)?, reader.part(&read.types)?);
                Self::Map(Box::new(Self::column(writer, reader, value)?))
            }
            (Schema::Record(_), Schema::Record(_), ColumnType::Tuple(elements)) => {
                let output = |(name, column)| Output { path: vec![name], form: Form::Column(column) };
                let outputs: Vec<_> =
                    elements.iter().map(|(name, column)| output((name.as_str(), column))).collect();
                Self::Record(Program::new(writer, reader, &outputs).ok()?)
            }
            _ => return None,
        };
        Some(converter)
    }

    /// How which record a union of records holds is written to a column of type `column`.
    pub fn kind(writer: Scoped<'_>, reader: Scoped<'_>, column: &ColumnType) -> Option<Self> {
        let known = records(reader)?;
        let written = records(writer).filter(|_| *column == ColumnType::String)?;
        let branch = |record: &Scoped<'_>| {
            let written = name(*record)?;
            known.iter().any(|known| name(*known) == Some(written)).then_some(())?;
            let mut bytes = Vec::new();
            write_bytes(written.as_bytes(), &mut bytes);
            Some(Self::Constant { shape: Shape::new(*record)?, bytes })
        };
        Some(Self::Union(written.iter().map(branch).collect::<Option<_>>()?))
    }

    /// Reads a value and appends it to `row`. After an error `row` holds a part of it.
    ///
    /// # Errors
    /// The bytes don't follow the schema, or the column can't hold the value.
    pub fn write(&self, datum: &mut Datum<'_>, row: &mut Vec<u8>) -> Result<(), Fault> {
        match self {
            Self::Text { utf8: true } => write_bytes(datum.text()?.as_bytes(), row),
            Self::Text { utf8: false } => write_bytes(datum.bytes()?, row),
            Self::Uuid => write_uuid(datum.uuid()?, row),
            Self::TextUuid => {
                let text = datum.text()?;
                write_uuid(Uuid::parse_str(text).map_err(|_| ValueError::NotUuid(text.to_owned()))?, row);
            }
            Self::Boolean => row.push(u8::from(datum.boolean()?)),
            &Self::Integer { from, bytes, signed } => write_integer(from.read(datum)?, bytes, signed, row)?,
            &Self::Time { from, ticks } => write_time(from.read(datum)?, ticks, row),
            Self::Same(length) => row.extend_from_slice(datum.take(*length)?),
            Self::Float { from, bytes: 4 } => {
                row.extend_from_slice(&(from.read(datum)? as f32).to_le_bytes());
            }
            Self::Float { from, .. } => row.extend_from_slice(&from.read(datum)?.to_le_bytes()),
            Self::Symbols(symbols) => row.extend_from_slice(&symbols[datum.index(symbols.len())?]),
            Self::Null => row.push(1),
            Self::NotNull(inner) => {
                row.push(0);
                inner.write(datum, row)?;
            }
            Self::Union(branches) => branches[datum.index(branches.len())?].write(datum, row)?,
            Self::Array(items) => {
                write_counted(row, |row| datum.items(|datum| items.write(datum, row)))?;
            }
            Self::Map(values) => write_counted(row, |row| {
                entries(datum, row, |_, key, datum, row| {
                    write_bytes(key.as_bytes(), row);
                    values.write(datum, row)
                })
            })?,
            Self::Record(program) => program.write(datum, row).map_err(|(_, fault)| fault)?,
            Self::Constant { shape, bytes } => {
                shape.skip(datum)?;
                row.extend_from_slice(bytes);
            }
            Self::Json(json) => write_counted(row, |row| {
                let start = row.len();
                json.write(datum, row)?;
                Ok::<_, Fault>(row.len() - start)
            })?,
        }
        Ok(())
    }
}

fn symbol_bytes(symbol: &str, column: &ColumnType) -> Option<Vec<u8>> {
    match column {
        ColumnType::String => {
            let mut text = Vec::new();
            write_bytes(symbol.as_bytes(), &mut text);
            Some(text)
        }
        ColumnType::Enum { bytes, values } => {
            let (_, number) = values.iter().find(|(name, _)| name == symbol)?;
            Some(number.to_le_bytes()[..*bytes].to_vec())
        }
        _ => None,
    }
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
pub(crate) mod rows_tests;
#[cfg(test)]
mod tests;
