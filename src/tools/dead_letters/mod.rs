//! `tidewatch dead-letters` and `tidewatch late-events`: what was not folded, listed, shown and sent again.
//!
//! Both topics are read from the log; there need be no worker and no ClickHouse. An *unfolded record* is an entry of either, and its
//! *position* is where the record lies that was not folded.
//!
//! # Redriving
//! The record's key and value are appended to its family topic once more, to the partition where its key is folded, with
//! a [header](redriven::FROM) that says where it lay, and one that names the operator that could not fold it: to the others, which
//! have folded it, it is a repeat. It is folded like any other, at the time at which it is appended now (I3), and counted once
//! more (I7). What was refused left no trace among the ids that have been seen, so its event id is free:
//! the first that is folded counts, and whatever of it is redriven after that is a duplicate. (A producer's count is not:
//! its number is seen whatever becomes of the record, and redriven the record is a duplicate.) What still can't be folded
//! is an entry again, at its new position.

mod error;
mod filter;
mod read;
mod redrive;
mod sender;
mod table;
mod unfolded;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use apache_avro::types::Value;
use clap::{Args, Subcommand};

pub use self::error::DeadLettersError;
use self::filter::Filter;
use self::read::Entry;
pub use self::redrive::Obstacle;
use self::redrive::Plan;
use self::sender::Sent;
use self::table::Summary;
pub use self::unfolded::Kind;
use self::unfolded::Position;
use crate::codec;
use crate::codec::json;
use crate::log::Log;
#[cfg(doc)]
use crate::log::redriven;

const EXAMPLE: &str = "\
Examples
  list --tenant boston --since 2024-05-01T00:00:00Z    the newest 20, and how many there are of each reason
  list --json | jq -r .record_key                      all of them, a line of JSON each
  show civic/1/42                                      one, its value decoded
  redrive --reason unknown_id --dry-run                what would be sent again
  redrive civic/1/42                                   one";

const REDRIVE: &str = "\
A record keeps its key and value, so it keeps its event id: once it has been folded, redriving it again makes a duplicate,
which changes nothing. A record without an event id counts as often as it is redriven; redrive it once. What still can't
be folded, or is late still, becomes an entry again. Records of one partition are sent in the order in which they lie there,
and a record that several entries hold is sent once. They are held in memory: of very many, redrive a span at a time.

A record can't be redriven that never had a value (of a timer, a mark), that keeps it in part (1 MiB), or whose value this
program can't read: it would be refused again.

Exit status: 0, all that can be redriven has been; 1, Kafka did not take some (each is named on stderr), the named one can't
be redriven, or nothing could be done.";

