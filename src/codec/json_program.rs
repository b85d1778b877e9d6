//! One Avro value to JSON, from bytes to bytes: the same text as `codec::json` makes of the value.

use std::io::Write;

use apache_avro::Schema;
use apache_avro::schema::UuidSchema;
use serde::Serialize;

use super::datum::{Datum, Malformed};
use super::json::{text, time};
use super::program::{Convert, Output, Program};
use super::resolve::{Number, Whole, entries, name, symbols};
use super::shape::Scoped;

/// How values are written as JSON.
#[derive(Debug, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `boolean`.
    Boolean,
    /// `int` or `long`.
    Integer(Whole),
    /// `timestamp-millis`, as RFC 3339 where the calendar has it.
    Time(Whole),
    /// The same, refused where the calendar has it not.
    CalendarTime(Whole),
    /// What is read as `float`.
    Float(Number),
    /// What is read as `double`.
    Double(Number),
    /// `string`.
    Text,
    /// `uuid`.
    Uuid,
    /// `bytes`: text that can be read, or base64.
    Bytes,
    /// `enum`: what is written for each symbol.
    Symbols(Vec<Vec<u8>>),
    /// A union: only what it holds.
    Union(Vec<Json>),
    /// `array`.
    Array(Box<Json>),
    /// `map`, its keys in order.
    Map(Box<Json>),
    /// `record`: its members, each behind its name.
    Record(Program<Member>),
}

/// Why there is no JSON for a value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// Its bytes don't follow the schema.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It can't be written as JSON.
    #[error("it can't be written as JSON: {0}")]
    NoJson(String),
}

/// A value between two texts: a member of an object.
#[derive(Debug, PartialEq)]
pub struct Member {
    before: Vec<u8>,
    json: Json,
    after: &'static str,
}

/// How times are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Times {
    /// As RFC 3339; as a number of milliseconds where the calendar has no such time.
    #[default]
    Readable,
    /// As RFC 3339; what the calendar has not is refused.
    Calendar,
    /// As a number of milliseconds.
    Millis,
}

/// As what a member is written.
#[derive(Debug, Clone, Default)]
pub struct MemberForm {
    /// What stands before the value: a brace or comma, its name, a colon.
    pub before: String,
    /// What stands behind it: nothing by default.
    pub after: &'static str,
    /// How times are written in it.
    pub times: Times,
}

impl Convert for Member {
    type Form<'a> = MemberForm;
    type Fault = JsonFault;

    fn new(writer: Scoped<'_>, reader: Scoped<'_>, form: &MemberForm) -> Option<Self> {
        let json = Json::of(writer, reader, form.times)?;
        Some(Self { before: form.before.clone().into_bytes(), json, after: form.after })
    }

    fn write(&self, datum: &mut Datum<'_>, text: &mut Vec<u8>) -> Result<(), JsonFault> {
        text.extend_from_slice(&self.before);
        self.json.write(datum, text)?;
        text.extend_from_slice(self.after.as_bytes());
        Ok(())
    }
}

impl Json {
    /// How values of `writer`, read as `reader`, are written. `None` if that can't be done.
    pub fn new(writer: Scoped<'_>, reader: Scoped<'_>) -> Option<Self> {
        Self::of(writer, reader, Times::default())
    }

