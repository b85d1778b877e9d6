//! How a row differs between two folds.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use super::BacktestError;
use super::finding::Finding;
use crate::codec::{self, json};
use crate::event::Millis;
use crate::worker::OutputRow;

/// A row on either side.
#[derive(Debug)]
pub struct Difference<R> {
    /// As it stands before the change, if it does.
    pub before: Option<R>,
    /// As it stands after it, if it does.
    pub after: Option<R>,
}

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

impl<R: Finding> Difference<R> {
    /// What happens to the row; `None`: nothing. Exactly, if all counts; else not how it came about.
    pub(super) fn kind(&self, is_exact: bool) -> Option<Kind> {
        match (&self.before, &self.after) {
            (None, None) => None,
            (None, Some(_)) => Some(Kind::Added),
            (Some(_), None) => Some(Kind::Removed),
            (Some(before), Some(after)) => {
                let is_same = if is_exact { before == after } else { before.says_the_same(after) };
                (!is_same).then_some(Kind::Changed)
            }
        }
    }

    /// Whether it is one between having been met and not, or between being there and not.
    fn is_grave(&self) -> bool {
        let is_met = |row: &Option<R>| row.as_ref().map(|row| row.facets().is_met);
        is_met(&self.before) != is_met(&self.after)
    }

    /// The grave ones first; then by topic and kind, and in the order of the rows' first arrival.
    pub(super) fn order(&self) -> (bool, &'static str, Option<Kind>, Millis, u128, i64) {
        let row = self.after.as_ref().or(self.before.as_ref());
        let meta = row.and_then(OutputRow::meta);
        (
            !self.is_grave(),
            row.map_or("", OutputRow::topic),
            self.kind(true),
            meta.map_or(0, |meta| meta.first_arrival),
            meta.map_or(0, |meta| meta.id.as_u128()),
            meta.map_or(0, |meta| meta.version),
        )
    }

    /// As JSON, with the names of the fields that differ.
    pub fn describe(&self) -> Result<Described, BacktestError> {
        let as_json = |row: &Option<R>| row.as_ref().map(to_json).transpose();
        let (before, after) = (as_json(&self.before)?, as_json(&self.after)?);
        let topic = self.after.as_ref().or(self.before.as_ref()).map_or("", OutputRow::topic);
        let change = self.kind(true).unwrap_or(Kind::Changed);
        let fields = before.as_ref().zip(after.as_ref()).map(|(before, after)| differing(before, after));
        Ok(Described { change, topic, fields: fields.unwrap_or_default(), before, after })
    }
}

fn to_json<R: OutputRow>(row: &R) -> Result<Value, BacktestError> {
    let mut avro = Vec::new();
    row.encode(&mut avro)?;
    let (_, value) = codec::decode_generic(Some(&avro))?;
    serde_json::to_value(json::Row { topic: row.topic(), value: &value }).map_err(BacktestError::Json)
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
            for name in [
                "rule",
                "severity",
                "title",
                "started_at",
                "due_at",
                "resolved_at",
                "met",
                "reason",
                "message",
            ] {
                let value = text(&format!("/{name}"));
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
