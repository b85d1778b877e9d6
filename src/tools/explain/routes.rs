//! `GET /v1/incidents/{id}/evidence`: why an incident is what it is, read back from the log (I8).

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use tokio::sync::Semaphore;

use super::{COLUMNS, ExplainError, Explanation, Located, explain};
use crate::http::{ApiError, NoParameters, Path};
use crate::log::{Log, topics};
use crate::read::incidents::IncidentAnswer;
use crate::read::listed;
use crate::read::queries::{Filter, Parameter, Select, TenantQueries};
use crate::tools::settings::routes::Settings;

/// How long the log may be read for one answer, waiting for others included.
const LIMIT: Duration = Duration::from_secs(10);
/// How many answers are read from the log at once: each has clients of its own.
const AT_ONCE: usize = 4;
/// When a client may ask again.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// Versions of a row that a table may have before it has merged them.
const VERSIONS: u64 = 1_000;

/// The topic, and the table.
const INCIDENTS: &str = "incidents";
/// With what is retracted, unlike the view.
const SELECT: Select = Select { columns: COLUMNS, from: INCIDENTS, tail: "ORDER BY version DESC" };

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

/// Why an incident is what it is: its versions, the settings in force at each, and the records behind it, read back from
/// the log.
#[utoipa::path(
    get,
    path = "/v1/incidents/{id}/evidence",
    tag = "read",
    security(("bearer" = ["read"]), ("api_key" = ["read"])),
    params(("id" = Uuid, Path, description = "The incident's id.")),
    responses((status = 200, description = "The incident, explained.", body = Explanation))
)]
pub async fn of_incident(
    queries: TenantQueries,
    State(evidence): State<Evidence>,
    State(settings): State<Settings>,
    Path(id): Path<String>,
    _: NoParameters,
) -> Result<Json<Explanation>, ApiError> {
    let id = listed::id_of::<IncidentAnswer>(&id)?;
    let filter = Filter::default().and("id = ?", [Parameter::Id(id)]);
    let stored = queries.fetch(SELECT, &filter, VERSIONS).await?;
    let topic =
        topics::named(INCIDENTS).ok_or_else(|| ApiError::internal("there is no topic of incidents"))?;
    let row = Located::of(topic, stored)
        .map_err(ApiError::internal)?
        .pop()
        .ok_or_else(listed::missing::<IncidentAnswer>)?;
    let answer = async {
        let explained = evidence.explain(row).await?;
        settings.look(|history| explained.into_iter().map(|one| one.with_settings(history)).next()).await
    };
    let late = |_| ApiError::unavailable(format!("the log did not answer within {LIMIT:?}"), RETRY_AFTER);
    let answer = tokio::time::timeout(LIMIT, answer).await.map_err(late)??;
    answer.map(Json).ok_or_else(listed::missing::<IncidentAnswer>)
}
