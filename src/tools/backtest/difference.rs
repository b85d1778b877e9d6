//! How a row differs between two folds.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use super::BacktestError;
use super::facets::Facets;
use super::finding::say_the_same;
use crate::codec::{self, CodecError, json};
use crate::engine::Millis;
use crate::engine::rows::OperatorRow;
use crate::runtime::OutputRow;

/// A row on either side.
#[derive(Debug)]
pub struct Difference {
    topic: &'static str,
    kind: Kind,
    order: Order,
    /// As it stands before the change and after it, as Avro, where it does.
    sides: [Option<Vec<u8>>; 2],
}

/// The grave ones first: those between having been met and not, or between being there and not. Then by topic and kind, and
/// in the order of the rows' first arrival, by id and version.
pub(super) type Order = (bool, &'static str, Kind, Millis, u128, i64);

/// What the change does to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It comes to be.
    Added,
    /// It is no more.
    Removed,
    /// It says something else.
    Changed,
}

/// A difference as JSON.
#[derive(Debug, Serialize)]
pub struct Described {
    change: Kind,
    topic: &'static str,
    /// The names of the fields that differ, of a row that has changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<String>,
    before: Option<Value>,
    after: Option<Value>,
}

impl Kind {
    /// What happens to the row; `None`: nothing. Exactly, if all counts; else not how it came about.
    pub(super) fn of<R: OperatorRow>(before: Option<&R>, after: Option<&R>, is_exact: bool) -> Option<Self> {
        match (before, after) {
            (None, None) => None,
            (None, Some(_)) => Some(Self::Added),
            (Some(_), None) => Some(Self::Removed),
            (Some(before), Some(after)) => {
                let is_same = if is_exact { before == after } else { say_the_same(before, after) };
                (!is_same).then_some(Self::Changed)
            }
        }
    }
}

impl Difference {
    /// A row as it is on either side, where it is, and under what it is counted there.
    pub(super) fn new<R: OperatorRow>(
        kind: Kind,
        sides: [Option<R>; 2],
        facets: &[Option<Facets>; 2],
    ) -> Result<Self, CodecError> {
        let row = sides[1].as_ref().or(sides[0].as_ref());
        let (topic, meta) = (row.map_or("", OperatorRow::topic), row.and_then(OperatorRow::meta));
        let [before, after] = facets.each_ref().map(|facets| facets.as_ref().map(|facets| facets.is_met));
        let order = (
            before == after,
            topic,
            kind,
            meta.map_or(0, |meta| meta.first_arrival),
            meta.map_or(0, |meta| meta.id.as_u128()),
            meta.map_or(0, |meta| meta.version),
        );
        let encode = |row: &R| {
            let mut value = Vec::new();
            row.encode(&mut value).map(|()| value)
        };
        let [before, after] = sides.each_ref().map(|row| row.as_ref().map(encode).transpose());
        Ok(Self { topic, kind, order, sides: [before?, after?] })
    }

    /// The row's topic.
    pub fn topic(&self) -> &'static str {
        self.topic
    }

    /// The row as it stands before the change and after it, where it does: its topic's Avro.
    pub fn sides(&self) -> [Option<&[u8]>; 2] {
        self.sides.each_ref().map(Option::as_deref)
    }

    /// Its place among the others.
    pub(super) fn order(&self) -> Order {
        self.order
    }

    /// As JSON, with the names of the fields that differ.
    pub fn describe(&self) -> Result<Described, BacktestError> {
        let as_json = |row: &Option<Vec<u8>>| row.as_deref().map(|row| to_json(self.topic, row)).transpose();
        let [before, after] = &self.sides;
        let (before, after) = (as_json(before)?, as_json(after)?);
        let fields = before.as_ref().zip(after.as_ref()).map(|(before, after)| differing(before, after));
        Ok(Described {
            change: self.kind,
            topic: self.topic,
            fields: fields.unwrap_or_default(),
            before,
            after,
        })
    }
}

fn to_json(topic: &str, avro: &[u8]) -> Result<Value, BacktestError> {
    let (_, value) = codec::decode_generic(Some(avro))?;
    serde_json::to_value(json::Row { topic, value: &value }).map_err(BacktestError::Json)
}

/// Provenance aside.
fn differing(before: &Value, after: &Value) -> Vec<String> {
    let (Value::Object(before), Value::Object(after)) = (before, after) else { return Vec::new() };
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).filter(|name| *name != "meta").collect();
    names.into_iter().filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}

impl Described {
    /// A line for people: what happens to which row.
    pub fn line(&self) -> String {
        let row = self.after.as_ref().or(self.before.as_ref());
        let text = |path: &str| row.and_then(|row| row.pointer(path)).map(plain).unwrap_or_default();
        let sign = match self.change {
            Kind::Added => '+',
            Kind::Removed => '-',
            Kind::Changed => '~',
        };
        let mut line = format!("{sign} {} {} {}", self.topic, text("/meta/id"), text("/meta/key"));
        if self.fields.is_empty() {
            let fields = row.and_then(Value::as_object).into_iter().flatten();
            for (name, value) in fields.filter(|(_, value)| !value.is_object() && !value.is_array()) {
                let value = plain(value);
                if !value.is_empty() {
                    line.push_str(&format!(" {name}={value}"));
                }
            }
        }
        for name in &self.fields {
            let of = |row: &Option<Value>| {
                row.as_ref().and_then(|row| row.get(name)).map(plain).unwrap_or_default()
            };
            line.push_str(&format!(" {name}: {} -> {}", of(&self.before), of(&self.after)));
        }
        line
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
