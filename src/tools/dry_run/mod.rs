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
mod options;
mod output;
mod partitions;
mod run;

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::process::ExitCode;

pub use self::options::Options;
use self::run::Start;
use crate::codec::CodecError;
use crate::families;
use crate::settings::{FileError, Problem};

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

/// What is said beside the rows. Nobody listening to it ends nothing.
fn note(notes: &mut dyn Write, text: fmt::Arguments<'_>) {
    let _ = writeln!(notes, "{text}");
}
