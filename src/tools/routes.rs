//! The tools that answer over HTTP, too.

use axum::extract::FromRef;
use clickhouse::Client;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::backtest::routes::{self as backtests, Backtests};
use super::explain::routes::{self as evidence, Evidence};
use super::settings::routes::{self as settings, Settings};
use crate::config::Config;
use crate::http::ApiKeys;
use crate::log::Log;
use crate::read;

/// What the routes share.
#[derive(Clone, FromRef)]
pub struct Shared {
    keys: ApiKeys,
    client: Client,
    settings: Settings,
    backtests: Backtests,
    evidence: Evidence,
}

/// The routes, with what they share.
pub fn routes(config: &Config, log: &Log) -> OpenApiRouter {
    let shared = Shared {
        keys: ApiKeys::new(&config.api_keys),
        client: read::queries::client(&config.clickhouse),
        settings: Settings::new(log.clone()),
        backtests: Backtests::new(log.clone()),
        evidence: Evidence::new(log.clone()),
    };
    router().with_state(shared)
}

/// The routes.
pub fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .merge(evidence::router())
        .routes(routes!(backtests::post, backtests::list))
        .routes(routes!(backtests::get, backtests::delete))
        .routes(routes!(settings::get, settings::put))
        .routes(routes!(settings::history))
        .routes(routes!(settings::schema))
}
