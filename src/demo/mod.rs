//! `tidewatch demo`: a real month of a city's service requests, and generated browser sessions, through the whole path, on a
//! stack of its own.

pub mod boston;
mod findings;
mod frustration;
mod hints;
mod listener;
mod playback;
pub mod sender;
mod visitors;

use std::io::{IsTerminal, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use metrics_exporter_prometheus::PrometheusHandle;
use playback::Speed;
use tidewatch_local::{Stack, StackOptions};
use tokio_util::sync::CancellationToken;

use crate::config::{ApiKeyConfig, Config, Scope, Secret};
use crate::families;
use crate::log::{Log, lag, topics};
use crate::role;
use crate::role::Role;
use crate::settings;
use crate::{runtime, sink, telemetry};

/// The tenant whose month is played, and its key.
pub const TENANT: &str = "boston";
/// The demo's own API key; it is of no use elsewhere.
pub const KEY: &str = "demo-key";

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Options of `tidewatch demo`.
#[derive(Debug, Args)]
pub struct Options {
    /// Leave as soon as the findings are printed.
    #[arg(long)]
    exit: bool,
    /// Play the month slowly, e.g. 1d/s: a day of event time a second.
    #[arg(long, value_name = "SPAN/s")]
    speed: Option<Speed>,
    /// Keep the stack's data in this folder.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where the API listens on 127.0.0.1, if that port is free; else on a free one.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// The folder with the city's files.
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data"))]
    files: PathBuf,
    #[command(flatten)]
    visitors: visitors::Visitors,
}

/// Plays the demo.
pub fn run(options: &Options) -> Result<ExitCode, Failure> {
    let metrics = telemetry::start("warn,librdkafka=error")?;
    let began = Instant::now();
    say("Starting Kafka and ClickHouse (the first time they are fetched) …");
    let stack_options = StackOptions { data: options.data.clone(), ..StackOptions::default() };
    // On this thread, which lives as long as the process: the stack ends with it.
    let stack = Stack::start(&std::env::current_exe()?, &stack_options)?;
    let mut config = Config::load(None, &[])?;
    config.kafka.brokers = stack.kafka()?.to_owned();
    config.clickhouse.url = stack.clickhouse()?.to_owned();
    config.http.listen = listen(options.port)?;
    config.process.state_dir = options.data.as_deref().map(|data| data.join("state"));
    config.api_keys.push(ApiKeyConfig {
        key: Secret::from(KEY),
        tenant: TENANT.to_owned(),
        scopes: vec![Scope::Ingest, Scope::Read, Scope::Admin],
    });
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(play(options, &config, metrics, began))?;
    drop(stack);
    Ok(ExitCode::SUCCESS)
}

/// The port wished for, or a free one.
fn listen(port: u16) -> std::io::Result<SocketAddr> {
    let wished = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    wished.or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?.local_addr()
}

/// Puts the settings on record; the city's requests are sent in order: no allowance for disorder (I3).
fn declare_order(log: &Log) -> Result<(), Failure> {
    let family = families::settings("civic").ok_or("there is no family civic")?;
    let document = serde_json::from_value(serde_json::json!({"allowance": "0s"}))?;
    tokio::task::block_in_place(|| {
        settings::create(log, &families::SETTINGS)?;
        settings::append(log, family, Some(TENANT), None, &document)
    })?;
    Ok(())
}

async fn play(
    options: &Options,
    config: &Config,
    metrics: PrometheusHandle,
    began: Instant,
) -> Result<(), Failure> {
    let log = Log::new(&config.kafka);
    topics::create(&log).await?;
    sink::migrate(&config.clickhouse).await?;
    declare_order(&log)?;
    let shutdown = CancellationToken::new();
    let running = role::start(config, &Role::ALL, metrics, shutdown.clone()).await?;
    let url = format!("http://{}", running.address());
    let mut roles = tokio::spawn(running.wait());
    let show = async {
        if options.speed.is_some() {
            hints::print(config, &url);
        }
        let told = listener::listen(&url).await?;
        // First: while the month is played, the silence passes that dead clicks wait for.
        let sent = visitors::send(options.visitors, &url).await?;
        playback::send(&options.files, options.speed, &url).await?;
        caught_up(&log).await?;
        say(&format!("Caught up {:.1} s after the start.\n", began.elapsed().as_secs_f64()));
        findings::print(config, &url, &options.files).await?;
        frustration::print(config, &url, &sent).await?;
        caught_up(&log).await?;
        findings::print_live(&url, told).await?;
        findings::print_rebuilt(config).await?;
        if !options.exit {
            if let Some(example) = frustration::example(config).await? {
                hints::print_of_sessions(config, &url, &example);
            }
            if options.speed.is_none() {
                hints::print(config, &url);
            }
            tokio::signal::ctrl_c().await?;
        }
        Ok::<(), Failure>(())
    };
    tokio::select! {
        shown = show => {
            shutdown.cancel();
            roles.await??;
            shown
        }
        // A role that ends is a fault: the demo must not stay up over a dead path.
        ended = &mut roles => Ok(ended??),
        _ = tokio::signal::ctrl_c(), if options.exit => {
            shutdown.cancel();
            Err("interrupted".into())
        }
    }
}

/// Waits until the workers have folded all that was sent, and the sink has written all that follows from it.
async fn caught_up(log: &Log) -> Result<(), Failure> {
    let log = log.clone();
    tokio::task::spawn_blocking(move || {
        for job in families::jobs() {
            lag::wait_until_read(&log, &runtime::group(job.name), job.input)?;
        }
        for topic in topics::all().iter().filter(|topic| topic.table.is_some()) {
            lag::wait_until_read(&log, sink::GROUP, &topic.name)?;
        }
        Ok(())
    })
    .await?
}

fn say(line: &str) {
    // Beside the progress bar, findings are the product: they go to standard output.
    let mut out = std::io::stdout();
    let written = writeln!(out, "{line}").and_then(|()| out.flush());
    if let (Err(error), true) = (written, std::io::stderr().is_terminal()) {
        eprintln!("tidewatch: {error}");
    }
}
