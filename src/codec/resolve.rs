//! What Avro's rules of resolution say of a value that one schema has written and another reads: numbers, symbols, branches;
//! and the entries of a map, which have an order here.

use std::collections::BTreeMap;

use apache_avro::Schema;
use apache_avro::schema::EnumSchema;

use super::datum::{Datum, Malformed};
use super::shape::Scoped;

/// An integer, as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whole {
    /// `int`.
    Int,
    /// `long`, or a timestamp.
    Long,
}

impl Whole {
    /// What is read of `writer` as `reader`, another integer or a timestamp.
    pub fn new(writer: &Schema, reader: &Schema) -> Option<Self> {
        use Schema::{Int, Long, TimestampMicros, TimestampMillis, TimestampNanos};
        match (writer, reader) {
            (Int, Int | Long | TimestampMillis | TimestampMicros | TimestampNanos) => Some(Self::Int),
            (Long, Long | TimestampMillis | TimestampMicros | TimestampNanos)
            | (TimestampMillis, Long | TimestampMillis)
            | (TimestampMicros, Long | TimestampMicros)
            | (TimestampNanos, Long | TimestampNanos) => Some(Self::Long),
            _ => None,
        }
    }

    /// Reads an integer of the writer's type.
    pub fn read(self, datum: &mut Datum<'_>) -> Result<i64, Malformed> {
        match self {
            Self::Int => datum.int().map(i64::from),
            Self::Long => datum.long(),
        }
    }
}

/// A number that is read as `float` or `double`: what was written, and whether it is read as `float`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// `int` or `long`.
    Whole(Whole, bool),
    /// `float`.
    Float,
    /// `double`.
    Double,
}

impl Number {
    /// What is read of `writer` as `reader`, a `float` or a `double`.
    pub fn new(writer: &Schema, reader: &Schema) -> Option<Self> {
        match (writer, reader) {
            (Schema::Int | Schema::Long, Schema::Float | Schema::Double) => {
                Some(Self::Whole(Whole::new(writer, writer)?, *reader == Schema::Float))
            }
            (Schema::Float, Schema::Float | Schema::Double) => Some(Self::Float),
            (Schema::Double, Schema::Double) => Some(Self::Double),
            _ => None,
        }
    }

    /// Reads a number of the writer's type.
    pub fn read(self, datum: &mut Datum<'_>) -> Result<f64, Malformed> {
        match self {
            Self::Whole(whole, true) => whole.read(datum).map(|value| f64::from(value as f32)),
            Self::Whole(whole, false) => whole.read(datum).map(|value| value as f64),
            Self::Float => datum.float().map(f64::from),
            Self::Double => datum.double(),
        }
    }
}

/// Reads a map and writes its entries in the order of their keys, so that equal maps are equal bytes; of equal keys the last
/// counts. How many they are.
pub fn entries<E: From<Malformed>>(
    datum: &mut Datum<'_>,
    row: &mut Vec<u8>,
    entry: impl Fn(usize, &str, &mut Datum<'_>, &mut Vec<u8>) -> Result<(), E>,
) -> Result<usize, E> {
    let (start, mut again) = (row.len(), datum.clone());
    let (mut last, mut count, mut in_order) = (None, 0, true);
    datum.items(|datum| {
        let key = datum.text()?;
        in_order &= last.is_none_or(|last| last < key);
        last = Some(key);
        entry(count, key, datum, row)?;
        count += 1;
        Ok::<_, E>(())
    })?;
    if in_order {
        return Ok(count);
    }
    let mut sorted = BTreeMap::new();
    again.items(|datum| {
        sorted.insert(datum.text()?, datum.clone());
        row.truncate(start);
        entry(0, "", datum, row)
    })?;
    row.truncate(start);
    for (place, (key, value)) in sorted.iter().enumerate() {
        entry(place, key, &mut value.clone(), row)?;
    }
    Ok(sorted.len())
}

/// What is written for each symbol of `written`, read as `read`: by name, or as that schema's default.
pub fn symbols(
    written: &EnumSchema,
    read: &EnumSchema,
    write: impl Fn(&str) -> Option<Vec<u8>>,
) -> Option<Vec<Vec<u8>>> {
    let known = |symbol: &String| {
        let symbol = if read.symbols.contains(symbol) { Some(symbol) } else { read.default.as_ref() };
        write(symbol?)
    };
    written.symbols.iter().map(known).collect()
}

/// What a union of `null` and one other type holds when it isn't null.
pub fn nullable(scoped: Scoped<'_>) -> Option<Scoped<'_>> {
    let Schema::Union(union) = scoped.schema else { return None };
    match union.variants() {
        [Schema::Null, inner] | [inner, Schema::Null] => scoped.part(inner),
        _ => None,
    }
}

/// The records of which a union is made, and of nothing else.
pub fn records(scoped: Scoped<'_>) -> Option<Vec<Scoped<'_>>> {
    let Schema::Union(union) = scoped.schema else { return None };
    let record = |branch| scoped.part(branch).filter(|branch| matches!(branch.schema, Schema::Record(_)));
    union.variants().iter().map(record).collect()
}

/// A record's name.
pub fn name(scoped: Scoped<'_>) -> Option<&str> {
    match scoped.schema {
        Schema::Record(record) => Some(record.name.name()),
        _ => None,
    }
}
