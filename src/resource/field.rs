//! The fields of answers, and their types: what follows from Avro for ClickHouse.

use apache_avro::Schema;
use apache_avro::schema::{NamesRef, RecordSchema, UuidSchema};

use super::ResourceError;
use crate::codec::path::{find, referenced};

/// A field of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name, and that of its column.
    pub name: String,
    /// The names of the fields that lead to it.
    pub path: Vec<&'static str>,
    /// Its type.
    pub r#type: FieldType,
    /// What the schema says of it.
    pub doc: Option<&'static str>,
}

/// What a field holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldType {
    /// `boolean`.
    Boolean,
    /// `int` or `long`.
    Integer,
    /// `float`.
    Float,
    /// `double`.
    Double,
    /// `string`.
    Text,
    /// `bytes`: text that can be read, or base64.
    Bytes,
    /// `uuid`.
    Uuid,
    /// `timestamp-millis`, as RFC 3339.
    Time,
    /// `enum`: one of these symbols.
    Enum(Vec<String>),
    /// A union of `null` and a plain type.
    Nullable(Box<FieldType>),
    /// `array`.
    Array(Box<FieldType>),
    /// `map`, its keys in order.
    Map(Box<FieldType>),
    /// `record`.
    Record(&'static str, Vec<RecordField>),
}

/// A field of a record within a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordField {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub r#type: FieldType,
    /// What the schema says of it.
    pub doc: Option<&'static str>,
}

impl Field {
    pub(super) fn new(
        record: &'static RecordSchema,
        name: &str,
        names: &NamesRef<'static>,
        file: &str,
    ) -> Result<Self, ResourceError> {
        let unknown = || ResourceError::Field { file: file.to_owned(), field: name.to_owned() };
        let found = find(record, name, names).ok_or_else(unknown)?;
        let r#type = FieldType::new(found.schema, names).ok_or_else(|| ResourceError::Type {
            file: file.to_owned(),
            field: name.to_owned(),
            avro: serde_json::to_string(found.schema).unwrap_or_default(),
        })?;
        Ok(Self { name: name.to_owned(), path: found.names, r#type, doc: found.doc })
    }

    /// Whether it is the row's version: answered as a text, for many a client's numbers end at 2^53.
    pub fn is_version(&self) -> bool {
        self.path == ["meta", "version"]
    }
}

impl FieldType {
    fn new(schema: &'static Schema, names: &NamesRef<'static>) -> Option<Self> {
        let r#type = match referenced(schema, names)? {
            Schema::Boolean => Self::Boolean,
            Schema::Int | Schema::Long => Self::Integer,
            Schema::Float => Self::Float,
            Schema::Double => Self::Double,
            Schema::String => Self::Text,
            Schema::Bytes => Self::Bytes,
            Schema::Uuid(UuidSchema::String) => Self::Uuid,
            Schema::TimestampMillis => Self::Time,
            Schema::Enum(of) => Self::Enum(of.symbols.clone()),
            Schema::Array(of) => Self::Array(Box::new(Self::new(&of.items, names)?)),
            Schema::Map(of) => Self::Map(Box::new(Self::new(&of.types, names)?)),
            Schema::Union(of) => match of.variants() {
                [Schema::Null, inner] | [inner, Schema::Null] => {
                    // ClickHouse has no null in the place of what is made of others.
                    let inner = Self::new(inner, names)?;
                    inner.is_plain().then(|| Self::Nullable(Box::new(inner)))?
                }
                _ => return None,
            },
            Schema::Record(of) => {
                let field = |field: &'static apache_avro::schema::RecordField| {
                    let r#type = Self::new(&field.schema, names)?;
                    Some(RecordField { name: &field.name, r#type, doc: field.doc.as_deref() })
                };
                Self::Record(of.name.name(), of.fields.iter().map(field).collect::<Option<_>>()?)
            }
            _ => return None,
        };
        Some(r#type)
    }

    fn is_plain(&self) -> bool {
        !matches!(self, Self::Nullable(_) | Self::Array(_) | Self::Map(_) | Self::Record(..))
    }

    /// Without the possibility that it is null.
    pub fn not_null(&self) -> &Self {
        match self {
            Self::Nullable(inner) => inner,
            other => other,
        }
    }

    /// As what it is read from ClickHouse.
    pub fn clickhouse(&self) -> String {
        match self {
            Self::Boolean => "Bool".to_owned(),
            Self::Integer => "Int64".to_owned(),
            Self::Float => "Float32".to_owned(),
            Self::Double => "Float64".to_owned(),
            Self::Text | Self::Bytes | Self::Uuid | Self::Enum(_) => "String".to_owned(),
            Self::Time => "DateTime64(3, 'UTC')".to_owned(),
            Self::Nullable(inner) => format!("Nullable({})", inner.clickhouse()),
            Self::Array(items) => format!("Array({})", items.clickhouse()),
            Self::Map(values) => format!("Map(String, {})", values.clickhouse()),
            Self::Record(_, fields) => {
                let fields =
                    fields.iter().map(|field| format!("`{}` {}", field.name, field.r#type.clickhouse()));
                format!("Tuple({})", fields.collect::<Vec<_>>().join(", "))
            }
        }
    }
}
