//! `tidewatch try`: a family's operators over a file of events, without any server.
//!
//! A line takes the path of an event in memory: the checks of ingest, a partition of the family topic by the same hash,
//! the same task and operator, and what they emit as JSON. No clock and no randomness (unless `--append-time now` asks
//! for the clock): the same file gives the same bytes.
//!
//! # Time
//! Each partition has a task, offsets and a clock of its own, as in the log (I3). Before a record, every timer of any
//! partition that is due by its append time fires, in the order of time, by a mark like those that a worker appends in
//! silence (I4). So the partitions' clocks pass together, rows come out in the order of append time, and marks have
//! offsets as they have in the log. By `--append-time event` one event far ahead takes all that follow with it; by `now`
//! time passes only when a line arrives.

mod input;
mod output;
mod partitions;

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use self::input::{Line, Lines};
use self::output::Printer;
use self::partitions::{Fold, Partitions, Tasks};
use crate::codec::{self, CodecError, PinnedSchema};
use crate::config::{self, IngestConfig, Secret};
use crate::engine::rows::OperatorRow;
use crate::engine::{Event, Millis, Operator};
use crate::families::{self, Family, JobVisitor, Visitor};
use crate::http::ApiError;
use crate::ingest::body::{self, Items, Shared};
use crate::ingest::item::{Arrival, Item, Submission};
use crate::log::topics;
use crate::runtime::Job;
use crate::settings::{self, FileError, History, Problem, SettingsKind};

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
    family: &'static str,
    /// The events, one JSON object a line; `-` is standard input
    #[arg(value_name = "FILE.ndjson|-")]
    file: PathBuf,
    /// A file of the family's settings: JSON as the API takes it (`{"default_due": "24h"}`), or TOML
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// The disorder allowance, over that of the settings: how long a key waits for what is out of order
    #[arg(long, value_name = "DURATION", value_parser = config::parse_duration)]
    allowance: Option<Duration>,
    /// The tenant whose events these are
    #[arg(long, value_name = "NAME", default_value = "try", value_parser = config::tenant)]
    tenant: String,
    /// When a record is appended: `event`, at the highest event time so far; `now`, at the clock's; `field:NAME`, at
    /// the time in that field of its line
    #[arg(long, value_name = "event|now|field:NAME", default_value = "event")]
    append_time: AppendTime,
    /// Lets so much silence pass at the end, in which timers fire
    #[arg(long, value_name = "DURATION", value_parser = config::parse_duration)]
    idle: Option<Duration>,
    /// Prints at the end the last version of each row, without the retracted, in the order of their first
    #[arg(long)]
    current: bool,
    /// Says on stderr what the API would have answered: the id of each event, and the issue that it opens
    #[arg(long)]
    receipts: bool,
}

/// When a record is appended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum AppendTime {
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

