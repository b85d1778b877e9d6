//! `tidewatch backtest`: what other settings would have found, on the command line.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;

use super::{BacktestError, Difference, Findings, Group, Progress, Question, Tally, run as backtest};
use crate::codec::json::time;
use crate::engine::Millis;
use crate::families;
use crate::log::Log;
use crate::settings::{Changed, FileError, SettingsKind, document};

/// Differences that are printed.
const SHOWN: usize = 20;
/// Areas that are printed.
const AREAS: usize = 10;

const EXAMPLE: &str = r#"What --settings names is taken as `tidewatch settings set` takes it: the whole of what the tenant (or, without --tenant,
everybody) would have set. Before are the rules in force now, after those of --settings; either side holds from the topic's
first record on, whatever was in force meanwhile. So the tables may say something else than either: they keep what became final
under the rules of its time, and what a live change finds final stays. Nothing is written but the answer.

--from and --to are times at which records were appended, not at which things happened: a month that was loaded in a minute
is a minute of the log. They go with --settings.

Without --settings the log is folded as it was, and every version of every row is compared with what the workers have
emitted: no difference is the proof that the outputs follow from the log.

Exit status: 0, it was run; 1, it could not be; without --settings 2 where something differs, or there was nothing to compare."#;

/// What `tidewatch backtest` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub struct Options {
    /// The family
    #[arg(long, value_parser = families::parse_settings)]
    family: &'static SettingsKind,
    /// The tenant whose settings they would be, and whose rows are compared; without one, everybody
    #[arg(long, value_name = "NAME", value_parser = crate::config::tenant)]
    tenant: Option<String>,
    /// What would be set: JSON, or TOML
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Compares only rows emitted for records appended since (not: that happened since); all before them is folded, too
    #[arg(long, value_name = "TIME", requires = "settings")]
    from: Option<Timestamp>,
    /// Folds only records appended until then, and lets silence pass only up to then
    #[arg(long, value_name = "TIME", requires = "settings")]
    to: Option<Timestamp>,
    /// Writes all differences there, as NDJSON; `-` is standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How many partitions are folded at once [default: as many as there are cores]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
}

/// Why the tool could not do it.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The backtest.
    #[error(transparent)]
    Backtest(#[from] BacktestError),
    /// The file of settings.
    #[error(transparent)]
    File(#[from] FileError),
    /// A time before which nothing can lie.
    #[error("--from {from} is not before --to {to}")]
    Backwards {
        /// Where it was to begin.
        from: Timestamp,
        /// Where it was to end.
        to: Timestamp,
    },
    /// Writing.
    #[error("can't write {file}: {source}")]
    Write {
        /// Where to.
        file: String,
        /// The cause.
        source: io::Error,
    },
    /// Writing.
    #[error("can't write JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Does it; `false`: what was emitted does not follow from the log.
pub fn run(options: &Options, log: &Log) -> Result<bool, ToolError> {
    if let Some((from, to)) = options.from.zip(options.to).filter(|(from, to)| from >= to) {
        return Err(ToolError::Backwards { from, to });
    }
    let threads = options
        .threads
        .map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from);
    let question = Question {
        family: options.family,
        tenant: options.tenant.clone(),
        document: options.settings.as_deref().map(|file| document(file, options.family.name)).transpose()?,
        from: options.from.map(Timestamp::as_millisecond),
        to: options.to.map(Timestamp::as_millisecond),
        threads,
    };
    let began = Instant::now();
    let findings = watched(|progress| backtest(log, &question, progress))?;
    let seconds = began.elapsed().as_secs_f64();
    if let Some(file) = &options.output {
        write_all(file, &findings.differences)?;
    }
    let is_stdout = options.output.as_deref() == Some(Path::new("-"));
    let failed = |source| ToolError::Write { file: "the answer".to_owned(), source };
    let mut out: Box<dyn Write> =
        if is_stdout { Box::new(io::stderr()) } else { Box::new(io::stdout().lock()) };
    match print(&mut out, &question, &findings, seconds, options.output.is_none())? {
        // `| head` has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        printed => printed.map_err(failed)?,
    }
    let is_proven = findings.differences.is_empty() && !findings.summary.rules.is_empty();
    Ok(question.document.is_some() || is_proven)
}

/// Works in another thread, and shows how far it has come.
fn watched<R: Send>(
    work: impl FnOnce(&Progress) -> Result<R, BacktestError> + Send,
) -> Result<R, BacktestError> {
    let progress = Progress::default();
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| work(&progress));
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} records  {per_sec}  {eta} left");
        let bar = ProgressBar::no_length().with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        while !worker.is_finished() {
            let (done, total) = progress.of();
            bar.set_length(total);
            bar.set_position(done);
            std::thread::park_timeout(Duration::from_millis(50));
        }
        bar.finish_and_clear();
        worker.join().unwrap_or(Err(BacktestError::Panicked))
    })
}

