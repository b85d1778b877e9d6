//! How the values of a schema lie in a datum: compiled once a schema, to pass over them, to read them into structs
//! ([`decode`](mod@super::decode)) and to write structs ([`encode`](mod@super::encode)).

use std::sync::OnceLock;

use apache_avro::Schema;
use apache_avro::schema::{NamesRef, RecordField, UuidSchema};

use crate::codec::datum::{Datum, Malformed};

/// A schema, and what the references in it name.
#[derive(Debug, Clone, Copy)]
pub struct Scoped<'a> {
    /// The schema; not a reference.
    pub schema: &'a Schema,
    /// What it is a part of.
    pub whole: &'a Schema,
    /// What the references in the whole name.
    pub names: &'a NamesRef<'a>,
}

impl<'a> Scoped<'a> {
    /// All of a schema.
    pub fn new(whole: &'a Schema, names: &'a NamesRef<'a>) -> Self {
        Self { schema: whole, whole, names }
    }

    /// A part of it; `None` if that is a reference to nothing.
    pub fn part(self, schema: &'a Schema) -> Option<Self> {
        let schema = match schema {
            Schema::Ref { name } => *self.names.get(name)?,
            schema => schema,
        };
        Some(Self { schema, ..self })
    }
}

/// How values lie in a datum.
#[derive(Debug, PartialEq)]
pub enum Shape {
    /// Nothing at all: `null`.
    Nothing,
    /// `boolean`.
    Boolean,
    /// A number of up to 32 bits.
    Int,
    /// A number of up to 64 bits.
    Long,
    /// `float`.
    Float,
    /// `double`.
    Double,
    /// `fixed` of this many bytes.
    Fixed(usize),
    /// `bytes`.
    Bytes,
    /// `string`.
    Text,
    /// A string that spells a UUID.
    Uuid,
    /// One of these symbols.
    Enum(Vec<String>),
    /// `array`.
    Array(Box<Shape>),
    /// `map`.
    Map(Box<Shape>),
    /// A union of these branches.
    Union(Vec<Shape>),
    /// A record.
    Record(RecordShape),
}

/// How a record lies in a datum: its fields, one after the other.
#[derive(Debug, PartialEq)]
pub struct RecordShape {
    /// Its name, by which a union tells its branches apart.
    pub name: String,
    /// The fields, by name.
    pub fields: Vec<(String, Shape)>,
    same: SameOrder,
}

/// The fields of a struct that are those of the record, in the same order: remembered, for to compare them costs more than to read
/// one.
#[derive(Debug, Default)]
struct SameOrder(OnceLock<&'static [&'static str]>);

impl PartialEq for SameOrder {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl RecordShape {
    /// Whether a struct of these fields has those of the record, in their order.
    #[inline]
    pub fn is_in_order(&self, fields: &'static [&'static str]) -> bool {
        // What is static and lies at the same place is the same.
        if self.same.0.get().is_some_and(|known| std::ptr::eq(*known, fields)) {
            return true;
        }
        let is_same = fields.iter().eq(self.fields.iter().map(|(name, _)| name));
        if is_same {
            // Another struct may have been first: then this one is compared each time.
            let _ = self.same.0.set(fields);
        }
        is_same
    }
}

impl Shape {
    /// How values of a schema lie. `None` for what no schema here has: one that contains itself, an array of nothing, a decimal,
    /// a duration, a UUID that is not a string.
    pub fn new(scoped: Scoped<'_>) -> Option<Self> {
        Self::within(scoped, &mut Vec::new())
    }

    /// `around` are the records that this one is a part of.
    fn within<'a>(scoped: Scoped<'a>, around: &mut Vec<&'a Schema>) -> Option<Self> {
        let shape = match scoped.schema {
            Schema::Null => Self::Nothing,
            Schema::Boolean => Self::Boolean,
            Schema::Int | Schema::Date | Schema::TimeMillis => Self::Int,
            Schema::Long
            | Schema::TimeMicros
            | Schema::TimestampMillis
            | Schema::TimestampMicros
            | Schema::TimestampNanos
            | Schema::LocalTimestampMillis
            | Schema::LocalTimestampMicros
            | Schema::LocalTimestampNanos => Self::Long,
            Schema::Float => Self::Float,
            Schema::Double => Self::Double,
            Schema::Fixed(fixed) => Self::Fixed(fixed.size),
            Schema::Bytes => Self::Bytes,
            Schema::String => Self::Text,
            Schema::Uuid(UuidSchema::String) => Self::Uuid,
            Schema::Enum(symbols) => Self::Enum(symbols.symbols.clone()),
            Schema::Array(array) => {
                let items = Self::within(scoped.part(&array.items)?, around)?;
                // How many there are would be bound by nothing.
                (!items.is_empty()).then(|| Self::Array(Box::new(items)))?
            }
            Schema::Map(map) => Self::Map(Box::new(Self::within(scoped.part(&map.types)?, around)?)),
            Schema::Union(union) => {
                let branches = union.variants().iter();
                Self::Union(
                    branches
                        .map(|branch| Self::within(scoped.part(branch)?, around))
                        .collect::<Option<_>>()?,
                )
            }
            Schema::Record(record) => {
                if around.iter().any(|outer| std::ptr::eq(*outer, scoped.schema)) {
                    return None;
                }
                around.push(scoped.schema);
                let field = |field: &'a RecordField| {
                    Some((field.name.clone(), Self::within(scoped.part(&field.schema)?, around)?))
                };
                let fields: Option<_> = record.fields.iter().map(field).collect();
                around.pop();
                let name = record.name.name().to_owned();
                Self::Record(RecordShape { name, fields: fields?, same: SameOrder::default() })
            }
            _ => return None,
        };
        Some(shape)
    }

    /// Whether its values take no byte.
    fn is_empty(&self) -> bool {
        match self {
            Self::Nothing | Self::Fixed(0) => true,
            Self::Record(record) => record.fields.iter().all(|(_, field)| field.is_empty()),
            _ => false,
        }
    }

    /// Passes over a value.
    ///
    /// # Errors
    /// The bytes don't follow the schema.
    pub fn skip(&self, datum: &mut Datum<'_>) -> Result<(), Malformed> {
        match self {
            Self::Nothing => {}
            Self::Boolean => drop(datum.boolean()?),
            Self::Int => drop(datum.int()?),
            Self::Long => drop(datum.long()?),
            Self::Float => drop(datum.float()?),
            Self::Double => drop(datum.double()?),
            Self::Fixed(length) => drop(datum.take(*length)?),
            Self::Bytes => drop(datum.bytes()?),
            Self::Text => drop(datum.text()?),
            Self::Uuid => drop(datum.uuid()?),
            Self::Enum(symbols) => drop(datum.index(symbols.len())?),
            Self::Array(items) => drop(datum.items(|datum| items.skip(datum))?),
            Self::Map(values) => {
                datum.items(|datum| {
                    datum.text()?;
                    values.skip(datum)
                })?;
            }
            Self::Union(branches) => branches[datum.index(branches.len())?].skip(datum)?,
            Self::Record(record) => record.fields.iter().try_for_each(|(_, field)| field.skip(datum))?,
        }
        Ok(())
    }
}
