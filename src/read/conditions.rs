//! Which rows of a resource are asked for: its filters with their values. The same conditions hold in SQL and in memory.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value as Json;
use uuid::Uuid;

use super::parameters::Parameters;
use super::queries::{Parameter, SqlFilter};
use crate::engine::Millis;
use crate::http::ApiError;
use crate::log::declaration::FilterOperator;
use crate::resource::{Filter, Operand, Resource, Test, ValueType};

/// What a filter is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Value {
    /// A text, or the symbol of an enum.
    Text(String),
    /// An id.
    Uuid(Uuid),
    /// True or false.
    Boolean(bool),
    /// A time.
    Time(Millis),
    /// A number.
    Integer(i64),
}

/// A filter with its value.
#[derive(Debug, Clone, Serialize)]
pub struct Condition {
    #[serde(serialize_with = "name")]
    filter: &'static Filter,
    /// The name of the entry, where the parameter names it.
    entry: String,
    value: Value,
}

fn name<S: serde::Serializer>(filter: &&'static Filter, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(filter.name)
}

/// Conditions that all have to hold.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Conditions(Vec<Condition>);

impl Conditions {
    /// Takes the parameters of a resource's filters, in the order in which they are declared.
    pub fn take(resource: &'static Resource, parameters: &mut Parameters) -> Result<Self, ApiError> {
        let mut conditions = Self::default();
        for filter in &resource.filters {
            if let Operand::NamedEntry(_) = filter.test.operand {
                let entries = parameters.with_prefix(filter.name).into_iter();
                let condition = |(entry, value)| Condition { filter, entry, value: Value::Text(value) };
                conditions.0.extend(entries.map(condition));
            } else if let Some(value) = take(filter, parameters)? {
                conditions.0.push(Condition { filter, entry: String::new(), value });
            }
        }
        Ok(conditions)
    }

    /// And this one.
    pub fn and(mut self, filter: &'static Filter, value: Value) -> Self {
        self.0.push(Condition { filter, entry: String::new(), value });
        self
    }

    /// Whether every row is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same in SQL.
    pub fn sql(&self) -> SqlFilter {
        self.0.iter().fold(SqlFilter::default(), |sql, condition| {
            let Condition { filter, entry, value } = condition;
            let (mut text, mut values) = of_test(&filter.test, entry, value);
            if let Some(or) = &filter.or {
                let (other, others) = of_test(or, entry, value);
                text = format!("({text} OR {other})");
                values.extend(others);
            }
            sql.and(&text, values)
        })
    }

    /// Whether they leave this row.
    pub fn matches(&self, row: &Json) -> bool {
        self.0.iter().all(|Condition { filter, entry, value }| {
            let holds = |test: &Test| test.holds(row, entry, value);
            holds(&filter.test) || filter.or.as_ref().is_some_and(holds)
        })
    }

    /// Whether they may have left an earlier version of this row: what never changes matches.
    pub fn may_have_matched(&self, row: &Json) -> bool {
        self.0.iter().filter(|condition| condition.filter.fixed).all(|Condition { filter, entry, value }| {
            // What it is compared with besides may have changed, where there is anything.
            let may_hold = |or: &Test| or.operand.found(row, entry).is_some_and(|found| !found.is_null());
            filter.test.holds(row, entry, value) || filter.or.as_ref().is_some_and(may_hold)
        })
    }
}

/// Takes the value of a filter.
fn take(filter: &Filter, parameters: &mut Parameters) -> Result<Option<Value>, ApiError> {
    let name = filter.name;
    Ok(match &filter.value {
        ValueType::Text => parameters.text(name).map(Value::Text),
        ValueType::Enum(symbols) => {
            let symbol = |text: &str| symbols.iter().any(|symbol| symbol == text).then(|| text.to_owned());
            parameters.parsed(name, &one_of(symbols), symbol)?.map(Value::Text)
        }
        ValueType::Uuid => {
            parameters.parsed(name, "a UUID", |text| Uuid::parse_str(text).ok())?.map(Value::Uuid)
        }
        ValueType::Boolean => parameters.flag(name)?.map(Value::Boolean),
        ValueType::Time => parameters.time(name)?.map(Value::Time),
        &ValueType::Integer(minimum, maximum) => {
            let expected = match (minimum, maximum) {
                (Some(minimum), Some(maximum)) => format!("{minimum} to {maximum}"),
                (Some(minimum), None) => format!("{minimum} or more"),
                (None, Some(maximum)) => format!("{maximum} or less"),
                (None, None) => "a whole number".to_owned(),
            };
            let within = minimum.unwrap_or(i64::MIN)..=maximum.unwrap_or(i64::MAX);
            let number = |text: &str| text.parse().ok().filter(|number| within.contains(number));
            parameters.parsed(name, &expected, number)?.map(Value::Integer)
        }
    })
}