fn write_all(file: &Path, differences: &[Difference]) -> Result<(), ToolError> {
    let failed = |source| ToolError::Write { file: file.display().to_string(), source };
    let mut out: Box<dyn Write> = if file == Path::new("-") {
        Box::new(BufWriter::new(io::stdout().lock()))
    } else {
        Box::new(BufWriter::new(File::create(file).map_err(failed)?))
    };
    for difference in differences {
        serde_json::to_writer(&mut out, &difference.describe()?)?;
        out.write_all(b"\n").map_err(failed)?;
    }
    out.flush().map_err(failed)
}

fn print(
    out: &mut dyn Write,
    question: &Question,
    findings: &Findings,
    seconds: f64,
    is_showing: bool,
) -> Result<io::Result<()>, ToolError> {
    let mut lines = vec![opening(question, findings, seconds)];
    if findings.replayed.missing > 0 {
        lines.push(format!(
            "Retention has taken the first {} records of the log: what follows from them is on neither side, or differs.",
            findings.replayed.missing
        ));
    }
    for (name, Changed { from, to }) in &findings.settings {
        lines.push(format!("{name}: {from} -> {to}"));
    }
    lines.push(String::new());
    if question.document.is_none() {
        lines.push(
            "Each version of a row counts. Before: what was emitted; after: what the log gives.".to_owned(),
        );
    }
    lines.extend(table("rule", &findings.summary.rules.iter().collect::<Vec<_>>()));
    let mut areas: Vec<&Group> = findings.summary.areas.iter().filter(|group| group.weight().1 > 0).collect();
    areas.sort_by_key(|group| std::cmp::Reverse(group.weight()));
    if !areas.is_empty() {
        lines.push(String::new());
        lines.extend(table("area", &areas[..areas.len().min(AREAS)]));
        lines.extend((areas.len() > AREAS).then(|| format!("… and {} more", areas.len() - AREAS)));
    }
    lines.push(String::new());
    let count = findings.differences.len();
    let shown = if is_showing { count.min(SHOWN) } else { 0 };
    lines.push(match (count, shown) {
        (0, _) if findings.summary.rules.is_empty() => nothing(question, findings.replayed.records),
        (0, _) => "No difference.".to_owned(),
        (count, 0) => format!("{count} differences."),
        (count, shown) if count == shown => format!("{count} differences:"),
        (count, shown) => format!("{count} differences, the first {shown} (--output FILE for all):"),
    });
    for difference in &findings.differences[..shown] {
        lines.push(difference.describe()?.line());
    }
    Ok(lines.iter().try_for_each(|line| writeln!(out, "{line}")))
}

fn nothing(question: &Question, records: u64) -> String {
    match &question.tenant {
        _ if records == 0 => "Nothing to compare: no record was appended in that time.".to_owned(),
        Some(tenant) => format!("Nothing to compare: no row is of the tenant {tenant}."),
        None => "Nothing to compare: there is no row.".to_owned(),
    }
}

fn opening(question: &Question, findings: &Findings, seconds: f64) -> String {
    let replayed = &findings.replayed;
    let show = |at: Option<Millis>| at.and_then(time).unwrap_or_else(|| "-".to_owned());
    let rate = replayed.records as f64 / seconds;
    format!(
        "{}: {} records from the topic's start, {} to {}, in {seconds:.1} s ({rate:.0} a second on {} threads)",
        question.family.name,
        replayed.records,
        show(replayed.began_at),
        show(replayed.ended_at),
        question.threads,
    )
}

fn table(first: &str, groups: &[&Group]) -> Vec<String> {
    let name = |group: &Group| match &group.area {
        Some(area) => format!("{area}: {}", group.rule),
        None => group
            .severity
            .as_ref()
            .map_or_else(|| group.rule.clone(), |severity| format!("{} ({severity})", group.rule)),
    };
    let width = groups.iter().map(|group| name(group).chars().count()).max().unwrap_or(0).max(first.len());
    let line = |name: &str, before: &str, after: &str, change: &str| {
        format!("{name:<width$}  {before:>26}  {after:>26}  {change}")
    };
    let mut lines = vec![line(first, "before", "after", "added, removed, changed")];
    lines.extend(groups.iter().map(|group| {
        let change = format!("+{} -{} ~{}", group.added, group.removed, group.changed);
        line(&name(group), &tally(group.before), &tally(group.after), &change)
    }));
    lines
}

fn tally(Tally { rows, met }: Tally) -> String {
    match met {
        Some(met) if rows > 0 => format!("{rows}, {met} met ({:.1}%)", 100.0 * met as f64 / rows as f64),
        _ => rows.to_string(),
    }
}
