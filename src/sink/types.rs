//! The types of ClickHouse's columns, as `system.columns` spells them, as far as rows here have use for them.

use std::str::FromStr;

/// A column's type. `LowCardinality` is left out: it changes how a column is stored, not how a value is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnType {
    /// `String`: any bytes.
    String,
    /// `UUID`.
    Uuid,
    /// `Bool`.
    Bool,
    /// `UInt8` … `Int64`.
    Integer {
        /// Width in bytes: 1, 2, 4 or 8.
        bytes: usize,
        /// Whether it is below zero, too.
        signed: bool,
    },
    /// `Float32`.
    Float32,
    /// `Float64`.
    Float64,
    /// `DateTime64(digits)`: ticks since the Unix epoch.
    DateTime64 {
        /// Digits behind the second: 3 for milliseconds.
        digits: u8,
    },
    /// `Enum8` or `Enum16`.
    Enum {
        /// Width in bytes: 1 or 2.
        bytes: usize,
        /// Names and what they stand for.
        values: Vec<(String, i16)>,
    },
    /// `Nullable(…)`.
    Nullable(Box<ColumnType>),
    /// `Array(…)`.
    Array(Box<ColumnType>),
    /// `Map(…, …)`.
    Map(Box<ColumnType>, Box<ColumnType>),
    /// `Tuple(name type, …)`.
    Tuple(Vec<(String, ColumnType)>),
}

/// A type that rows can't be written to.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the type {0} is not one that the sink writes")]
pub struct UnknownType(String);

impl FromStr for ColumnType {
    type Err = UnknownType;

    fn from_str(text: &str) -> Result<Self, UnknownType> {
        let unknown = || UnknownType(text.to_owned());
        let (name, arguments) = match text.trim().split_once('(') {
            Some((name, rest)) => (name, split(rest.strip_suffix(')').ok_or_else(unknown)?)),
            None => (text.trim(), Vec::new()),
        };
        let integer = |bytes, signed| Ok(Self::Integer { bytes, signed });
        match (name, arguments.as_slice()) {
            ("String", []) => Ok(Self::String),
            ("UUID", []) => Ok(Self::Uuid),
            ("Bool", []) => Ok(Self::Bool),
            ("UInt8", []) => integer(1, false),
            ("UInt16", []) => integer(2, false),
            ("UInt32", []) => integer(4, false),
            ("UInt64", []) => integer(8, false),
            ("Int8", []) => integer(1, true),
            ("Int16", []) => integer(2, true),
            ("Int32", []) => integer(4, true),
            ("Int64", []) => integer(8, true),
            ("Float32", []) => Ok(Self::Float32),
            ("Float64", []) => Ok(Self::Float64),
            ("DateTime64", [digits, ..]) => {
                Ok(Self::DateTime64 { digits: digits.parse().map_err(|_| unknown())? })
            }
            ("Enum8", values) => {
                Ok(Self::Enum { bytes: 1, values: enumeration(values).ok_or_else(unknown)? })
            }
            ("Enum16", values) => {
                Ok(Self::Enum { bytes: 2, values: enumeration(values).ok_or_else(unknown)? })
            }
            ("LowCardinality", [inner]) => inner.parse(),
            ("Nullable", [inner]) => Ok(Self::Nullable(Box::new(inner.parse()?))),
            ("Array", [inner]) => Ok(Self::Array(Box::new(inner.parse()?))),
            ("Map", [key, value]) => Ok(Self::Map(Box::new(key.parse()?), Box::new(value.parse()?))),
            ("Tuple", elements) => {
                let element = |element: &&str| {
                    let (name, inner) = element.split_once(' ').ok_or_else(unknown)?;
                    Ok((name.trim_matches('`').to_owned(), inner.parse()?))
                };
                Ok(Self::Tuple(elements.iter().map(element).collect::<Result<_, _>>()?))
            }
            _ => Err(unknown()),
        }
    }
}

/// Splits at the commas that are in no parentheses and in no quotes.
fn split(text: &str) -> Vec<&str> {
    let (mut depth, mut quoted, mut escaped, mut start) = (0, false, false, 0);
    let mut parts = Vec::new();
    for (index, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '\'' => quoted = !quoted,
            _ if quoted => {}
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text[start..index].trim());
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts
}

/// Reads `'low' = 1` and its like.
fn enumeration(values: &[&str]) -> Option<Vec<(String, i16)>> {
    let value = |value: &&str| {
        let (name, number) = value.rsplit_once(" = ")?;
        let name = name.strip_prefix('\'')?.strip_suffix('\'')?;
        Some((name.replace("\\'", "'").replace("\\\\", "\\"), number.parse().ok()?))
    };
    values.iter().map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ColumnType {
        text.parse().unwrap()
    }

    #[test]
    fn types_are_read_as_clickhouse_spells_them() {
        assert_eq!(parse("UInt64"), ColumnType::Integer { bytes: 8, signed: false });
        assert_eq!(parse("LowCardinality(String)"), ColumnType::String);
        assert_eq!(
            parse("LowCardinality(Nullable(String))"),
            ColumnType::Nullable(Box::new(ColumnType::String))
        );
        assert_eq!(
            parse("Nullable(DateTime64(3, 'UTC'))"),
            ColumnType::Nullable(Box::new(ColumnType::DateTime64 { digits: 3 }))
        );
        assert_eq!(
            parse("Enum8('a, (' = 1, 'it\\'s' = -2)"),
            ColumnType::Enum { bytes: 1, values: vec![("a, (".into(), 1), ("it's".into(), -2)] }
        );
        assert_eq!(
            parse("Array(Tuple(topic LowCardinality(String), `partition` Int32, at DateTime64(3, 'UTC')))"),
            ColumnType::Array(Box::new(ColumnType::Tuple(vec![
                ("topic".into(), ColumnType::String),
                ("partition".into(), ColumnType::Integer { bytes: 4, signed: true }),
                ("at".into(), ColumnType::DateTime64 { digits: 3 }),
            ])))
        );
        assert_eq!(
            parse("Map(LowCardinality(String), Array(Float64))"),
            ColumnType::Map(
                Box::new(ColumnType::String),
                Box::new(ColumnType::Array(Box::new(ColumnType::Float64)))
            )
        );
    }

    #[test]
    fn other_types_are_refused() {
        for text in ["", "Decimal(9, 2)", "DateTime", "Array(JSON)", "Tuple(String, UInt8)", "Array(String"] {
            assert!(text.parse::<ColumnType>().is_err(), "{text}");
        }
    }
}
