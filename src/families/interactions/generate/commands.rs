//! `tidewatch generate`: writes sessions or sends them, and says how well they were understood.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;

use super::evaluate::{self, EvaluateError};
use super::event::Batch;
use super::{Generator, Label, Plan, START};
use crate::families::generator::{GenerateCommand, Typed};

/// The commands that the family brings along.
pub fn commands() -> Vec<Box<dyn GenerateCommand>> {
    let interactions: Typed<Interactions, GenerateError> = Typed {
        name: "interactions",
        about: "Sessions in a shop that does not exist: browser events in the form of POST /v1/interactions",
        run: |options| or_enough(generate(options)),
    };
    let evaluate: Typed<Evaluate, GenerateError> = Typed {
        name: "evaluate",
        about: "Precision and recall of each rule of the family interactions: signals against the truth",
        run: |options| or_enough(compare(options)),
    };
    vec![Box::new(interactions), Box::new(evaluate)]
}

#[derive(Debug, Args)]
struct Interactions {
    /// Chooses everything that is left to chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Events a second, on the average while sessions begin: how many sessions overlap
    #[arg(long, value_name = "EVENTS_PER_S", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// How many sessions
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000)]
    sessions: u64,
    /// Where the events go, in the order in which they arrive, one a line; `-` is standard output
    #[arg(long, value_name = "FILE|-", default_value = "-")]
    out: PathBuf,
    /// Where it is told what has been planted, one sign a line
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// When the first session may begin; 2026-01-05T09:00:00Z without it, or now where events are sent
    #[arg(long, value_name = "RFC3339")]
    start: Option<Timestamp>,
    /// The share of batches that come 20 s to 50 min late, beyond what rules wait for
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    late: f64,
    /// Leaves out `arrived_at`, which is for `tidewatch try --append-time field:arrived_at`
    #[arg(long)]
    bare: bool,
    /// Sends the events to the API there instead: as they happen, with the clocks of their devices; or, with --start, as
    /// fast as it takes them, with the true times
    #[cfg(feature = "local")]
    #[arg(long, requires = "key", conflicts_with_all = ["out", "bare"])]
    url: Option<String>,
    /// The API key
    #[cfg(feature = "local")]
    #[arg(long, requires = "url")]
    key: Option<String>,
}

#[derive(Debug, Args)]
struct Evaluate {
    /// What has been planted
    #[arg(long, value_name = "FILE")]
    truth: PathBuf,
    /// What was found: rows as `tidewatch try` prints them; `-` is standard input
    #[arg(long, value_name = "FILE|-")]
    signals: PathBuf,
}

fn share(text: &str) -> Result<f64, &'static str> {
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or("expected a number from 0 to 1")
}

/// Why nothing more could be generated or evaluated.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// A file can't be opened.
    #[error("can't open {file}: {source}")]
    Open {
        /// The file.
        file: String,
        /// The cause.
        source: io::Error,
    },
    /// Something can't be written.
    #[error("can't write: {0}")]
    Write(#[from] io::Error),
    /// An event can't be written.
    #[error("an event can't be written: {0}")]
    Json(#[from] serde_json::Error),
    /// Rows or truth are not what they should be.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// The API did not take it.
    #[cfg(feature = "local")]
    #[error(transparent)]
    Send(#[from] crate::families::client::SendError),
}

/// `| head` has seen enough.
fn or_enough(outcome: Result<(), GenerateError>) -> Result<(), GenerateError> {
    match outcome {
        Err(GenerateError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}

fn generate(options: &Interactions) -> Result<(), GenerateError> {
    let truth = options.truth.as_deref().map(create).transpose()?;
    let plan = Plan {
        seed: options.seed,
        rate: options.rate,
        sessions: options.sessions,
        start: options.start.map_or(START, Timestamp::as_millisecond),
        late: options.late,
    };
    #[cfg(feature = "local")]
    if let (Some(url), Some(key)) = (&options.url, &options.key) {
        let sender = super::send::Sender::new(url, key);
        let runtime = tokio::runtime::Runtime::new()?;
        if options.start.is_some() {
            let mut recorded = Recorded::new(plan, truth);
            runtime.block_on(sender.as_history(&mut recorded))?;
            return recorded.finish();
        }
        let start = Timestamp::now().as_millisecond();
        let mut recorded = Recorded::new(Plan { start, ..plan }, truth);
        runtime.block_on(sender.as_it_happens(&mut recorded))?;
        return recorded.finish();
    }
    let mut output: Box<dyn Write> = match options.out.as_os_str() {
        name if name == "-" => Box::new(io::stdout().lock()),
        _ => Box::new(create(&options.out)?),
    };
    let (mut recorded, mut lines) = (Recorded::new(plan, truth), Vec::with_capacity(1 << 16));
    for batch in &mut recorded {
        batch.write(&mut lines, options.bare, b'\n')?;
        if lines.len() > 1 << 15 {
            output.write_all(&lines)?;
            lines.clear();
        }
    }
    output.write_all(&lines)?;
    output.flush()?;
    recorded.finish()
}

fn compare(options: &Evaluate) -> Result<(), GenerateError> {
    let truth = evaluate::read_truth(open(&options.truth)?)?;
    let signals = if options.signals.as_os_str() == "-" {
        evaluate::read_signals(io::stdin().lock())?
    } else {
        evaluate::read_signals(open(&options.signals)?)?
    };
    write!(io::stdout().lock(), "{}", evaluate::evaluate(&truth, &signals))?;
    Ok(())
}

fn create(path: &Path) -> Result<BufWriter<File>, GenerateError> {
    File::create(path).map(BufWriter::new).map_err(|source| unopened(path, source))
}

fn open(path: &Path) -> Result<BufReader<File>, GenerateError> {
    File::open(path).map(BufReader::new).map_err(|source| unopened(path, source))
}

fn unopened(path: &Path, source: io::Error) -> GenerateError {
    GenerateError::Open { file: path.display().to_string(), source }
}

/// Batches, whose truth is written on the way. It ends where that fails.
struct Recorded {
    generator: Generator,
    truth: Option<BufWriter<File>>,
    failure: Option<io::Error>,
    events: usize,
    planted: usize,
    near_misses: usize,
}

impl Recorded {
    fn new(plan: Plan, truth: Option<BufWriter<File>>) -> Self {
        let generator = Generator::new(plan);
        Self { generator, truth, failure: None, events: 0, planted: 0, near_misses: 0 }
    }

    fn record(&mut self) -> io::Result<()> {
        for sign in self.generator.take_signs() {
            match sign.planted {
                Label::Planted => self.planted += 1,
                Label::NearMiss => self.near_misses += 1,
            }
            if let Some(truth) = &mut self.truth {
                serde_json::to_writer(&mut *truth, &sign)?;
                truth.write_all(b"\n")?;
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), GenerateError> {
        if let Some(error) = self.failure {
            return Err(error.into());
        }
        if let Some(truth) = &mut self.truth {
            truth.flush()?;
        }
        let Self { events, planted, near_misses, .. } = self;
        eprintln!("generated: {events} events, {planted} signs of frustration, {near_misses} near-misses");
        Ok(())
    }
}

impl Iterator for Recorded {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let batch = self.generator.next();
        if let Err(error) = self.record() {
            self.failure = Some(error);
            return None;
        }
        self.events += batch.as_ref().map_or(0, |batch| batch.events.len());
        batch
    }
}
