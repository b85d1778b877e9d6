//! `tidewatch settings reference`: every setting there is, as Markdown; `docs/settings.md` is its output.
//!
//! Names, types and meanings are those of the JSON schemas, and defaults what holds where nothing is set. What is allowed is what
//! the check says when it refuses a value, so that the reference can't say anything else than the program does.

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::config::{Config, ConfigError, DURATION};
use crate::families;
use crate::settings::SettingsKind;

const HEAD: &str = "# Settings

`tidewatch settings reference` prints this page.

## Settings of a process

They are read at start: defaults < file < environment < flags. The three forms of one setting, `kafka.brokers`:

| where | how |
| --- | --- |
| file (`--config FILE` or `TIDEWATCH_CONFIG=FILE`), TOML | `kafka.brokers = \"kafka-1:9092,kafka-2:9092\"` |
| environment | `TIDEWATCH_KAFKA__BROKERS=kafka-1:9092,kafka-2:9092` |
| flag | `--set kafka.brokers=kafka-1:9092,kafka-2:9092` |

A duration is a whole number and a unit: `100ms`, `10s`, `5min`, `72h`, `30d`. A setting that is unknown or not allowed ends the
start with its name, its value and what is allowed. Besides, `TIDEWATCH_LOG` filters what is logged to stderr (`info`, `debug`,
`info,tidewatch::ingest=debug`), and `TIDEWATCH_CACHE` is the folder for what the local stack downloads.
";

const FAMILIES: &str = "
## Settings of a family

They are set for a tenant, or for all tenants, while everything runs: [rules](rules.md). A document is JSON; what it does not name
is inherited from what is set for all tenants, and then from the defaults.
";

/// Nothing to refer to.
static NONE: Value = Value::Null;

/// A value that no check lets pass: longer than any duration that is allowed.
const LONG: &str = "100000d";

/// The reference, as Markdown.
///
/// # Errors
/// The defaults of a process can't be read: a fault of the program.
pub fn reference() -> Result<String, ConfigError> {
    let mut text = HEAD.to_owned();
    let schema = schemars::schema_for!(Config).to_value();
    let process = Page { defaults: Config::defaults()?, schema: &schema, refusal: &refusal_of_process };
    for (name, section) in schema["properties"].as_object().into_iter().flatten() {
        text += &format!("\n### `{name}`\n\n{}\n", meaning(section));
        text += &process.tables(process.definition(section).1, vec![format!("/{name}")]);
    }
    text += FAMILIES;
    for kind in &families::SETTINGS {
        let schema = (kind.schema)();
        let defaults = Value::Object((kind.defaults)());
        let refusal = |place: &str, property: &Value| refusal_of_family(kind, place, property);
        let page = Page { schema: &schema, defaults, refusal: &refusal };
        text += &format!("\n### Family `{}`\n\n{}\n", kind.name, meaning(&schema));
        text += &page.tables(&schema, vec![String::new()]);
    }
    Ok(text)
}

/// What is said where a value of a property is refused, by its place (a JSON pointer) and its schema.
type Refusal<'a> = &'a dyn Fn(&str, &Value) -> Option<String>;

/// Settings of one kind.
struct Page<'a> {
    schema: &'a Value,
    defaults: Value,
    refusal: Refusal<'a>,
}

