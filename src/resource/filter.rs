//! The filters of lists, checked against the fields that they compare.

use std::collections::BTreeSet;

use super::{Field, FieldType, FilterError};
use crate::log::declaration::{FilterDeclaration, FilterOperator, ParentDeclaration};

/// What every list takes besides its filters, or its stream.
const OTHERS: [&str; 5] = ["min_as_of", "cursor", "limit", "begin", "id"];
/// The end of a name that stands for many.
const ANY: &str = ".*";

/// A parameter that leaves some rows.
#[derive(Debug)]
pub struct Filter {
    /// The parameter; of one that names an entry of a map what it begins with.
    pub name: &'static str,
    /// What it means.
    pub doc: &'static str,
    /// Whether what it compares is the same in all versions of a row.
    pub fixed: bool,
    /// What can be asked for.
    pub value: ValueType,
    /// What that is compared with.
    pub test: Test,
    /// What else leaves a row.
    pub or: Option<Test>,
}

/// A comparison with a value.
#[derive(Debug)]
pub struct Test {
    /// What is compared.
    pub operand: Operand,
    /// The operator.
    pub operator: FilterOperator,
}

/// What is compared.
#[derive(Debug, PartialEq, Eq)]
pub enum Operand {
    /// A field.
    Field(&'static str),
    /// The entry of a map of texts: its field and its name. One that is not there is empty.
    Entry(&'static str, &'static str),
    /// That entry of a map of texts which the parameter names.
    NamedEntry(&'static str),
}

/// What a parameter holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueType {
    /// Any text.
    Text,
    /// One of these symbols.
    Enum(Vec<String>),
    /// A UUID.
    Uuid,
    /// `true` or `false`.
    Boolean,
    /// A time in RFC 3339.
    Time,
    /// A whole number within these bounds.
    Integer(Option<i64>, Option<i64>),
}

pub(super) fn compile(
    declared: &'static [FilterDeclaration],
    fields: &[Field],
) -> Result<Vec<Filter>, (String, FilterError)> {
    let mut names = BTreeSet::from(OTHERS);
    let filter = |declared: &'static FilterDeclaration| {
        let filter = match names.insert(&declared.name) {
            true => Filter::new(declared, fields),
            false => Err(FilterError::Name),
        };
        filter.map_err(|error| (declared.name.clone(), error))
    };
    declared.iter().map(filter).collect()
}

impl Filter {
    fn new(declared: &'static FilterDeclaration, fields: &[Field]) -> Result<Self, FilterError> {
        let (test, value) = Test::new(&declared.field, declared.operator, fields)?;
        let or = match &declared.or {
            None => None,
            Some(or) => match Test::new(&or.field, or.operator, fields)? {
                (or, other) if other == value && !matches!(or.operand, Operand::NamedEntry(_)) => Some(or),
                _ => return Err(FilterError::Alternative),
            },
        };
        let name = match (declared.name.strip_suffix(ANY), &test.operand) {
            (Some(_), Operand::NamedEntry(_)) => &declared.name[..declared.name.len() - 1],
            (None, Operand::Field(_) | Operand::Entry(..)) => &declared.name,
            _ => return Err(FilterError::Prefix),
        };
        let value = match (value, declared.minimum, declared.maximum) {
            (ValueType::Integer(..), minimum, maximum) => ValueType::Integer(minimum, maximum),
            (value, None, None) => value,
            _ => return Err(FilterError::Bounds),
        };
        Ok(Self { name, doc: &declared.doc, fixed: declared.fixed, value, test, or })
    }

    /// What leaves the rows of one row of another resource.
    pub(super) fn of_parent(
        declared: &'static ParentDeclaration,
        fields: &[Field],
    ) -> Result<Self, FilterError> {
        match Test::new(&declared.field, FilterOperator::Equals, fields)? {
            (test, value @ ValueType::Uuid) => {
                Ok(Self { name: &declared.field, doc: "", fixed: false, value, test, or: None })
            }
            (_, value) => Err(FilterError::Operator {
                operator: FilterOperator::Equals,
                field: declared.field.clone(),
                fitting: format!("it has to be a uuid, and is {value:?}"),
            }),
        }
    }
}

impl Test {
    fn new(
        path: &'static str,
        operator: FilterOperator,
        fields: &[Field],
    ) -> Result<(Self, ValueType), FilterError> {
        let field = |name: &str| {
            let unknown = || {
                let known: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
                FilterError::Field { field: name.to_owned(), known: known.join(", ") }
            };
            fields.iter().find(|field| field.name == name).ok_or_else(unknown)
        };
        let (operand, found) = match path.split_once('.') {
            None => (Operand::Field(path), &field(path)?.r#type),
            Some((name, entry)) => {
                let FieldType::Map(values) = &field(name)?.r#type else {
                    return Err(FilterError::Entries(name.to_owned()));
                };
                if **values != FieldType::Text {
                    return Err(FilterError::Entries(name.to_owned()));
                }
                let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
                match entry {
                    "*" => (Operand::NamedEntry(name), &FieldType::Text),
                    entry if entry.bytes().all(is_plain) => (Operand::Entry(name, entry), &FieldType::Text),
                    entry => return Err(FilterError::Entry(entry.to_owned())),
                }
            }
        };
        // A version is answered as a text, and would be compared as one.
        let is_version = matches!(operand, Operand::Field(name) if name == "version");
        let value_type = |operator| {
            ValueType::new(operator, found).filter(|_| !is_version || operator == FilterOperator::Null)
        };
        let value = value_type(operator).ok_or_else(|| {
            let fits = |operator: &FilterOperator| value_type(*operator).is_some();
            let fitting: Vec<String> = FilterOperator::ALL
                .iter()
                .filter(|operator| fits(operator))
                .map(ToString::to_string)
                .collect();
            let fitting = match &fitting[..] {
                [] => "none does".to_owned(),
                fitting => format!("{} would", fitting.join(", ")),
            };
            FilterError::Operator { operator, field: path.to_owned(), fitting }
        })?;
        Ok((Self { operand, operator }, value))
    }
}

impl ValueType {
    /// What a field of a type is compared with; `None` where the operator does not fit it.
    fn new(operator: FilterOperator, field: &FieldType) -> Option<Self> {
        use FilterOperator::{AtLeast, Before, Contains, Equals, Listed, Null};
        match (operator, field.not_null()) {
            (Null, _) => matches!(field, FieldType::Nullable(_)).then_some(Self::Boolean),
            (Equals, FieldType::Text) => Some(Self::Text),
            // ClickHouse does not split what may be null.
            (Listed, FieldType::Text) if !matches!(field, FieldType::Nullable(_)) => Some(Self::Text),
            (Equals, FieldType::Enum(symbols)) => Some(Self::Enum(symbols.clone())),
            (Equals, FieldType::Uuid) => Some(Self::Uuid),
            (Equals, FieldType::Boolean) => Some(Self::Boolean),
            (Equals | AtLeast | Before, FieldType::Integer) => Some(Self::Integer(None, None)),
            (AtLeast | Before, FieldType::Time) => Some(Self::Time),
            (Contains, FieldType::Array(items)) if **items == FieldType::Text => Some(Self::Text),
            _ => None,
        }
    }
}
