//! The command line: one subcommand a role or tool.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tidewatch::config::Config;
use tidewatch::log::{Log, topic_check, topics};
use tidewatch::role::{self, Role};
use tidewatch::tools::{
    backtest, dead_letters, dry_run, explain, generate, rebuild, recovery, settings, topology,
};
use tidewatch::{families, resource, sink, telemetry};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Rows and state are many small pieces: this allocator halves what they cost.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// An event-sourced stream processor over Kafka: a log that can be replayed, backtested and explained.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// HTTP in: validates events and appends them to the family topics.
    Ingest(Settings),
    /// Folds family topics into derived topics, exactly once.
    Process(WorkerSettings),
    /// Writes derived topics to ClickHouse.
    Sink(Settings),
    /// HTTP out: the read API.
    Serve(Settings),
    /// All roles in one process.
    All(WorkerSettings),
    /// Creates the topics and the tables, or brings them up to date.
    Migrate(Migration),
    /// What is set of a family's operators: get, set, diff.
    Settings(Tool<settings::Options>),
    /// Folds the past under other settings, beside the running system, and prints what they would change.
    Backtest(Tool<backtest::tool::Options>),
    /// Records that could not be folded: lists them, shows one, sends them again.
    DeadLetters(Tool<dead_letters::Options>),
    /// Records that came too late: lists them, shows one, sends them again.
    LateEvents(Tool<dead_letters::Options>),
    /// Says why a row is what it is: its versions, the settings in force, and the records behind it, read from the log.
    Explain(Tool<explain::tool::Options>),
    /// Makes a table anew from the log beside the live one, compares them row by row, and swaps them if asked to.
    Rebuild(Tool<rebuild::tool::Options>),
    /// Passes over records that a job can't have any more, and counts them: the way out where records were deleted before they were
    /// folded, or a topic was made anew.
    Skip(Tool<recovery::SkipOptions>),
    /// Folds the log of a job anew, as after an upgrade: its rows replace the former ones, and those that are not emitted again are
    /// retracted.
    Refold(Tool<recovery::RefoldOptions>),
    /// Runs a family's operators over a file of events, without any server, and prints what they find.
    Try(dry_run::Options),
    /// Prints what the system is made of: roles, families, jobs, topics, tables, routes.
    Topology(topology::Options),
    /// Makes up events of a family to try and measure it with, and says how well they were understood.
    Generate(generate::Options),
    /// Plays events of each family through the whole path, on a stack of its own.
    #[cfg(feature = "local")]
    Demo(tidewatch::demo::Options),
    #[cfg(feature = "local")]
    #[command(flatten)]
    Local(tidewatch_local::Command),
}

/// What a tool takes, beside where the log is.
#[derive(Args)]
struct Tool<Options: Args> {
    #[command(flatten)]
    process: Settings,
    #[command(flatten)]
    options: Options,
}

impl<Options: Args> Tool<Options> {
    fn run<T, E: Into<Failure>>(
        &self,
        tool: impl FnOnce(&Options, &Log) -> Result<T, E>,
    ) -> Result<T, Failure> {
        let config = self.process.load()?;
        tool(&self.options, &Log::new(&config.kafka)).map_err(Into::into)
    }
}

#[derive(Args)]
struct Settings {
    /// A TOML file of settings.
    #[arg(long, global = true, env = tidewatch::config::FILE)]
    config: Option<PathBuf>,
    /// One setting, over file and environment: --set kafka.brokers=localhost:9092
    #[arg(long = "set", global = true, value_name = "NAME=VALUE")]
    assignments: Vec<String>,
}

#[derive(Args)]
struct Migration {
    #[command(flatten)]
    settings: Settings,
    /// Prints what the tables mean instead, as Markdown, from the comments of the database.
    #[arg(long)]
    describe: bool,
    /// Sets what is set otherwise at topics that are there (retention, cleanup policy; the timestamp type where a topic is empty)
    #[arg(long)]
    repair: bool,
}

#[derive(Args)]
struct WorkerSettings {
    #[command(flatten)]
    settings: Settings,
    /// Workers in this process, as process.threads.
    #[arg(long, value_name = "NUMBER")]
    threads: Option<usize>,
}

impl WorkerSettings {
    fn into_settings(mut self) -> Settings {
        let threads = self.threads.map(|threads| format!("process.threads={threads}"));
        self.settings.assignments.extend(threads);
        self.settings
    }
}

impl Settings {
    fn load(&self) -> Result<Config, Failure> {
        Ok(Config::load(self.config.as_deref(), &self.assignments)?)
    }
}

