//! The roles of a process: `ingest`, `process`, `sink`, `serve`, or all of them in one.
//!
//! Every process has one HTTP listener: health and metrics, and the routes of its roles. When a part ends, by a
//! fault or a panic, the whole process drains and ends with an error: none lives on doing nothing.

use std::net::SocketAddr;

use clap::ValueEnum;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;

use crate::config::Config;
use crate::engine::Operator;
use crate::engine::rows::OperatorRow;
use crate::families::{self, Family, JobVisitor, Visitor};
use crate::http::{Health, Server, ServerError, frame, openapi};
use crate::ingest::{Ingest, IngestError};
use crate::log::Log;
use crate::read::{self, Serve};
use crate::resource::{self, ResourceError};
use crate::runtime::{self, Job};
use crate::sink::{self, SinkError};
use crate::tools;

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// HTTP in: validates, and appends to the family topics.
    Ingest,
    /// Folds family topics into derived topics.
    Process,
    /// Writes derived topics to the stores.
    Sink,
    /// HTTP out: the read API.
    Serve,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Ingest, Self::Process, Self::Sink, Self::Serve];
}

/// Why a process can't start or had to end.
#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    /// The listener.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The way in.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// The way out.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// What is declared of resources.
    #[error(transparent)]
    Resource(#[from] ResourceError),
    /// A part ended that should not.
    #[error("{part} ended unexpectedly: {reason}")]
    Ended {
        /// Which part.
        part: &'static str,
        /// The panic's or error's message.
        reason: String,
    },
}

type Part = BoxFuture<'static, (&'static str, Result<(), RoleError>)>;

/// A process at work.
pub struct Running {
    address: SocketAddr,
    parts: FuturesUnordered<Part>,
    shutdown: CancellationToken,
}

/// Starts the parts of `roles`; cancelling `shutdown` drains them. `metrics` is what `/metrics` shows.
pub async fn start(
    config: &Config,
    roles: &[Role],
    metrics: PrometheusHandle,
    shutdown: CancellationToken,
) -> Result<Running, RoleError> {
    // What is declared wrongly is said by every role, not only by the one that would answer it.
    resource::all().map_err(Clone::clone)?;
    // A process that can't listen must not take partitions.
    let server = Server::bind(config.http.listen).await?;
    let address = server.address();
    let log = Log::new(&config.kafka);
    let health = Health::default();
    let mut router = openapi::router();
    let mut way_in = None;
    let mut parts = FuturesUnordered::new();
    for role in roles {
        match role {
            Role::Ingest => {
                let started = Ingest::start(config, &log, families::NAMES, health.part("ingest"));
                // The parts that run already must end, or the process would not.
                let ingest = started.inspect_err(|_| shutdown.cancel())?;
                let start = || StartIngest {
                    config,
                    log: &log,
                    health: &health,
                    ingest: &ingest,
                    shutdown: &shutdown,
                };
                for started in families::each(start) {
                    let (routes, copying) = started.inspect_err(|_| shutdown.cancel())?;
                    router = router.merge(routes);
                    parts.push(copying);
                }
                way_in = Some(ingest);
            }
            Role::Process => {
                for thread in 0..config.process.threads {
                    let start =
                        || StartJobs { config, log: &log, health: &health, thread, shutdown: &shutdown };
                    parts.extend(families::each(start).into_iter().flatten());
                }
            }
            Role::Sink => {
                let (config, log) = (config.clone(), log.clone());
                let (readiness, shutdown) = (health.part("sink"), shutdown.clone());
                let task =
                    tokio::spawn(async move { Ok(sink::run(&config, &log, readiness, shutdown).await?) });
                parts.push(part("sink", task));
            }
            Role::Serve => {
                let jobs = families::jobs().into_iter().map(|job| read::positions::Job {
                    operator: job.name,
                    input: job.input,
                    outputs: job.outputs,
                });
                let serve = Serve::new(config, &log, jobs.collect(), shutdown.clone());
                let serve = serve.inspect_err(|_| shutdown.cancel()).map_err(Clone::clone)?;
                router = router.merge(serve.router(queries())).merge(tools::routes(config, &log));
                let tail = serve.follow(health.part("tail"));
                let tables = serve.watch_tables(health.part("tables"));
                parts.push(part("tail", tokio::task::spawn_blocking(tail).map(|ended| ended.map(Ok))));
                parts.push(part("tables", tokio::task::spawn_blocking(tables).map(|ended| ended.map(Ok))));
                let watch = serve.watch_store(health.part("serve"));
                parts.push(part("serve", tokio::spawn(watch.map(Ok))));
            }
        }
    }
    let router = frame::wrap(openapi::with_document(router.merge(health.router(metrics))), &config.http);
    let stop = shutdown.clone();
    let task = tokio::spawn(async move {
        server.run(router, stop).await?;
        // Only now has the last request been answered.
        if let Some(ingest) = way_in {
            ingest.stop().await?;
        }
        Ok(())
    });
    parts.push(part("http", task));
    Ok(Running { address, parts, shutdown })
}

