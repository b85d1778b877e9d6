//! What the file of a topic declares beside the topic itself: under what its rows are counted, and how the API answers them.

use std::fmt;

use serde::Deserialize;

/// Under what backtests count the rows of a topic. A path is the name of a field, or names with dots between.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FacetDeclaration {
    /// A text, with the paths of fields in braces: what rows are counted together.
    pub rule: String,
    /// The path of what says how grave a row is.
    pub severity: Option<String>,
    /// The paths of what says where; the first that a row has counts.
    #[serde(default)]
    pub area: Vec<String>,
    /// The path of what says whether a row has met what was promised.
    pub met: Option<String>,
}

/// How the rows of a topic are answered: by `GET /v1/{path}`, `GET /v1/{path}/{id}` and what follows from them.
///
/// A field is named as its column is: `area`, `evidence_count` ([`crate::codec::path`]).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourceDeclaration {
    /// The path of its list behind `/v1/`; with `_` for `-`, the name of the rows in it.
    pub path: String,
    /// What one row is called, in texts and as the event of a stream.
    pub noun: String,
    /// The fields of an answer, in its order. By default: `id`, `version`, `operator`, `operator_version`,
    /// `settings_version`, the row's own in the order of its schema, `first_arrival`, `final`, and the evidence.
    pub fields: Option<Vec<String>>,
    /// The timestamp that lists are sorted by, the newest first; it must never change for an id.
    #[serde(default = "first_arrival")]
    pub sort: String,
    /// Whether rows are told as they come: `GET /v1/{path}/stream`. By default they are not.
    #[serde(default)]
    pub stream: bool,
    /// What lists can be asked for, in the order in which parameters are checked.
    #[serde(default)]
    pub filters: Vec<FilterDeclaration>,
    /// The resources whose rows have lists of this one: `GET /v1/{resource}/{id}/{path}`.
    #[serde(default)]
    pub of: Vec<ParentDeclaration>,
}

fn first_arrival() -> String {
    "first_arrival".to_owned()
}

/// A parameter that leaves some rows of a list.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilterDeclaration {
    /// The parameter. One that ends in `.*` stands for all that begin so: the rest names an entry of a map.
    pub name: String,
    /// The field, or an entry of one that is a map: `attributes.route`; `attributes.*` where the parameter names it.
    pub field: String,
    /// How the two are compared.
    #[serde(default)]
    pub operator: FilterOperator,
    /// What the parameter means.
    pub doc: String,
    /// Whether the field is the same in all versions of a row. Of a row that is retracted only such fields say whether who
    /// listens to a stream may have been told of it. By default it is not.
    #[serde(default)]
    pub fixed: bool,
    /// The lowest number that may be asked for.
    pub minimum: Option<i64>,
    /// The highest number that may be asked for.
    pub maximum: Option<i64>,
    /// What leaves a row, too.
    pub or: Option<AlternativeDeclaration>,
}

/// A second field that a filter is compared with.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlternativeDeclaration {
    /// As in [`FilterDeclaration`].
    pub field: String,
    /// As in [`FilterDeclaration`].
    #[serde(default)]
    pub operator: FilterOperator,
}

/// How a filter compares the value that is asked for with a field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FilterOperator {
    /// The field is that text, symbol, id, number or truth value.
    #[default]
    Equals,
    /// The field, a time or a number, is that or more.
    AtLeast,
    /// The field, a time or a number, is less.
    Before,
    /// `true`: the field is null; `false`: it is not.
    Null,
    /// The field, an array of texts, has that text.
    Contains,
    /// The field, texts with commas between, has that text.
    Listed,
}

impl FilterOperator {
    /// Every operator.
    pub const ALL: [Self; 6] =
        [Self::Equals, Self::AtLeast, Self::Before, Self::Null, Self::Contains, Self::Listed];
}

impl fmt::Display for FilterOperator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Equals => "equals",
            Self::AtLeast => "at_least",
            Self::Before => "before",
            Self::Null => "null",
            Self::Contains => "contains",
            Self::Listed => "listed",
        })
    }
}

/// A resource whose rows have lists of this one.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParentDeclaration {
    /// The path of the other resource.
    pub resource: String,
    /// The path of the list behind the other's id.
    pub path: String,
    /// The field of this one's rows that holds the other's id.
    pub field: String,
}
