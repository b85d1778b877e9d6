//! Why declared resources are not sound.

use crate::log::declaration::FilterOperator;
use crate::log::topics::Topic;

/// A resource that can't be answered as its file declares it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResourceError {
    /// Its topic has no table.
    #[error("{file}: a resource needs a table")]
    NoTable {
        /// The file.
        file: String,
    },
    /// Its topic has no schema that is a record.
    #[error("{file}: a resource needs a schema that is a record")]
    NoSchema {
        /// The file.
        file: String,
    },
    /// The schema has no such field.
    #[error("{file}: the resource has a field {field}, which the schema lacks")]
    Field {
        /// The file.
        file: String,
        /// The field.
        field: String,
    },
    /// The field's type can't be answered.
    #[error("{file}: the resource's field {field} is of a type that is not answered: {avro}")]
    Type {
        /// The file.
        file: String,
        /// The field.
        field: String,
        /// Its type.
        avro: String,
    },
    /// A field is named twice.
    #[error("{file}: the resource has the field {field} twice")]
    Repeated {
        /// The file.
        file: String,
        /// The field.
        field: String,
    },
    /// Lists can't be sorted by that.
    #[error("{file}: lists can't be sorted by {field}: it is no time, or may be null")]
    Sort {
        /// The file.
        file: String,
        /// The field.
        field: String,
    },
    /// A filter can't be applied.
    #[error("{file}: filter {filter}: {source}")]
    Filter {
        /// The file.
        file: String,
        /// The parameter.
        filter: String,
        /// The cause.
        source: FilterError,
    },
    /// Its path is no path.
    #[error("{file}: the path {path} is the API's own, or not of lower-case letters and '-'")]
    Path {
        /// The file.
        file: String,
        /// The path.
        path: String,
    },
    /// Two have the same path.
    #[error("{file} and {other}: both have the path {path}")]
    Taken {
        /// The one file.
        file: String,
        /// The other file.
        other: String,
        /// The path.
        path: String,
    },
    /// There is no such resource.
    #[error("{file}: `of` names the resource {parent}, which is none")]
    Parent {
        /// The file.
        file: String,
        /// What it names.
        parent: String,
    },
    /// What an older schema has written can't be answered.
    #[error("{file}: what older schemas of {subject} have written can't be read as the newest has it")]
    Unresolved {
        /// The file.
        file: String,
        /// The subject of its schemas.
        subject: &'static str,
    },
}

/// Why a filter can't be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Answers have no such field.
    #[error("there is no field {field} among those of an answer: {known}")]
    Field {
        /// What is named.
        field: String,
        /// The fields that there are, with commas between.
        known: String,
    },
    /// Only maps of texts have entries that can be compared.
    #[error("{0} is no map of texts, so it has no entries to compare")]
    Entries(String),
    /// The name of an entry would have to be quoted.
    #[error("the name of the entry {0} has other characters than letters, digits, '_', '-' and '.'")]
    Entry(String),
    /// The operator does not fit the field.
    #[error("the operator {operator} does not fit the field {field}: {fitting}")]
    Operator {
        /// The operator.
        operator: FilterOperator,
        /// The field.
        field: String,
        /// Which operators do.
        fitting: String,
    },
    /// Only numbers have bounds.
    #[error("only a number has a minimum and a maximum")]
    Bounds,
    /// The two fields of a filter are of different types.
    #[error("its second field is of another type")]
    Alternative,
    /// A name that ends in `.*` and a field that does belong together.
    #[error("a name that ends in '.*' needs a field that does, and the other way round")]
    Prefix,
    /// The name is taken.
    #[error("the name is another filter's, or the API's own")]
    Name,
}

/// The file of a topic.
pub(super) fn file(topic: &Topic) -> String {
    format!("topics/{}.yaml", topic.name)
}