/// `low, medium, high or critical`.
fn one_of(symbols: &[String]) -> String {
    match symbols {
        [others @ .., last] if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        symbols => symbols.concat(),
    }
}

/// A condition, and the values of the `?` in it.
fn of_test(test: &Test, entry: &str, value: &Value) -> (String, Vec<Parameter>) {
    let mut values = Vec::new();
    let operand = match test.operand {
        Operand::Field(field) => format!("`{field}`"),
        Operand::Entry(field, entry) => format!("`{field}`['{entry}']"),
        Operand::NamedEntry(field) => {
            values.push(Parameter::Text(entry.to_owned()));
            format!("`{field}`[?]")
        }
    };
    let text = match (test.operator, value) {
        (FilterOperator::Equals, Value::Boolean(true)) => return (operand, values),
        (FilterOperator::Equals, Value::Boolean(false)) => return (format!("NOT {operand}"), values),
        (FilterOperator::Null, Value::Boolean(false)) => return (format!("{operand} IS NOT NULL"), values),
        (FilterOperator::Null, _) => return (format!("{operand} IS NULL"), values),
        (FilterOperator::Equals, _) => format!("{operand} = ?"),
        (FilterOperator::AtLeast, _) => format!("{operand} >= ?"),
        (FilterOperator::Before, _) => format!("{operand} < ?"),
        (FilterOperator::Contains, _) => format!("has({operand}, ?)"),
        // Nothing lists an empty text; ClickHouse splits an empty one into one.
        (FilterOperator::Listed, Value::Text(text)) if text.is_empty() => {
            return ("0".to_owned(), Vec::new());
        }
        (FilterOperator::Listed, _) => format!("has(splitByChar(',', {operand}), ?)"),
    };
    values.push(match value {
        Value::Text(text) => Parameter::Text(text.clone()),
        Value::Uuid(id) => Parameter::Id(*id),
        // Handled above.
        Value::Boolean(flag) => Parameter::Number((*flag).into()),
        Value::Time(time) => Parameter::Time(*time),
        Value::Integer(number) => Parameter::Number(*number),
    });
    (text, values)
}

impl Operand {
    /// What a row has there.
    fn found<'a>(&self, row: &'a Json, named: &str) -> Option<&'a Json> {
        match self {
            Self::Field(field) => row.get(field),
            Self::Entry(field, entry) => row.get(field)?.get(entry),
            Self::NamedEntry(field) => row.get(field)?.get(named),
        }
    }
}

impl Test {
    /// Whether it holds for a row, as in SQL: what is null never does, and an entry that is not there is empty.
    fn holds(&self, row: &Json, entry: &str, value: &Value) -> bool {
        let found = match (&self.operand, self.operand.found(row, entry)) {
            (_, Some(found)) => Cow::Borrowed(found),
            (Operand::Field(_), None) => Cow::Owned(Json::Null),
            (Operand::Entry(..) | Operand::NamedEntry(_), None) => Cow::Owned(Json::String(String::new())),
        };
        match (self.operator, value) {
            (FilterOperator::Null, Value::Boolean(is_null)) => found.is_null() == *is_null,
            (FilterOperator::Equals, Value::Text(text)) => found.as_str() == Some(text),
            (FilterOperator::Equals, Value::Uuid(id)) => {
                found.as_str().and_then(|text| Uuid::parse_str(text).ok()) == Some(*id)
            }
            (FilterOperator::Equals, Value::Boolean(flag)) => found.as_bool() == Some(*flag),
            (FilterOperator::Contains, Value::Text(text)) => {
                found.as_array().is_some_and(|items| items.iter().any(|item| item.as_str() == Some(text)))
            }
            (FilterOperator::Listed, Value::Text(text)) => {
                !text.is_empty()
                    && found.as_str().is_some_and(|listed| listed.split(',').any(|item| item == text))
            }
            (operator, Value::Time(value) | Value::Integer(value)) => {
                number(&found).is_some_and(|found| match operator {
                    FilterOperator::AtLeast => found >= *value,
                    FilterOperator::Before => found < *value,
                    _ => found == *value,
                })
            }
            _ => false,
        }
    }
}

