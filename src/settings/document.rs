//! The settings of a family as a JSON document, which its type describes, checks and reads.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa::ToSchema;

use super::span::Span;
use crate::engine::{Millis, TenantSettings};

/// A JSON object.
pub type Json = serde_json::Map<String, Value>;

/// What is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct Problem {
    /// The path of the field: names with dots between.
    pub path: String,
    /// What is wrong, and what is allowed.
    pub reason: String,
}

/// The settings of a family's operators, as a tenant sets them. Its default is what holds where nothing is set.
pub trait Document: Default + Serialize + DeserializeOwned + JsonSchema {
    /// The family's name.
    const FAMILY: &'static str;
    /// How long event ids are remembered. It can't be set: what has been forgotten does not come back, and when a state
    /// forgets must not depend on when it commits (I2).
    const DUPLICATE_HORIZON: Millis;
    /// The form in which the operators know them.
    type Operator;

    /// Whether the values are possible.
    fn check(&self) -> Result<(), Problem>;

    /// The settings in the form that the engine takes.
    fn settings(&self) -> TenantSettings<Self::Operator>;

    /// Reads documents laid over each other, the last on top.
    fn read(layers: &[&Json]) -> Result<Self, Problem> {
        let document: Self =
            serde_path_to_error::deserialize(Value::Object(merged(layers))).map_err(|error| Problem {
                path: error.path().to_string(),
                reason: error.into_inner().to_string(),
            })?;
        document.check()?;
        Ok(document)
    }
}

/// Documents laid over each other: of each name, the last one's value holds; objects are laid over each other in their turn.
pub fn merged(layers: &[&Json]) -> Json {
    let mut whole = Json::new();
    for layer in layers {
        for (name, value) in *layer {
            match (whole.get_mut(name), value) {
                (Some(Value::Object(below)), Value::Object(above)) => *below = merged(&[below, above]),
                _ => drop(whole.insert(name.clone(), value.clone())),
            }
        }
    }
    whole
}

/// A value that two documents do not share; `null` where one has none.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Changed {
    /// The value in the first document.
    pub from: Value,
    /// The value in the second document.
    pub to: Value,
}

/// In what two documents differ, by name; what lies deeper by its path, as in `rules.rage_click.count.at_least`.
pub fn difference(before: &Json, after: &Json) -> BTreeMap<String, Changed> {
    let mut changed = BTreeMap::new();
    add_difference("", before, after, &mut changed);
    changed
}

fn add_difference(path: &str, before: &Json, after: &Json, changed: &mut BTreeMap<String, Changed>) {
    let of = |json: &Json, name: &str| json.get(name).cloned().unwrap_or_default();
    for name in before.keys().chain(after.keys()) {
        match (of(before, name), of(after, name)) {
            (Value::Object(from), Value::Object(to)) => {
                add_difference(&format!("{path}{name}."), &from, &to, changed);
            }
            (from, to) if from != to => drop(changed.insert(format!("{path}{name}"), Changed { from, to })),
            _ => {}
        }
    }
}

/// Whether a duration is within bounds.
pub fn within(path: &str, span: Span, least: Millis, most: Millis) -> Result<(), Problem> {
    if (least..=most).contains(&span.0) {
        return Ok(());
    }
    let reason = format!("{span} is out of bounds: expected {} to {}", Span(least), Span(most));
    Err(Problem { path: path.to_owned(), reason })
}

/// The settings of a family, whatever their type.
#[derive(Debug)]
pub struct SettingsKind {
    /// The family's name.
    pub name: &'static str,
    /// The defaults.
    pub defaults: fn() -> Json,
    /// Whether documents, laid over each other, can be read.
    pub check: fn(&[&Json]) -> Result<(), Problem>,
    /// The JSON schema of its documents.
    pub schema: fn() -> Value,
}

impl SettingsKind {
    /// The settings that the document type `D` describes.
    pub const fn of<D: Document>() -> Self {
        Self {
            name: D::FAMILY,
            defaults: || match serde_json::to_value(D::default()) {
                Ok(Value::Object(defaults)) => defaults,
                // A struct of plain fields is an object.
                _ => Json::new(),
            },
            check: |layers| D::read(layers).map(drop),
            schema: || schemars::schema_for!(D).to_value(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_difference_names_what_lies_deep_by_its_path() {
        let of = |value| if let Value::Object(json) = value { json } else { panic!("{value}") };
        let before = of(json!({"gap": "30m", "a": {"x": {"n": 3, "of": [1]}, "y": {}}, "b": {"z": 1}}));
        let after = of(json!({"gap": "30m", "a": {"x": {"n": 4, "of": [2]}, "w": {"n": 1}}, "b": null}));
        let found = difference(&before, &after);
        let found: Vec<_> = found.iter().map(|(path, Changed { from, to })| (&**path, from, to)).collect();
        assert_eq!(
            found,
            [
                ("a.w", &json!(null), &json!({"n": 1})),
                ("a.x.n", &json!(3), &json!(4)),
                ("a.x.of", &json!([1]), &json!([2])),
                ("a.y", &json!({}), &json!(null)),
                ("b", &json!({"z": 1}), &json!(null)),
            ]
        );
        assert!(difference(&after, &after).is_empty());
    }
}