/// What `tidewatch dead-letters` and `tidewatch late-events` take.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Prints the newest, and how many there are by reason and tenant
    List {
        #[command(flatten)]
        filter: Filter,
        /// How many are shown, the newest at the bottom
        #[arg(long, value_name = "NUMBER", default_value_t = 20)]
        limit: usize,
        /// Prints all that match instead, a line of JSON each; the counts go to stderr
        #[arg(long, conflicts_with_all = ["limit", "output"])]
        json: bool,
        /// Writes all that match to a file besides, a line of JSON each
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Prints everything about one, as JSON; its value is decoded where that can be done
    Show {
        /// Where the record lies, as `list` prints it
        #[arg(value_name = "TOPIC/PARTITION/OFFSET")]
        position: Position,
    },
    /// Appends records to their family topic again
    #[command(after_help = REDRIVE)]
    Redrive {
        /// Where the record lies, as `list` prints it; without one, all that match
        #[arg(value_name = "TOPIC/PARTITION/OFFSET", conflicts_with_all = ["family", "reason", "tenant", "since", "until"])]
        position: Option<Position>,
        #[command(flatten)]
        filter: Filter,
        /// Says what it would do, and does nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// Does what was asked for.
pub fn run(kind: Kind, options: &Options, log: &Log) -> Result<(), DeadLettersError> {
    let mut out = io::stdout().lock();
    match act(kind, options, log, &mut out) {
        // `| head` has seen enough.
        Err(DeadLettersError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

fn act(kind: Kind, options: &Options, log: &Log, out: &mut impl Write) -> Result<(), DeadLettersError> {
    match &options.action {
        Action::List { filter, limit, json: true, .. } => {
            let mut summary = Summary::new(kind, *limit);
            list(kind, log, filter, &mut summary, Some(out))?;
            eprint!("{}", summary.counts());
        }
        Action::List { filter, limit, output, .. } => {
            let mut summary = Summary::new(kind, *limit);
            let mut file = output.as_deref().map(create).transpose()?;
            list(kind, log, filter, &mut summary, file.as_mut())?;
            write!(out, "{}{}", summary.newest(), summary.counts())?;
        }
        Action::Show { position } => read::at(kind, log, position, |_, entry| {
            let value = opened(entry.value()?);
            let row = json::Row { topic: kind.topic(), value: &value };
            Ok(writeln!(out, "{}", serde_json::to_string_pretty(&row)?)?)
        })?,
        Action::Redrive { position, filter, dry_run } => {
            let mut unfolded = Vec::new();
            let take = |record, _: &Entry<'_>| {
                unfolded.push(record);
                Ok(())
            };
            match position {
                Some(position) => read::at(kind, log, position, take)?,
                None => read::matching(kind, log, filter, take)?,
            }
            let found = kind.count(unfolded.len() as u64);
            let mut plan = Plan::new(unfolded);
            if position.is_some() && plan.records.is_empty() {
                // What was read holds at least one, and what is not sent has an obstacle.
                if let Some((position, obstacle)) = plan.obstacles.pop() {
                    return Err(DeadLettersError::Obstacle { position: position.to_string(), obstacle });
                }
            }
            if *dry_run {
                let summary = plan.summary(plan.records.len(), "would be appended");
                writeln!(out, "{}{found}: {summary}", plan.steps())?;
            } else {
                redrive(log, &plan, &found, out)?;
            }
        }
    }
    Ok(())
}

fn create(path: &Path) -> Result<File, DeadLettersError> {
    File::create(path).map_err(|source| DeadLettersError::File { path: path.display().to_string(), source })
}

/// Counts all that match, and writes them as rows where that is wished.
fn list(
    kind: Kind,
    log: &Log,
    filter: &Filter,
    summary: &mut Summary,
    rows: Option<&mut impl Write>,
) -> Result<(), DeadLettersError> {
    let mut rows = rows.map(BufWriter::new);
    read::matching(kind, log, filter, |unfolded, entry| {
        if let Some(rows) = &mut rows {
            let value = entry.value()?;
            let mut line = serde_json::to_vec(&json::Row { topic: kind.topic(), value: &value })?;
            line.push(b'\n');
            rows.write_all(&line)?;
        }
        summary.add(unfolded);
        Ok(())
    })?;
    if let Some(mut rows) = rows {
        rows.flush()?;
    }
    Ok(())
}

/// An entry with the record's value decoded, where that can be done.
fn opened(mut unfolded: Value) -> Value {
    if let Value::Record(fields) = &mut unfolded
        && let Some((_, Value::Union(_, value))) = fields.iter_mut().find(|(name, _)| name == "record_value")
        && let Value::Bytes(bytes) = &**value
        && let Ok((_, decoded)) = codec::decode_generic(Some(bytes))
    {
        **value = decoded;
    }
    unfolded
}

fn redrive(log: &Log, plan: &Plan, found: &str, out: &mut impl Write) -> Result<(), DeadLettersError> {
    let sent = sender::send(log, &plan.records)
        .map_err(|source| DeadLettersError::Kafka { action: "appending records", source })?;
    let Sent { appended, failed, left } = sent;
    for (position, error) in &failed {
        eprintln!("{position} was not appended: {error}");
    }
    writeln!(out, "{found}: {}", plan.summary(appended, "appended"))?;
    match failed.len() {
        0 => Ok(()),
        failed => Err(DeadLettersError::Undelivered { failed, left, appended }),
    }
}
