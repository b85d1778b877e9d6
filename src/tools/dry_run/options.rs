//! What `tidewatch try` takes.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use crate::config;
use crate::families;

const EXAMPLE: &str = r#"Example: a report that is overdue when the next one of its area arrives, and its closing
  $ cat bench.ndjson
  {"report": {"id": "r-1", "occurred_at": "2024-05-01T08:00:00Z", "area": "Park", "description": "Broken bench", "due_at": "2024-05-01T12:00:00Z"}}
  {"report": {"id": "r-2", "occurred_at": "2024-05-01T14:00:00Z", "area": "Park", "description": "Lamp out"}}
  {"status": {"id": "r-1/closed", "occurred_at": "2024-05-01T15:00:00Z", "issue_id": "dbc88218-35c6-812c-976b-7dc938f0820b", "status": "closed"}}
  $ tidewatch try --family civic bench.ndjson                         every row, as it is emitted
  $ tidewatch try --family civic --idle 30d --current bench.ndjson    what holds 30 days later
  $ tidewatch try --family civic --receipts bench.ndjson              the ids of the issues, on stderr

A line is an item of the family's HTTP routes. civic: {"report": {…}}, {"status": {"issue_id": …, …}}, either without
its wrapper, or {"events": […]} of them. interactions: an event of docs/interactions.md, or a batch of them. An event without an id is named by its line.

A row is printed as {"topic": …, then its fields as schemas/avro names them}: times as RFC 3339, bytes as text or else
as base64. Where a row has itself a field `topic` (dead letters, late events: the family topic), it is `record_topic`.

Exit status: 0, every line was well-formed; 1, some were refused (each is named on stderr); 2, it could not be run."#;

/// What `tidewatch try` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub struct Options {
    /// The family of the events: its checks, partitions and operators
    #[arg(long, value_name = "NAME", value_parser = families::parse)]
    pub(super) family: &'static str,
    /// The events, one JSON object a line; `-` is standard input
    #[arg(value_name = "FILE.ndjson|-")]
    pub(super) file: PathBuf,
    /// A file of the family's settings: JSON as the API takes it (`{"default_due": "24h"}`), or TOML
    #[arg(long, value_name = "FILE")]
    pub(super) settings: Option<PathBuf>,
    /// The disorder allowance, over that of the settings: how long a key waits for what is out of order
    #[arg(long, value_name = "DURATION", value_parser = config::parse_duration)]
    pub(super) allowance: Option<Duration>,
    /// The tenant whose events these are
    #[arg(long, value_name = "NAME", default_value = "try", value_parser = config::tenant)]
    pub(super) tenant: String,
    /// When a record is appended: `event`, at the highest event time so far; `now`, at the clock's; `field:NAME`, at
    /// the time in that field of its line
    #[arg(long, value_name = "event|now|field:NAME", default_value = "event")]
    pub(super) append_time: AppendTime,
    /// Lets so much silence pass at the end, in which timers fire
    #[arg(long, value_name = "DURATION", value_parser = config::parse_duration)]
    pub(super) idle: Option<Duration>,
    /// Prints at the end the last version of each row, without the retracted, in the order of their first
    #[arg(long)]
    pub(super) current: bool,
    /// Says on stderr what the API would have answered: the id of each event, and the issue that it opens
    #[arg(long)]
    pub(super) receipts: bool,
}

/// When a record is appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AppendTime {
    Event,
    Now,
    Field(String),
}

impl FromStr for AppendTime {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match (text, text.strip_prefix("field:")) {
            ("event", _) => Ok(Self::Event),
            ("now", _) => Ok(Self::Now),
            (_, Some(name)) if !name.is_empty() => Ok(Self::Field(name.to_owned())),
            _ => Err("expected event, now, or field: and a name"),
        }
    }
}

impl fmt::Display for AppendTime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event => formatter.write_str("event"),
            Self::Now => formatter.write_str("now"),
            Self::Field(name) => write!(formatter, "field:{name}"),
        }
    }
}
