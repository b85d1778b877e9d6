//! An explanation for people.

use std::fmt::{self, Display, Formatter};

use serde_json::Value;

use super::{EvidenceRecord, Explanation, Found, SettingsUnder, Version};
use crate::codec::json::time;
use crate::engine::Millis;
use crate::settings::Changed;

impl Display for Explanation {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let Self { topic, id, tenant, key, operator, .. } = self;
        writeln!(out, "{topic} {id} of tenant {tenant}, from operator {operator}, key {key}")?;
        self.write_row(out)?;
        self.write_versions(out)?;
        writeln!(out, "\nSettings in force")?;
        for settings in &self.settings {
            write_settings(out, settings)?;
        }
        self.write_evidence(out)
    }
}

impl Explanation {
    /// What the newest version says, and what it says is not (yet).
    fn write_row(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let Some(newest) = self.versions.last() else { return Ok(()) };
        if newest.retracted {
            match newest.merged_into {
                Some(other) => writeln!(out, "It is retracted: {other} has absorbed it. It was:")?,
                None => writeln!(out, "It is retracted: it no longer holds. It was:")?,
            }
        }
        let as_of = self.as_of.as_ref().map_or_else(String::new, |as_of| {
            let clock = as_of.clock.map_or_else(String::new, |clock| format!(", {}", shown(clock)));
            format!(" as of {}/{} at {}{clock}", as_of.topic, as_of.partition, as_of.offset)
        });
        let fields: Vec<(&str, String)> = newest
            .row
            .0
            .iter()
            .flat_map(|(name, value)| match value {
                Value::Null => vec![(name.as_str(), format!("none{as_of}"))],
                Value::Object(entries) => {
                    entries.iter().map(|(name, value)| (name.as_str(), plain(value))).collect()
                }
                value => vec![(name.as_str(), plain(value))],
            })
            .collect();
        let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        for (name, value) in fields {
            writeln!(out, "  {name:width$}  {value}")?;
        }
        Ok(())
    }

    fn write_versions(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "\nVersions, in {}", self.topic)?;
        if let Some(offset) = self.versions_taken_before {
            writeln!(
                out,
                "  what was there before offset {offset} is gone: retention has taken it; older versions may have been there"
            )?;
        }
        let header = ["version", "lies at", "appended", "settings", "records", "because of", "change"];
        let mut table = vec![header.map(str::to_owned)];
        let before = std::iter::once(None).chain(self.versions.iter().map(Some));
        table.extend(self.versions.iter().zip(before).map(|(version, before)| line_of(version, before)));
        let widths: Vec<usize> = (0..header.len())
            .map(|column| table.iter().map(|row| row[column].len()).max().unwrap_or_default())
            .collect();
        for row in table {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            writeln!(out, "  {}", cells.join("  ").trim_end())?;
        }
        Ok(())
    }

    fn write_evidence(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "\nRecords behind it: {}", self.evidence.count)?;
        for (index, record) in self.evidence.records.iter().enumerate() {
            if index == FIRST && self.evidence.not_named > 0 {
                writeln!(out, "  … {} more, which the row does not name …", self.evidence.not_named)?;
            }
            let EvidenceRecord { topic, partition, offset, found } = record;
            let place = format!("{topic}/{partition} at {offset}");
            match found {
                Found::Read { event_id, event_time, append_time, value } => {
                    let (event_time, append_time) = (shown(*event_time), shown(*append_time));
                    writeln!(
                        out,
                        "  {place}, event {event_id}: happened {event_time}, appended {append_time}"
                    )?;
                    writeln!(out, "    {}", value.get())?;
                }
                Found::Taken { oldest_offset } => {
                    writeln!(
                        out,
                        "  {place}: retention has taken it (the oldest left is at {oldest_offset})"
                    )?;
                }
                Found::Missing { end_offset } => {
                    writeln!(
                        out,
                        "  {place}: no record lies there (the topic ends at {end_offset}): it was made anew"
                    )?;
                }
                Found::AnotherRecord => {
                    writeln!(out, "  {place}: another record lies there: the topic was made anew")?;
                }
            }
        }
        Ok(())
    }
}

/// How many records a row names before those that it leaves out (I8).
const FIRST: usize = 8;

fn line_of(version: &Version, before: Option<&Version>) -> [String; 7] {
    let (place, appended) = match &version.log {
        Some(log) => (format!("{} at {}", log.partition, log.offset), shown(log.append_time)),
        None => ("the table".to_owned(), "gone from the log".to_owned()),
    };
    let other_settings = before.is_some_and(|before| before.settings_version != version.settings_version);
    let cause = version.input.as_ref().map_or_else(String::new, |input| {
        let what = match (input.is_evidence, other_settings) {
            (true, _) => "its record",
            (false, true) => "settings changed or time passed",
            (false, false) => "time passed",
        };
        format!("{what}, {}/{} at {}", input.topic, input.partition, input.offset)
    });
    [
        version.version.to_string(),
        place,
        appended,
        version.settings_version.to_string(),
        version.evidence_count.to_string(),
        cause,
        change(version, before),
    ]
}

/// In what a version differs from the one before it.
fn change(version: &Version, before: Option<&Version>) -> String {
    let Some(before) = before else { return String::new() };
    let pairs = version.row.0.iter().zip(&before.row.0);
    let mut changes: Vec<String> = pairs
        .filter(|(now, then)| now.1 != then.1)
        .map(|((name, value), _)| format!("{name} is {}", plain(value)))
        .collect();
    match (before.retracted, version.retracted) {
        (false, true) => changes.push("it is retracted".to_owned()),
        (true, false) => changes.push("it holds again".to_owned()),
        _ => {}
    }
    if version.is_final && !before.is_final {
        changes.push("it is final".to_owned());
    }
    changes.join(", ")
}

fn write_settings(out: &mut Formatter<'_>, under: &SettingsUnder) -> fmt::Result {
    let Some(settings) = &under.settings else {
        return writeln!(out, "  version {}: not in the topic settings, which was made anew", under.version);
    };
    let changed = |(path, changed): (&String, &Changed)| {
        format!("{path} {} (default {})", plain(&changed.to), plain(&changed.from))
    };
    let one = |(name, value): (&String, &Value)| {
        let below = format!("{name}.");
        let not_default =
            under.not_default.iter().filter(|(path, _)| *path == name || path.starts_with(&below));
        let not_default: Vec<String> = not_default.map(changed).collect();
        match value {
            _ if !not_default.is_empty() => not_default.join(", "),
            // All the rules of a family: too much to be read.
            Value::Object(_) => format!("{name} as by default"),
            _ => format!("{name} {}", plain(value)),
        }
    };
    let all: Vec<String> = settings.iter().map(one).collect();
    writeln!(out, "  version {}: {}", under.version, all.join(", "))
}

/// JSON, without the quotes around a text.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "none".to_owned(),
        other => other.to_string(),
    }
}

fn shown(at: Millis) -> String {
    time(at).unwrap_or_else(|| at.to_string())
}
