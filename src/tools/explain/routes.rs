//! `GET /v1/{path}/{id}/evidence`: why a row of a resource is what it is, read back from the log (I8).

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{FromRef, State};
use axum::routing::{MethodRouter, get};
use clickhouse::Client;
use tokio::sync::Semaphore;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::{ContentBuilder, Ref};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use super::{COLUMNS, ExplainError, Explanation, Located, explain};
use crate::http::{ApiError, ApiKeys, NoParameters, Path};
use crate::log::Log;
use crate::read::openapi::{self, Described};
use crate::read::queries::{Parameter, Select, SqlFilter, TenantQueries};
use crate::read::{by_id, route};
use crate::resource::{self, Resource};
use crate::tools::settings::routes::Settings;

/// How long the log may be read for one answer, waiting for others included.
const LIMIT: Duration = Duration::from_secs(10);
/// How many answers are read from the log at once: each has clients of its own.
const AT_ONCE: usize = 4;
/// When a client may ask again.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// Versions of a row that a table may have before it has merged them.
const VERSIONS: u64 = 1_000;

/// What reads the log.
#[derive(Clone)]
pub struct Evidence {
    log: Log,
    places: Arc<Semaphore>,
}

impl Evidence {
    pub(in crate::tools) fn new(log: Log) -> Self {
        Self { log, places: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    async fn explain(self, row: Located) -> Result<Vec<Explanation>, ApiError> {
        let deadline = Instant::now() + LIMIT;
        let place = self.places.acquire_owned().await.map_err(ApiError::internal)?;
        let work = move || {
            // Held until the work has ended, which may be after the answer.
            let _place = place;
            explain(&self.log, vec![row], Some(deadline))
        };
        tokio::task::spawn_blocking(work).await.map_err(ApiError::internal)?.map_err(refusal)
    }
}

fn refusal(error: ExplainError) -> ApiError {
    match error {
        ExplainError::Kafka { .. } => {
            tracing::warn!(%error, "evidence");
            ApiError::unavailable("Kafka is away", RETRY_AFTER)
        }
        ExplainError::TooLong { .. } => ApiError::unavailable(error.to_string(), RETRY_AFTER),
        error => ApiError::internal(error),
    }
}

/// The route of each resource; none where their declarations are not sound, which keeps the whole role from starting.
pub fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    ApiKeys: FromRef<S>,
    Client: FromRef<S>,
    Evidence: FromRef<S>,
    Settings: FromRef<S>,
{
    let resources = resource::all().unwrap_or_default();
    resources.iter().fold(OpenApiRouter::new(), |router, resource| {
        router.routes(route(describe(resource), of_row(resource)))
    })
}

fn describe(resource: &Resource) -> Described {
    let summary = format!("Why one {} is what it is.", resource.noun());
    let body = ContentBuilder::new().schema(Some(Ref::from_schema_name(Explanation::name()))).build();
    let response =
        ResponseBuilder::new().description("The row, explained.").content("application/json", body).build();
    let operation = openapi::of_row("explain{}", resource, &summary)
        .description(Some(
            "Its versions, the settings in force at each, and the records behind it, read back from the log.",
        ))
        .response("200", response);
    let mut schemas = vec![(Explanation::name().into_owned(), Explanation::schema())];
    Explanation::schemas(&mut schemas);
    Described::new(&format!("{}/{{id}}/evidence", resource.route), schemas, operation.build())
}

fn of_row<S>(resource: &'static Resource) -> MethodRouter<S>
where
    S: Clone + Send + Sync + 'static,
    ApiKeys: FromRef<S>,
    Client: FromRef<S>,
    Evidence: FromRef<S>,
    Settings: FromRef<S>,
{
    let handler = async move |queries: TenantQueries,
                              State(evidence): State<Evidence>,
                              State(settings): State<Settings>,
                              Path(id): Path<String>,
                              _: NoParameters|
                -> Result<Json<Explanation>, ApiError> {
        let id = by_id::id_of(resource, &id)?;
        let filter = SqlFilter::default().and("id = ?", [Parameter::Id(id)]);
        // With what is retracted, unlike the view.
        let select = Select { columns: COLUMNS, from: resource.table, tail: "ORDER BY version DESC" };
        let stored = queries.fetch(select, &filter, VERSIONS).await?;
        let row = Located::of(resource.topic, stored)
            .map_err(ApiError::internal)?
            .pop()
            .ok_or_else(|| by_id::missing(resource))?;
        let answer = async {
            let explained = evidence.explain(row).await?;
            settings.look(|history| explained.into_iter().map(|one| one.with_settings(history)).next()).await
        };
        let late = |_| ApiError::unavailable(format!("the log did not answer within {LIMIT:?}"), RETRY_AFTER);
        let answer = tokio::time::timeout(LIMIT, answer).await.map_err(late)??;
        answer.map(Json).ok_or_else(|| by_id::missing(resource))
    };
    get(handler)
}