/// What takes in the events of a family: its routes, and what copies its intake topic.
struct StartIngest<'a> {
    config: &'a Config,
    log: &'a Log,
    health: &'a Health,
    ingest: &'a Ingest,
    shutdown: &'a CancellationToken,
}

impl Visitor for StartIngest<'_> {
    type Output = Result<(OpenApiRouter, Part), IngestError>;

    fn family<F: Family>(self) -> Self::Output {
        let (handler, intake) = self.ingest.family::<F>(self.log, &self.config.process)?;
        let (readiness, shutdown) = (self.health.part(&format!("intake-{}", F::NAME)), self.shutdown.clone());
        let copying = tokio::task::spawn_blocking(move || {
            intake.run(&readiness, &shutdown);
            Ok(())
        });
        Ok((F::routes().with_state(handler), part("intake", copying)))
    }
}

/// The answers of a family that are more than rows.
struct Queries;

/// What all families answer beyond their rows.
fn queries() -> OpenApiRouter<read::Shared> {
    families::each(|| Queries).into_iter().reduce(OpenApiRouter::merge).unwrap_or_default()
}

impl Visitor for Queries {
    type Output = OpenApiRouter<read::Shared>;

    fn family<F: Family>(self) -> Self::Output {
        F::queries()
    }
}

/// The workers of a family's jobs, each on a thread of its own.
struct StartJobs<'a> {
    config: &'a Config,
    log: &'a Log,
    health: &'a Health,
    thread: usize,
    shutdown: &'a CancellationToken,
}

impl Visitor for StartJobs<'_> {
    type Output = Vec<Part>;

    fn family<F: Family>(self) -> Vec<Part> {
        let mut workers = Workers { start: self, parts: Vec::new() };
        F::jobs(&mut workers);
        workers.parts
    }
}

struct Workers<'a> {
    start: StartJobs<'a>,
    parts: Vec<Part>,
}

impl<F: Family> JobVisitor<F> for Workers<'_> {
    fn job<O>(&mut self, job: Job<O>)
    where
        O: Operator<Event = F::Event, Row: OperatorRow, Settings: Send + Sync> + Send + Sync,
    {
        let StartJobs { config, log, health, thread, shutdown } = &self.start;
        let (process, log, thread, shutdown) =
            (config.process.clone(), (*log).clone(), *thread, (*shutdown).clone());
        let suffix = if thread == 0 { String::new() } else { format!("-{thread}") };
        let readiness = health.part(&format!("process-{}{suffix}", job.name()));
        let worker = tokio::task::spawn_blocking(move || {
            runtime::run(&job, &log, &process, thread, &readiness, &shutdown);
            Ok(())
        });
        self.parts.push(part("process", worker));
    }
}

/// A part whose panic is an error like any other.
fn part(
    name: &'static str,
    task: impl Future<Output = Result<Result<(), RoleError>, JoinError>> + Send + 'static,
) -> Part {
    Box::pin(async move {
        let ended = task
            .await
            .unwrap_or_else(|error| Err(RoleError::Ended { part: name, reason: error.to_string() }));
        (name, ended)
    })
}

impl Running {
    /// Where the process listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until every part has ended. The first that ends makes the others drain; an error is the first one's.
    pub async fn wait(mut self) -> Result<(), RoleError> {
        let mut result = Ok(());
        while let Some((name, ended)) = self.parts.next().await {
            let ended = match ended {
                Ok(()) if !self.shutdown.is_cancelled() => {
                    Err(RoleError::Ended { part: name, reason: "without an error".into() })
                }
                ended => ended,
            };
            self.shutdown.cancel();
            tracing::info!(part = name, "ended");
            result = result.and(ended);
        }
        result
    }
}

#[cfg(test)]
mod tests;