impl Page<'_> {
    /// A table of the properties of `object`, which lies at `places`, and of each object that they hold.
    fn tables(&self, object: &Value, places: Vec<String>) -> String {
        let mut text = String::new();
        let mut waiting = VecDeque::from([(String::new(), object.clone(), places)]);
        let mut known: Vec<String> = Vec::new();
        while let Some((name, object, places)) = waiting.pop_front() {
            if !name.is_empty() {
                text += &format!("\n#### {name}\n\n{}\n", meaning(&object));
            }
            text += "\n| name | type | default | allowed | meaning |\n| --- | --- | --- | --- | --- |\n";
            let mut lists = String::new();
            for (property, schema) in object["properties"].as_object().into_iter().flatten() {
                let places: Vec<String> = places.iter().map(|place| format!("{place}/{property}")).collect();
                let is_set =
                    |place: &&String| self.defaults.pointer(place).is_some_and(|value| !value.is_null());
                let place = places.iter().find(is_set).or(places.first());
                // Where objects of a type lie at many places, what holds at one of them is no default of the type.
                let only = places.first().filter(|_| places.len() == 1);
                let default = schema.get("default").or_else(|| self.defaults.pointer(only?));
                let allowed = place.and_then(|place| (self.refusal)(place, schema)).unwrap_or_default();
                let (shown, list) = shown_default(property, default, &object["required"]);
                lists += &list;
                let cells = [format!("`{property}`"), self.type_of(schema), shown, allowed, meaning(schema)];
                text += &format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "));
                let (inner, definition) = self.definition(schema);
                if definition["properties"].is_object() {
                    let places = places.iter().flat_map(|place| self.inner_places(place, schema));
                    match waiting.iter_mut().find(|(name, ..)| *name == inner) {
                        Some((.., more)) => more.extend(places),
                        None if known.contains(&inner) => {}
                        None => {
                            known.push(inner.clone());
                            waiting.push_back((inner, definition.clone(), places.collect()));
                        }
                    }
                }
            }
            text += &lists;
        }
        text
    }

    /// The name and the schema of what a property refers to, itself or in a list or by name.
    fn definition(&self, schema: &Value) -> (String, &Value) {
        let alternatives = schema["anyOf"].as_array().into_iter().flatten();
        let inner = alternatives.chain([schema, &schema["items"], &schema["additionalProperties"]]);
        let name = inner.filter_map(|inner| inner["$ref"].as_str()?.strip_prefix("#/$defs/")).next();
        name.map_or((String::new(), &NONE), |name| (name.to_owned(), &self.schema["$defs"][name]))
    }

    /// Where, among the defaults, the objects lie that a property holds.
    fn inner_places(&self, place: &str, schema: &Value) -> Vec<String> {
        match self.defaults.pointer(place) {
            Some(Value::Array(items)) => (0..items.len()).map(|index| format!("{place}/{index}")).collect(),
            Some(Value::Object(items)) if schema["additionalProperties"].is_object() => {
                items.keys().map(|name| format!("{place}/{name}")).collect()
            }
            Some(Value::Object(_)) => vec![place.to_owned()],
            _ => Vec::new(),
        }
    }

    fn type_of(&self, schema: &Value) -> String {
        let many = |name: &str| schema[name].as_array().map(|all| all.iter().map(|one| self.type_of(one)));
        let (name, definition) = self.definition(&json!({ "$ref": schema["$ref"] }));
        if definition["properties"].is_object() {
            return format!("[{name}](#{})", name.to_lowercase());
        }
        if definition.is_object() {
            return self.type_of(definition);
        }
        if schema["pattern"] == DURATION {
            return if has_type(schema, "null") { "duration or `null`" } else { "duration" }.to_owned();
        }
        let code = |value: &Value| format!("`{}`", value.as_str().unwrap_or_default());
        if let Some(values) = schema["enum"].as_array() {
            return values.iter().map(code).collect::<Vec<_>>().join(", ");
        }
        match (schema.get("const"), many("oneOf"), many("anyOf")) {
            (Some(value), ..) => return code(value),
            (_, Some(each), _) => return each.collect::<Vec<_>>().join(", "),
            (_, _, Some(each)) => return each.collect::<Vec<_>>().join(" or "),
            _ => {}
        }
        let named = |name: &str| match name {
            "string" if schema["writeOnly"] == true => "secret text".to_owned(),
            "string" => "text".to_owned(),
            "boolean" => "`true` or `false`".to_owned(),
            "array" => format!("list of {}", self.type_of(&schema["items"])),
            "object" => format!("{} by name", self.type_of(&schema["additionalProperties"])),
            "null" => "`null`".to_owned(),
            other => other.to_owned(),
        };
        match &schema["type"] {
            Value::Array(names) => {
                names.iter().filter_map(Value::as_str).map(named).collect::<Vec<_>>().join(" or ")
            }
            name => named(name.as_str().unwrap_or_default()),
        }
    }
}

