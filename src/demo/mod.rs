//! `tidewatch demo`: what the families show ([`families::demonstration`]), played through the whole path, on a stack of its own.
//!
//! All roles of all families run, whichever are played.

mod live;
mod options;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::ExitCode;
use std::time::Instant;

use indicatif::ProgressBar;
use metrics_exporter_prometheus::PrometheusHandle;
use tidewatch_local::{Stack, StackOptions};
use tokio_util::sync::CancellationToken;

pub use self::options::Options;
use crate::config::{ApiKeyConfig, Config, Scope, Secret};
use crate::families::demonstration::{Demo, Failure, KEY, TENANT, say};
use crate::families::{self, SETTINGS};
use crate::log::{Log, lag, topics};
use crate::role::{self, Role};
use crate::tools::rebuild;
use crate::{runtime, settings, sink, telemetry};

/// Plays the demo.
pub fn run(options: Options) -> Result<ExitCode, Failure> {
    let metrics = telemetry::start("warn,librdkafka=error")?;
    let began = Instant::now();
    say("Starting Kafka and ClickHouse (the first time they are fetched) …");
    let stack_options = StackOptions { data: options.own.data.clone(), ..StackOptions::default() };
    // On this thread, which lives as long as the process: the stack ends with it.
    let stack = Stack::start(&std::env::current_exe()?, &stack_options)?;
    let mut config = Config::load(None, &[])?;
    config.kafka.brokers = stack.kafka()?.to_owned();
    config.clickhouse.url = stack.clickhouse()?.to_owned();
    config.http.listen = listen(options.own.port)?;
    config.api_keys.push(ApiKeyConfig {
        key: Secret::from(KEY),
        tenant: TENANT.to_owned(),
        scopes: vec![Scope::Ingest, Scope::Read, Scope::Admin],
    });
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(play(options, config, metrics, began))?;
    drop(stack);
    Ok(ExitCode::SUCCESS)
}

/// The port wished for, or a free one.
fn listen(port: u16) -> std::io::Result<SocketAddr> {
    let wished = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    wished.or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?.local_addr()
}

async fn play(
    mut options: Options,
    config: Config,
    metrics: PrometheusHandle,
    began: Instant,
) -> Result<(), Failure> {
    let log = Log::new(&config.kafka);
    topics::create(&log).await?;
    sink::migrate(&config.clickhouse).await?;
    tokio::task::block_in_place(|| declare(&log, &options))?;
    let shutdown = CancellationToken::new();
    let running = role::start(&config, &Role::ALL, metrics, shutdown.clone()).await?;
    let demo = Demo { url: format!("http://{}", running.address()), seed: options.own.seed, config };
    let mut roles = tokio::spawn(running.wait());
    let stays = !options.own.exit;
    let show = async {
        show(&mut options, &demo, &log, began).await?;
        if stays {
            hints(&options, &demo).await?;
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
        _ = tokio::signal::ctrl_c(), if !stays => {
            shutdown.cancel();
            Err("interrupted".into())
        }
    }
}

/// Puts the settings on record.
fn declare(log: &Log, options: &Options) -> Result<(), Failure> {
    settings::create(log, &SETTINGS)?;
    for (name, demonstration) in &options.demonstrations {
        let family = families::settings(name).zip(demonstration.settings());
        family
            .map(|(family, document)| settings::append(log, family, Some(TENANT), None, &document))
            .transpose()?;
    }
    Ok(())
}

/// Sends everything, and prints what comes of it.
async fn show(options: &mut Options, demo: &Demo, log: &Log, began: Instant) -> Result<(), Failure> {
    if options.demonstrations.iter().any(|(_, demonstration)| demonstration.is_slow()) {
        hints(options, demo).await?;
    }
    let told = live::listen(demo).await?;
    // What is shown last is sent first: meanwhile the silence passes that some findings wait for.
    for (_, demonstration) in options.demonstrations.iter_mut().rev() {
        demonstration.send(demo).await?;
    }
    caught_up(log).await?;
    say(&format!("Caught up {:.1} s after the start.\n", began.elapsed().as_secs_f64()));
    for (_, demonstration) in &options.demonstrations {
        demonstration.show(demo).await?;
    }
    caught_up(log).await?;
    live::print(demo, told).await?;
    print_rebuilt(&demo.config).await
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

/// Every table beside a fresh replay of its topic (I1).
async fn print_rebuilt(config: &Config) -> Result<(), Failure> {
    let (mut compared, mut different, mut tables) = (0, 0, 0);
    for (_, table) in rebuild::tables() {
        let report = rebuild::rebuild(config, table, false, &ProgressBar::hidden()).await?;
        tables += 1;
        compared += report.compared;
        different += report.different.total();
    }
    say(&format!(
        "Rebuilt (tidewatch rebuild --all): {compared} rows of {tables} tables compared, {different} different.\n"
    ));
    if different == 0 { Ok(()) } else { Err("the tables do not follow from the log".into()) }
}

/// Prints what to try, the family last shown first, and where everything is.
async fn hints(options: &Options, demo: &Demo) -> Result<(), Failure> {
    for (_, demonstration) in options.demonstrations.iter().rev() {
        let hints = demonstration.hints(demo).await?;
        if !hints.is_empty() {
            say(&hints);
        }
    }
    let (url, clickhouse, brokers) = (&demo.url, &demo.config.clickhouse, &demo.config.kafka.brokers);
    say(&format!(
        "Up until Ctrl-C:
  Page        {url}/#key={KEY}
  API         {url}   (key: {KEY})    health: {url}/readyz    metrics: {url}/metrics
  ClickHouse  {}   database {}
  Kafka       {brokers}",
        clickhouse.url, clickhouse.database,
    ));
    Ok(())
}