/// A number, or a time in milliseconds.
fn number(found: &Json) -> Option<i64> {
    match found.as_str() {
        Some(time) => Some(time.parse::<jiff::Timestamp>().ok()?.as_millisecond()),
        None => found.as_i64(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::resource;

    fn by(parameters: &[(&str, &str)]) -> Conditions {
        let mut taken = Parameters::of(parameters);
        let conditions = Conditions::take(resource::named("incidents").unwrap(), &mut taken).unwrap();
        taken.finish().unwrap();
        conditions
    }

    #[test]
    fn an_incident_has_the_rules_of_its_signals() {
        let found = json!({ "rule": "frustration", "attributes": { "rules": "dead_click,rage_click" } });
        for (rule, is_left) in
            [("frustration", true), ("dead_click", true), ("rage_click", true), ("click", false), ("", false)]
        {
            let by_rule = by(&[("rule", rule)]);
            assert_eq!(by_rule.matches(&found), is_left, "{rule}");
            assert!(by_rule.may_have_matched(&found), "{rule}: an earlier version may have had it");
        }
        let of_one_rule = json!({ "rule": "sla_breach", "attributes": {} });
        assert!(by(&[("rule", "sla_breach")]).matches(&of_one_rule));
        assert!(!by(&[("rule", "")]).matches(&of_one_rule), "it lists no rules");
        assert!(!by(&[("rule", "rage_click")]).may_have_matched(&of_one_rule), "its rule never changes");
    }

    #[test]
    fn conditions_hold_in_memory_as_in_sql() {
        let row = json!({
            "family": "civic", "severity": "high", "subject": "s", "started_at": "1970-01-01T00:00:00.005Z",
            "ended_at": null, "attributes": { "route": "/pay" },
        });
        for (name, value, is_left) in [
            ("severity", "high", true),
            ("severity", "low", false),
            ("route", "/pay", true),
            ("session", "", true),
            ("session", "s", false),
            ("open", "true", true),
            ("open", "false", false),
            ("from", "1970-01-01T00:00:00.005Z", true),
            ("from", "1970-01-01T00:00:00.006Z", false),
            ("to", "1970-01-01T00:00:00.005Z", false),
            ("to", "1970-01-01T00:00:00.006Z", true),
            ("attribute.route", "/pay", true),
            ("attribute.area", "", true),
            // Nothing lists an empty text, not what has no rules either.
            ("rule", "", false),
            ("rule", "rage_click", false),
        ] {
            assert_eq!(by(&[(name, value)]).matches(&row), is_left, "{name}={value}");
        }
        // What is not fixed may have been anything.
        assert!(by(&[("severity", "low"), ("open", "false")]).may_have_matched(&row));
        assert!(!by(&[("subject", "t")]).may_have_matched(&row));
    }

    #[test]
    fn what_is_not_allowed_is_refused_by_what_is() {
        let incidents = resource::named("incidents").unwrap();
        let sessions = resource::named("sessions").unwrap();
        for (resource, name, value, expected) in [
            (incidents, "severity", "High", "low, medium, high or critical"),
            (incidents, "open", "yes", "true or false"),
            (sessions, "min_score", "101", "0 to 100"),
        ] {
            let error = Conditions::take(resource, &mut Parameters::of(&[(name, value)])).unwrap_err();
            let error = serde_json::to_value(&error).unwrap();
            let reason = error["details"]["reason"].as_str().unwrap().to_owned();
            assert_eq!(reason, format!("is {value:?}; expected {expected}"));
        }
    }

    #[test]
    fn conditions_become_sql() {
        let sql = by(&[("rule", "x"), ("open", "false"), ("attribute.a'b", "v"), ("severity", "low")]).sql();
        assert_eq!(
            sql.conditions(),
            " AND (`rule` = {p0:String} OR has(splitByChar(',', `attributes`['rules']), {p1:String})) AND \
             `severity` = {p2:String} AND `ended_at` IS NOT NULL AND `attributes`[{p3:String}] = {p4:String}"
        );
    }
}