    fn of(writer: Scoped<'_>, reader: Scoped<'_>, times: Times) -> Option<Self> {
        if let Schema::Union(union) = writer.schema {
            let branch = |branch| Self::of(writer.part(branch)?, reader, times);
            return Some(Self::Union(union.variants().iter().map(branch).collect::<Option<_>>()?));
        }
        if let Schema::Union(union) = reader.schema {
            let parts = union.variants().iter().filter_map(|branch| reader.part(branch));
            // The branch of the same type, or of the same name; else the first that it can be read as.
            let same = |part: &Scoped<'_>| {
                std::mem::discriminant(part.schema) == std::mem::discriminant(writer.schema)
                    && name(*part) == name(writer)
            };
            return parts.clone().find(same).and_then(|part| Self::of(writer, part, times)).or_else(|| {
                parts.filter(|part| name(*part).is_none()).find_map(|part| Self::of(writer, part, times))
            });
        }
        let json = match (writer.schema, reader.schema) {
            (Schema::Null, Schema::Null) => Self::Null,
            (Schema::Boolean, Schema::Boolean) => Self::Boolean,
            (from, to @ (Schema::Int | Schema::Long)) => Self::Integer(Whole::new(from, to)?),
            (from, to @ Schema::TimestampMillis) => {
                let from = Whole::new(from, to)?;
                match times {
                    Times::Readable => Self::Time(from),
                    Times::Calendar => Self::CalendarTime(from),
                    Times::Millis => Self::Integer(from),
                }
            }
            (from, to @ Schema::Float) => Self::Float(Number::new(from, to)?),
            (from, to @ Schema::Double) => Self::Double(Number::new(from, to)?),
            (Schema::String | Schema::Bytes, Schema::String) => Self::Text,
            (Schema::Bytes, Schema::Bytes) => Self::Bytes,
            (Schema::Uuid(UuidSchema::String), Schema::Uuid(UuidSchema::String)) => Self::Uuid,
            (Schema::Enum(written), Schema::Enum(read)) => {
                Self::Symbols(symbols(written, read, |symbol| serde_json::to_vec(symbol).ok())?)
            }
            (Schema::Array(written), Schema::Array(read)) => Self::Array(Box::new(Self::of(
                writer.part(&written.items)?,
                reader.part(&read.items)?,
                times,
            )?)),
            (Schema::Map(written), Schema::Map(read)) => {
                Self::Map(Box::new(Self::of(writer.part(&written.types)?, reader.part(&read.types)?, times)?))
            }
            (Schema::Record(_), Schema::Record(read)) => {
                let mut outputs = Vec::new();
                for (place, field) in read.fields.iter().enumerate() {
                    let comma = if place == 0 { "" } else { "," };
                    let before = format!("{comma}{}:", serde_json::to_string(&field.name).ok()?);
                    let form = MemberForm { before, times, ..MemberForm::default() };
                    outputs.push(Output { path: vec![field.name.as_str()], form });
                }
                Self::Record(Program::new(writer, reader, &outputs).ok()?)
            }
            _ => return None,
        };
        Some(json)
    }

    /// Reads a value and appends its JSON.
    ///
    /// # Errors
    /// The bytes don't follow the schema, or there is no JSON for a value.
    pub fn write(&self, datum: &mut Datum<'_>, text: &mut Vec<u8>) -> Result<(), JsonFault> {
        match self {
            Self::Null => text.extend_from_slice(b"null"),
            Self::Boolean => serialize(&datum.boolean()?, text)?,
            Self::Integer(from) => serialize(&from.read(datum)?, text)?,
            Self::Time(from) => {
                let millis = from.read(datum)?;
                match time(millis) {
                    Some(time) => serialize(&time, text)?,
                    None => serialize(&millis, text)?,
                }
            }
            Self::CalendarTime(from) => {
                let millis = from.read(datum)?;
                let no_time = || JsonFault::NoJson(format!("the calendar has no time {millis}"));
                serialize(&time(millis).ok_or_else(no_time)?, text)?;
            }
            Self::Float(from) => serialize(&(from.read(datum)? as f32), text)?,
            Self::Double(from) => serialize(&from.read(datum)?, text)?,
            Self::Text => serialize(datum.text()?, text)?,
            Self::Uuid => {
                let uuid = datum.uuid()?;
                write!(text, "\"{uuid}\"").map_err(|error| JsonFault::NoJson(error.to_string()))?;
            }
            Self::Bytes => serialize(&self::text(datum.bytes()?), text)?,
            Self::Symbols(symbols) => text.extend_from_slice(&symbols[datum.index(symbols.len())?]),
            Self::Union(branches) => branches[datum.index(branches.len())?].write(datum, text)?,
            Self::Array(items) => {
                text.push(b'[');
                let mut is_first = true;
                datum.items(|datum| {
                    if !std::mem::take(&mut is_first) {
                        text.push(b',');
                    }
                    items.write(datum, text)
                })?;
                text.push(b']');
            }
            Self::Map(values) => {
                text.push(b'{');
                entries(datum, text, |place, key, datum, text| {
                    if place > 0 {
                        text.push(b',');
                    }
                    serialize(key, text)?;
                    text.push(b':');
                    values.write(datum, text)
                })?;
                text.push(b'}');
            }
            Self::Record(members) => {
                text.push(b'{');
                members.write(datum, text).map_err(|(_, fault)| fault)?;
                text.push(b'}');
            }
        }
        Ok(())
    }
}

fn serialize<T: Serialize + ?Sized>(value: &T, text: &mut Vec<u8>) -> Result<(), JsonFault> {
    serde_json::to_writer(text, value).map_err(|error| JsonFault::NoJson(error.to_string()))
}