/// Why a dry run could not be run to its end. Lines that are refused are none of this.
#[derive(Debug, thiserror::Error)]
enum DryRunError {
    #[error(transparent)]
    Settings(#[from] FileError),
    #[error(transparent)]
    Impossible(#[from] Problem),
    #[error("can't read {file}: {source}")]
    Read { file: String, source: io::Error },
    #[error("can't write: {0}")]
    Write(#[source] io::Error),
    #[error("topics/*.yaml has no topic {0}")]
    NoTopic(&'static str),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("a row can't be printed: {0}")]
    Json(#[from] serde_json::Error),
}

/// Runs it: rows go to stdout, all else to stderr. The exit code is 0 if every line was well-formed, 1 if some were
/// refused, 2 if it could not be run.
pub fn run(options: &Options) -> ExitCode {
    let notes = &mut io::stderr();
    let outcome = open(options).and_then(|input| {
        run_family(options, input, BufWriter::with_capacity(1 << 16, io::stdout().lock()), notes)
    });
    match outcome {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        // `| head` has seen enough.
        Err(DryRunError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            note(notes, format_args!("tidewatch try: {error}"));
            ExitCode::from(2)
        }
    }
}

fn open(options: &Options) -> Result<Box<dyn BufRead>, DryRunError> {
    if options.file.as_os_str() == "-" {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(&options.file).map_err(|source| options.unreadable(source))?;
    Ok(Box::new(BufReader::with_capacity(1 << 16, file)))
}

impl Options {
    fn unreadable(&self, source: io::Error) -> DryRunError {
        DryRunError::Read { file: self.file.display().to_string(), source }
    }
}

/// Folds the input; how many items were refused.
fn run_family(
    options: &Options,
    input: impl BufRead,
    output: impl Write,
    notes: &mut dyn Write,
) -> Result<u64, DryRunError> {
    let start = Start { options, input, output, notes };
    families::with(options.family, start).ok_or(DryRunError::NoTopic(options.family))?
}

struct Start<'a, I, W> {
    options: &'a Options,
    input: I,
    output: W,
    notes: &'a mut dyn Write,
}

impl<I: BufRead, W: Write> Visitor for Start<'_, I, W> {
    type Output = Result<u64, DryRunError>;

    fn family<F: Family>(self) -> Self::Output {
        let Self { options, input, output, notes } = self;
        let document = options.settings.as_deref().map(settings::from_file::<F::Settings>).transpose()?;
        let mut history = History::default();
        if let Some(document) = document {
            history = history.with(&SettingsKind::of::<F::Settings>(), None, &document);
        }
        let schema = codec::newest(F::NAME).ok_or(CodecError::NoSchema { subject: F::NAME })?;
        let topic = topics::named(F::NAME).ok_or(DryRunError::NoTopic(F::NAME))?;
        let mut jobs = Jobs::<F> { options, history, partitions: topic.partitions, jobs: Ok(Vec::new()) };
        F::jobs(&mut jobs);
        let run = DryRun::<F, W> {
            options,
            // The same file gives the same rows everywhere: there are no secrets here.
            rules: F::rules(&IngestConfig::default(), &Secret::from("tidewatch try")),
            schema,
            partitions: Partitions::new(topic.partitions, jobs.jobs?),
            printer: Printer::new(output, options.current),
            notes,
            now: None,
            refused: 0,
        };
        run.run(input)
    }
}

/// The family's jobs, over partitions in memory.
struct Jobs<'a, F: Family> {
    options: &'a Options,
    history: History,
    partitions: i32,
    jobs: Result<Vec<Box<dyn Fold<F::Event>>>, Problem>,
}

impl<F: Family> JobVisitor<F> for Jobs<'_, F> {
    fn job<O>(&mut self, job: Job<O>)
    where
        O: Operator<Event = F::Event, Row: OperatorRow, Settings: Send + Sync> + Send + Sync,
    {
        let read = (job.settings)(&self.history, i64::MAX);
        let Ok(jobs) = &mut self.jobs else { return };
        match read {
            Ok(mut settings) => {
                settings.version = 0;
                if let Some(allowance) = self.options.allowance {
                    settings.defaults.allowance = millis(allowance);
                }
                jobs.push(Box::new(Tasks::new(&job, self.partitions, settings)));
            }
            Err(problem) => self.jobs = Err(problem),
        }
    }
}

/// What is said beside the rows. Nobody listening to it ends nothing.
fn note(notes: &mut dyn Write, text: fmt::Arguments<'_>) {
    let _ = writeln!(notes, "{text}");
}

struct DryRun<'a, F: Family, W: Write> {
    options: &'a Options,
    rules: F::Rules,
    schema: &'static PinnedSchema,
    partitions: Partitions<F::Event>,
    printer: Printer<W>,
    notes: &'a mut dyn Write,
    /// The highest append time so far.
    now: Option<Millis>,
    refused: u64,
}

impl<F: Family, W: Write> DryRun<'_, F, W> {
    fn run(mut self, input: impl BufRead) -> Result<u64, DryRunError> {
        let mut lines = Lines::new(input);
        while let Some((number, line)) = lines.next().map_err(|source| self.options.unreadable(source))? {
            match line {
                Line::Text(text) => self.line(number, text)?,
                Line::TooLong => {
                    let error =
                        ApiError::too_large(format!("a line may have {} bytes", crate::http::body::LIMIT));
                    self.refuse(number, &error);
                }
            }
        }
        if let (Some(now), Some(idle)) = (self.now, self.options.idle) {
            let end = now.saturating_add(millis(idle));
            while self.partitions.step_to(end) {
                self.print()?;
            }
        }
        self.printer.finish()?;
        self.summarise();
        Ok(self.refused)
    }

