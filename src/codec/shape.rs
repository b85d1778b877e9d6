//! How the values of a schema lie in a datum: enough to pass over them, and to know that they follow it.

use apache_avro::Schema;
use apache_avro::schema::{NamesRef, UuidSchema};

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
    /// `fixed` of this many bytes.
    Fixed(usize),
    /// `bytes`.
    Bytes,
    /// `string`.
    Text,
    /// A string that spells a UUID.
    Uuid,
    /// One of so many symbols.
    Enum(usize),
    /// `array`.
    Array(Box<Shape>),
    /// `map`.
    Map(Box<Shape>),
    /// A union of these branches.
    Union(Vec<Shape>),
    /// One after the other.
    Record(Vec<Shape>),
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
            Schema::Float => Self::Fixed(4),
            Schema::Double => Self::Fixed(8),
            Schema::Fixed(fixed) => Self::Fixed(fixed.size),
            Schema::Bytes => Self::Bytes,
            Schema::String => Self::Text,
            Schema::Uuid(UuidSchema::String) => Self::Uuid,
            Schema::Enum(symbols) => Self::Enum(symbols.symbols.len()),
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
                let fields = record.fields.iter();
                let fields: Option<_> =
                    fields.map(|field| Self::within(scoped.part(&field.schema)?, around)).collect();
                around.pop();
                Self::Record(fields?)
            }
            _ => return None,
        };
        Some(shape)
    }

    /// Whether its values take no byte.
    fn is_empty(&self) -> bool {
        match self {
            Self::Nothing | Self::Fixed(0) => true,
            Self::Record(fields) => fields.iter().all(Self::is_empty),
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
            Self::Fixed(length) => drop(datum.take(*length)?),
            Self::Bytes => drop(datum.bytes()?),
            Self::Text => drop(datum.text()?),
            Self::Uuid => drop(datum.uuid()?),
            Self::Enum(count) => drop(datum.index(*count)?),
            Self::Array(items) => drop(datum.items(|datum| items.skip(datum))?),
            Self::Map(values) => {
                datum.items(|datum| {
                    datum.text()?;
                    values.skip(datum)
                })?;
            }
            Self::Union(branches) => branches[datum.index(branches.len())?].skip(datum)?,
            Self::Record(fields) => fields.iter().try_for_each(|field| field.skip(datum))?,
        }
        Ok(())
    }
}