/// How a default is shown in a table; and, where it is many entries by name, below it.
fn shown_default(property: &str, default: Option<&Value>, required: &Value) -> (String, String) {
    match default {
        Some(Value::Object(entries)) if entries.values().any(Value::is_object) => {
            let line = |(name, value): (&String, &Value)| format!("\"{name}\": {}\n", without_null(value));
            let lines: String = entries.iter().map(line).collect();
            ("below".to_owned(), format!("\nThe default of `{property}`:\n\n```\n{lines}```\n"))
        }
        Some(default) => (format!("`{default}`"), String::new()),
        None if required.as_array().is_some_and(|names| names.contains(&json!(property))) => {
            ("required".to_owned(), String::new())
        }
        None => Default::default(),
    }
}

/// Without what says nothing: fields that are null, and empty lists.
fn without_null(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let says = |value: &Value| !value.is_null() && value.as_array().is_none_or(|all| !all.is_empty());
            fields
                .iter()
                .filter(|(_, value)| says(value))
                .map(|(name, value)| (name.clone(), without_null(value)))
                .collect()
        }
        Value::Array(items) => items.iter().map(without_null).collect(),
        other => other.clone(),
    }
}

fn meaning(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn has_type(schema: &Value, name: &str) -> bool {
    schema["type"] == name || schema["type"].as_array().is_some_and(|names| names.contains(&json!(name)))
}

fn refusal_of_process(place: &str, property: &Value) -> Option<String> {
    let value = match property {
        property if property["pattern"] == DURATION => LONG,
        property if has_type(property, "integer") => "0",
        _ => " ",
    };
    let allowed = Config::allowed(&place.trim_start_matches('/').replace('/', "."), value)?;
    Some(allowed.trim_start_matches("expected ").trim_end_matches(" are allowed").to_owned())
}

fn refusal_of_family(kind: &SettingsKind, place: &str, property: &Value) -> Option<String> {
    let value = match property["format"].as_str() {
        _ if property["pattern"] == DURATION => json!(LONG),
        Some("int16") => json!(i16::MAX),
        Some("int32") => json!(i32::MAX),
        Some("uint32") => json!(u32::MAX),
        _ if has_type(property, "integer") => json!(i64::MAX),
        _ if has_type(property, "number") => json!(1e9),
        _ => return None,
    };
    let (parent, name) = place.rsplit_once('/')?;
    let mut document = Value::Object((kind.defaults)());
    document.pointer_mut(parent)?.as_object_mut()?.insert(name.to_owned(), value);
    let problem = (kind.check)(&[document.as_object()?]).err()?;
    let path = place.split('/').skip(1).fold(String::new(), |path, part| match part.parse::<usize>() {
        Ok(index) => format!("{path}[{index}]"),
        Err(_) if path.is_empty() => part.to_owned(),
        Err(_) => format!("{path}.{part}"),
    });
    let (_, allowed) = problem.reason.split_once("expected ").filter(|_| problem.path == path)?;
    Some(allowed.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `tidewatch settings reference > docs/settings.md` brings it up to date.
    #[test]
    fn the_docs_are_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/settings.md");
        let found = std::fs::read_to_string(path).unwrap_or_default();
        let expected = reference().unwrap();
        assert!(found == expected, "{path} is not what `tidewatch settings reference` prints:\n{expected}");
    }

    #[test]
    fn bounds_are_those_of_the_checks() {
        let text = reference().unwrap();
        for row in [
            "| `brokers` | text | `\"localhost:9092\"` | host:port, several with commas between |",
            "| `commit_interval` | duration | `\"100ms\"` | 1ms to 10s |",
            "| `threads` | integer | `1` | 1 to 64 |",
            "| `allowance` | duration | `\"1h\"` | 0s to 30d |",
            "| `default_due` | duration or `null` | `\"3d\"` | 1s to 3660d |",
            "| `opens_at` | `low`, `medium`, `high`, `critical` | `\"medium\"` |  |",
        ] {
            assert!(text.contains(row), "{row} is missing in:\n{text}");
        }
    }
}
