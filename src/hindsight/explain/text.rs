//! An explanation for people.

use std::fmt::{self, Display, Formatter};

use serde_json::Value;

use super::{Explanation, Found, SettingsUnder, Version};
use crate::codec::json::time;
use crate::event::Millis;

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
        let header = ["version", "lies at", "appended", "says", "settings", "records", "because of"];
        let mut table = vec![header.map(str::to_owned)];
        table.extend(self.versions.iter().map(row_of_table));
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
            let reference = &record.reference;
            let place = format!("{}/{} at {}", reference.topic, reference.partition, reference.offset);
            let event = format!("event {}", reference.event_id);
            match &record.found {
                Found::Read { event_time, append_time, value } => {
                    let (event_time, append_time) = (shown(*event_time), shown(*append_time));
                    writeln!(out, "  {place}, {event}: happened {event_time}, appended {append_time}")?;
                    writeln!(out, "    {}", value.get())?;
                }
                Found::Taken { oldest_offset } => {
                    writeln!(
                        out,
                        "  {place}, {event}: retention has taken it (the oldest left is at {oldest_offset})"
                    )?;
                }
                Found::Missing { end_offset } => {
                    writeln!(
                        out,
                        "  {place}, {event}: no record lies there (the topic ends at {end_offset}): it was made anew"
                    )?;
                }
                Found::AnotherRecord => {
                    writeln!(out, "  {place}, {event}: another record lies there: the topic was made anew")?;
                }
            }
        }
        Ok(())
    }
}

/// How many records a row names before those that it leaves out (I8).
const FIRST: usize = 8;

fn row_of_table(version: &Version) -> [String; 7] {
    let (place, appended) = match &version.log {
        Some(log) => (format!("{} at {}", log.partition, log.offset), shown(log.append_time)),
        None => ("the table".to_owned(), "(retention took it)".to_owned()),
    };
    let says = match (version.retracted, version.is_final) {
        (true, true) => "retracted, final",
        (true, false) => "retracted",
        (false, true) => "final",
        (false, false) => "holds",
    };
    let cause = version.input.as_ref().map_or_else(String::new, |input| {
        let what = if input.is_evidence { "its record" } else { "time, or settings, at" };
        format!("{what} {}/{} at {}", input.topic, input.partition, input.offset)
    });
    [
        version.version.to_string(),
        place,
        appended,
        says.to_owned(),
        version.settings_version.to_string(),
        version.evidence_count.to_string(),
        cause,
    ]
}

fn write_settings(out: &mut Formatter<'_>, under: &SettingsUnder) -> fmt::Result {
    let Some(settings) = &under.settings else {
        return writeln!(out, "  version {}: not in the topic settings, which was made anew", under.version);
    };
    let one = |(name, value): (&String, &Value)| match under.not_default.get(name) {
        Some(changed) => format!("{name} {} (default {})", plain(value), plain(&changed.from)),
        None => format!("{name} {}", plain(value)),
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