    /// A line: an item, or a batch of them. What is refused is said and counted, and the rest goes on.
    fn line(&mut self, number: u64, text: &[u8]) -> Result<(), DryRunError> {
        let (arrival, rest) = match self.arrival(text) {
            Ok(arrival) => arrival,
            Err(error) => {
                self.refuse(number, &error);
                return Ok(());
            }
        };
        match body::items(rest.as_deref().unwrap_or(text), F::FORM) {
            Ok(Items::One(json)) => {
                self.item(number, arrival, ("", Shared::default()), json, &|| format!("line-{number}"))
            }
            Ok(Items::Batch(items, shared)) => items.into_iter().enumerate().try_for_each(|(index, json)| {
                let id = || format!("line-{number}.{index}");
                self.item(number, arrival, (&format!("events[{index}]"), shared), json, &id)
            }),
            Err(error) => {
                self.refuse(number, &error);
                Ok(())
            }
        }
    }

    /// When a line arrives, and the line without what says so, if it does.
    fn arrival(&self, text: &[u8]) -> Result<(Arrival, Option<Vec<u8>>), ApiError> {
        match &self.options.append_time {
            AppendTime::Event => Ok((Arrival::AsItHappens, None)),
            AppendTime::Now => {
                // A clock may go back; the log's time does not.
                let now = Timestamp::now().as_millisecond();
                Ok((Arrival::At(self.now.map_or(now, |last| last.max(now))), None))
            }
            AppendTime::Field(name) => {
                let (append_time, rest) = input::take_time(text, name)?;
                Ok((Arrival::At(append_time), Some(rest)))
            }
        }
    }

    fn item(
        &mut self,
        number: u64,
        arrival: Arrival,
        (path, shared): (&str, Shared<'_>),
        json: &RawValue,
        new_id: &dyn Fn() -> String,
    ) -> Result<(), DryRunError> {
        let item = Item { tenant: &self.options.tenant, arrival, new_id, path, json, shared };
        let Submission { event, receipt } = match F::read(&item, &self.rules) {
            Ok(submission) => submission,
            Err(error) => {
                self.refuse(number, &error);
                return Ok(());
            }
        };
        if self.options.receipts {
            let receipt = serde_json::to_string(&Receipt { line: number, receipt })?;
            note(self.notes, format_args!("{receipt}"));
        }
        let append_time = match arrival {
            Arrival::At(append_time) => append_time,
            Arrival::AsItHappens => self.now.map_or(event.event_time(), |now| now.max(event.event_time())),
        };
        self.now = self.now.max(Some(append_time));
        while self.partitions.step_to(append_time) {
            self.print()?;
        }
        let value = self.schema.encode(&event)?;
        self.partitions.append(F::route(&event), append_time, &F::key(&event), &value, &event);
        self.print()
    }

    fn print(&mut self) -> Result<(), DryRunError> {
        self.partitions.give(&mut self.printer)?;
        self.printer.flush()
    }

    fn refuse(&mut self, number: u64, error: &ApiError) {
        self.refused += 1;
        let text = error.to_string();
        // The whole item, and the one line of it, need no name here.
        let text = text.strip_prefix("body: ").unwrap_or(&text).replace(" at line 1 column ", " at column ");
        note(self.notes, format_args!("line {number}: {}: {text}", error.code()));
    }

    fn summarise(&mut self) {
        let jobs: Vec<_> = self.partitions.counts().collect();
        for (job, counts) in &jobs {
            let of = if jobs.len() > 1 { format!(" of {job}") } else { String::new() };
            let read = counts.read + self.refused;
            note(
                self.notes,
                format_args!(
                    "events{of}: {read} read = {} folded + {} duplicate + {} late + {} dead-lettered + {} refused",
                    counts.folded, counts.duplicate, counts.late, counts.dead_lettered, self.refused,
                ),
            );
        }
        note(self.notes, format_args!("rows: {}", self.printer.summary()));
        if let (Some(now), Some(wake)) = (self.now, self.partitions.next_wake()) {
            let show = |at| codec::json::time(at).unwrap_or_else(|| "the end of time".to_owned());
            let now = show(now.saturating_add(self.options.idle.map_or(0, millis)));
            note(
                self.notes,
                format_args!("time ends at {now}; the next timer is due at {} (see --idle)", show(wake)),
            );
        }
    }
}

#[derive(Serialize)]
struct Receipt<R> {
    line: u64,
    #[serde(flatten)]
    receipt: R,
}

fn millis(duration: Duration) -> Millis {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
