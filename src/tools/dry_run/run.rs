//! A run: each line of the input through the family's checks, partitions and jobs.

use std::io::{BufRead, Write};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use super::input::{self, Line, Lines};
use super::options::{AppendTime, Options};
use super::output::Printer;
use super::partitions::{Fold, Partitions, Tasks};
use super::{DryRunError, note};
use crate::codec::{self, CodecError, PinnedSchema};
use crate::config::{IngestConfig, Secret};
use crate::engine::rows::OperatorRow;
use crate::engine::{Event, Millis, Operator};
use crate::families::{Family, JobVisitor, Visitor};
use crate::http::ApiError;
use crate::ingest::body::{self, Items, Shared};
use crate::ingest::item::{Arrival, Item, Submission};
use crate::log::topics;
use crate::runtime::Job;
use crate::settings::{self, History, Problem, SettingsKind};

/// Folds the input, once the family's type is known; how many items were refused.
pub(super) struct Start<'a, I, W> {
    pub options: &'a Options,
    pub input: I,
    pub output: W,
    pub notes: &'a mut dyn Write,
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
            Ok(Items::Batch((items, shared))) => {
                items.into_iter().enumerate().try_for_each(|(index, json)| {
                    let id = || format!("line-{number}.{index}");
                    self.item(number, arrival, (&format!("events[{index}]"), shared), json, &id)
                })
            }
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
