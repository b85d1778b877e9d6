//! The role `serve`: what the tables hold, and what is set, over HTTP.
//!
//! A handler gets its data through [`queries::TenantQueries`], which exists only for the tenant of the request's API
//! key, so no query can forget whose rows it may read.

pub mod backtests;
pub mod evidence;
pub mod incidents;
pub mod parameters;
pub mod queries;
pub mod registry;
pub mod settings;
pub mod sla;

use std::time::Duration;

use axum::extract::FromRef;
use clickhouse::Client;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::codec::json::{rfc3339, rfc3339_or_null};
use crate::config::Config;
use crate::http::{ApiKeys, Readiness};
use crate::log::Log;
use crate::store;

/// How often ClickHouse is asked whether it is there, and how long it may take to say so.
const LOOK: Duration = Duration::from_secs(2);

/// What the routes share.
#[derive(Clone)]
pub struct Shared {
    keys: ApiKeys,
    client: Client,
    settings: settings::Settings,
    backtests: backtests::Backtests,
    evidence: evidence::Evidence,
}

impl FromRef<Shared> for ApiKeys {
    fn from_ref(shared: &Shared) -> Self {
        shared.keys.clone()
    }
}

/// Says whether ClickHouse answers, until `shutdown`.
pub async fn watch(config: Config, readiness: Readiness, shutdown: CancellationToken) {
    let client = queries::client(&config.clickhouse);
    while !shutdown.is_cancelled() {
        match tokio::time::timeout(LOOK, client.query("SELECT 1").fetch_one::<u8>()).await {
            Ok(Ok(_)) => readiness.set(true, "ClickHouse answers"),
            Ok(Err(error)) => readiness.set(false, format!("ClickHouse: {}", store::describe(&error))),
            Err(_) => readiness.set(false, "ClickHouse does not answer"),
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = shutdown.cancelled() => {}
        }
    }
}

/// The routes of the read API.
pub fn router(config: &Config) -> OpenApiRouter {
    let log = Log::new(&config.kafka);
    let shared = Shared {
        keys: ApiKeys::new(&config.api_keys),
        client: queries::client(&config.clickhouse),
        settings: settings::Settings::new(log.clone()),
        backtests: backtests::Backtests::new(log.clone()),
        evidence: evidence::Evidence::new(log),
    };
    OpenApiRouter::new()
        .routes(routes!(sla::compliance))
        .routes(routes!(incidents::list))
        .routes(routes!(incidents::one))
        .routes(routes!(evidence::of_incident))
        .routes(routes!(backtests::post, backtests::list))
        .routes(routes!(backtests::get, backtests::delete))
        .routes(routes!(settings::get, settings::put))
        .routes(routes!(settings::history))
        .routes(routes!(settings::schema))
        .merge(registry::router())
        .with_state(shared)
}
