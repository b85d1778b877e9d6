//! Durations as settings and command lines name them.

use std::time::Duration;

use schemars::{Schema, SchemaGenerator, json_schema};

/// The form of a duration, as JSON schemas have it.
pub const DURATION: &str = "^[0-9]+ ?(ms|s|m|min|h|d)$";

/// The schema of a duration.
pub fn duration_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "pattern": DURATION,
        "examples": ["100ms", "10s", "72h", "30d"],
    })
}

/// Reads a duration like `100ms`, `10s`, `5min`, `72h` or `30d`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let refusal = || format!("{text:?} is no duration; expected a form like 100ms, 10s, 72h or 30d");
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(refusal)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| refusal())?;
    let millis = match unit.trim() {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(refusal()),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(refusal)
}
