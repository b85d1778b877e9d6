//! The role `serve`: what the tables hold, and what is set, over HTTP.
//!
//! A handler gets its data through [`queries::TenantQueries`], which exists only for the tenant of the request's API
//! key, so no query can forget whose rows it may read.

pub mod answers;
pub mod cursor;
pub mod incident_filter;
pub mod incidents;
pub mod listed;
pub mod lists;
pub mod live;
pub mod page;
pub mod parameters;
pub mod positions;
pub mod queries;
mod references;
pub mod registry;
pub mod rows;
pub mod sessions;
pub mod signals;
pub mod sla;
pub mod stream;
mod tables;
mod tail;
pub mod timeline;

use std::time::Duration;

use axum::extract::FromRef;
use clickhouse::Client;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use incidents::IncidentAnswer;
use listed::ListsOf;
use lists::Lists;
use live::Live;
use sessions::SessionAnswer;
use signals::SignalAnswer;

use crate::codec::json::{rfc3339, rfc3339_or_null};
use crate::config::Config;
use crate::http::{ApiKeys, Readiness};
use crate::log::Log;
use crate::store;

/// How often ClickHouse is asked whether it is there, and how long it may take to say so.
const LOOK: Duration = Duration::from_secs(2);

/// What the routes share.
#[derive(Clone, FromRef)]
pub struct Shared {
    keys: ApiKeys,
    client: Client,
    live: Live,
    incidents: ListsOf<IncidentAnswer>,
    signals: ListsOf<SignalAnswer>,
    sessions: ListsOf<SessionAnswer>,
    sla: Lists<sla::By, sla::Compliance>,
    streams: stream::Streams,
}

/// The role `serve`.
pub struct Serve {
    config: Config,
    log: Log,
    live: Live,
    shutdown: CancellationToken,
}

impl Serve {
    /// The role, until `shutdown`.
    pub fn new(config: &Config, log: &Log, shutdown: CancellationToken) -> Self {
        let live = Live::new(config.serve.cache_bytes);
        Self { config: config.clone(), log: log.clone(), live, shutdown }
    }

    /// Says whether ClickHouse answers, until the shutdown.
    pub fn watch_store(&self, readiness: Readiness) -> impl Future<Output = ()> + use<> {
        let (client, live) = (queries::client(&self.config.clickhouse), self.live.clone());
        let shutdown = self.shutdown.clone();
        async move {
            while !shutdown.is_cancelled() {
                let answer = tokio::time::timeout(LOOK, client.query("SELECT 1").fetch_one::<u8>()).await;
                live.store_answers(matches!(answer, Ok(Ok(_))));
                match answer {
                    Ok(Ok(_)) => readiness.set(true, "ClickHouse answers"),
                    Ok(Err(error)) => {
                        readiness.set(false, format!("ClickHouse: {}", store::describe(&error)));
                    }
                    Err(_) => readiness.set(false, "ClickHouse does not answer"),
                }
                tokio::select! {
                    () = tokio::time::sleep(LOOK) => {}
                    () = shutdown.cancelled() => {}
                }
            }
        }
    }

    /// Follows the derived topics, until the shutdown: blocks its thread.
    pub fn follow(&self, readiness: Readiness) -> impl FnOnce() + use<> {
        let (log, live, shutdown) = (self.log.clone(), self.live.clone(), self.shutdown.clone());
        move || tail::run(&log, &live, &readiness, &shutdown)
    }

    /// Looks how far the tables have come, until the shutdown: blocks its thread.
    pub fn watch_tables(&self, readiness: Readiness) -> impl FnOnce() + use<> {
        let (log, live, shutdown) = (self.log.clone(), self.live.clone(), self.shutdown.clone());
        move || tables::watch(&log, &live, &readiness, &shutdown)
    }

    /// The routes of the read API, of families' further answers, and of the page.
    pub fn router(&self, queries: OpenApiRouter<Shared>) -> OpenApiRouter {
        let Self { config, log, live, shutdown } = self;
        let shared = Shared {
            keys: ApiKeys::new(&config.api_keys),
            client: queries::client(&config.clickhouse),
            live: live.clone(),
            incidents: listed::lists("/v1/incidents"),
            signals: listed::lists("/v1/signals"),
            sessions: listed::lists("/v1/sessions"),
            sla: Lists::new("/v1/sla", |_: &sla::By, compliance: &sla::Compliance| compliance.bytes()),
            streams: stream::Streams::new(log.clone(), shutdown.clone()),
        };
        queries
            .routes(routes!(incidents::list))
            .routes(routes!(incidents::one))
            .routes(routes!(incidents::signals))
            .routes(routes!(stream::incidents))
            .routes(routes!(signals::list))
            .routes(routes!(sessions::list))
            .routes(routes!(sessions::one))
            .merge(registry::router())
            .with_state(shared)
            .merge(page::router().into())
    }
}