fn main() -> ExitCode {
    // `cargo demo -- --exit` leaves the `--` where the alias ends; it says nothing here.
    let arguments = std::env::args_os().enumerate().filter(|(place, text)| *place != 2 || text != "--");
    let outcome = match Arguments::parse_from(arguments.map(|(_, text)| text)).command {
        // First, and on this thread: the parts of the stack live and die with it.
        #[cfg(feature = "local")]
        Command::Local(command) => tidewatch_local::run(command).map_err(Failure::from),
        #[cfg(feature = "local")]
        Command::Demo(options) => tidewatch::demo::run(options),
        Command::Settings(tool) => tool.run(settings::run).map(|()| ExitCode::SUCCESS),
        Command::Backtest(tool) => tool
            .run(backtest::tool::run)
            .map(|is_the_same| if is_the_same { ExitCode::SUCCESS } else { ExitCode::from(2) }),
        Command::DeadLetters(tool) => dead_letters(&tool, dead_letters::Kind::DeadLetters),
        Command::LateEvents(tool) => dead_letters(&tool, dead_letters::Kind::LateEvents),
        Command::Explain(tool) => tool
            .process
            .load()
            .and_then(|config| in_runtime(async { Ok(explain::tool::run(&tool.options, &config).await?) })),
        Command::Rebuild(tool) => rebuild(&tool),
        Command::Skip(tool) => recover(&tool, recovery::skip),
        Command::Refold(tool) => recover(&tool, recovery::refold),
        Command::Try(options) => Ok(dry_run::run(&options)),
        Command::Topology(options) => {
            topology::run(&options).map(|()| ExitCode::SUCCESS).map_err(Failure::from)
        }
        Command::Generate(options) => generate::run(&options).map(|()| ExitCode::SUCCESS),
        Command::Migrate(migration) => in_runtime(migrate(migration)),
        Command::Ingest(settings) => in_runtime(roles(settings, &[Role::Ingest])),
        Command::Process(settings) => in_runtime(roles(settings.into_settings(), &[Role::Process])),
        Command::Sink(settings) => in_runtime(roles(settings, &[Role::Sink])),
        Command::Serve(settings) => in_runtime(roles(settings, &[Role::Serve])),
        Command::All(settings) => in_runtime(roles(settings.into_settings(), &Role::ALL)),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("tidewatch: {error}");
        ExitCode::FAILURE
    })
}

fn dead_letters(tool: &Tool<dead_letters::Options>, kind: dead_letters::Kind) -> Result<ExitCode, Failure> {
    tool.run(|options, log| dead_letters::run(kind, options, log)).map(|()| ExitCode::SUCCESS)
}

fn recover<Options: Args>(
    tool: &Tool<Options>,
    work: impl FnOnce(&Options, &Config) -> Result<(), recovery::ToolError>,
) -> Result<ExitCode, Failure> {
    let config = tool.process.load()?;
    telemetry::start("warn")?;
    work(&tool.options, &config)?;
    Ok(ExitCode::SUCCESS)
}

fn rebuild(tool: &Tool<rebuild::tool::Options>) -> Result<ExitCode, Failure> {
    let config = tool.process.load()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let is_equal = runtime.block_on(rebuild::tool::run(&tool.options, &config))?;
    Ok(if is_equal { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

fn in_runtime(work: impl Future<Output = Result<(), Failure>>) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(work).map(|()| ExitCode::SUCCESS)
}

async fn roles(settings: Settings, roles: &[Role]) -> Result<(), Failure> {
    let metrics = telemetry::start("info")?;
    let config = settings.load()?;
    let shutdown = CancellationToken::new();
    let running = role::start(&config, roles, metrics, shutdown.clone()).await?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("draining");
        shutdown.cancel();
    });
    Ok(running.wait().await?)
}

async fn migrate(migration: Migration) -> Result<(), Failure> {
    telemetry::start("info")?;
    let config = migration.settings.load()?;
    if migration.describe {
        print!("{}", sink::describe(&config.clickhouse).await?);
        return Ok(());
    }
    // What is declared wrongly is said before anything is made.
    resource::all().map_err(Clone::clone)?;
    let log = Log::new(&config.kafka);
    topics::create(&log).await?;
    if migration.repair {
        for repaired in topic_check::repair(&log).await? {
            tracing::info!("repaired: {repaired}");
        }
    }
    topic_check::check(&log).await?;
    tokio::task::block_in_place(|| tidewatch::settings::create(&log, &families::SETTINGS))?;
    for applied in sink::migrate(&config.clickhouse).await? {
        tracing::info!(?applied, "migrated");
    }
    Ok(())
}
