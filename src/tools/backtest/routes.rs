//! `/v1/backtests`: what other settings would have found for the key's tenant, as a job of this process.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{BacktestError, Progress, Question, run};
use crate::families;
use crate::http::{ApiError, CanAdmin, CanRead, JsonBytes, NoParameters, Path, Tenant, body, openapi};
use crate::log::Log;
use crate::settings::Json;
use crate::tools::settings::routes::Settings;

/// Answers that are kept; the oldest go first.
const KEPT: usize = 32;
/// Differences that an answer holds.
const SHOWN: usize = 100;
/// When to ask again while another one runs.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The backtests of this process: one at a time.
#[derive(Clone)]
pub struct Backtests {
    log: Log,
    jobs: Arc<Mutex<VecDeque<Job>>>,
}

struct Job {
    id: Uuid,
    tenant: String,
    progress: Arc<Progress>,
    outcome: Option<Result<Box<RawValue>, BacktestError>>,
}

/// What is asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BacktestRequest)]
struct Request {
    family: String,
    /// What the tenant would have set.
    #[schema(value_type = Object)]
    settings: Json,
    /// Only rows emitted for records appended since.
    #[schema(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// Only records appended before.
    #[schema(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
}

/// How a job stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Backtest)]
struct Status<'a> {
    id: Uuid,
    /// `running`, `done` or `failed`.
    status: &'static str,
    progress: Count,
    /// What came out, once it is done: rows before and after, by rule and by area, and the first differences.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object, required = false)]
    result: Option<&'a RawValue>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
}

/// The tenant's backtests.
#[derive(Serialize, ToSchema)]
#[schema(as = Backtests)]
struct List<'a> {
    backtests: Vec<Status<'a>>,
}

/// Offsets of the log.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BacktestProgress)]
struct Count {
    done: u64,
    total: u64,
}

impl Job {
    fn status(&self) -> Status<'_> {
        let (done, total) = self.progress.of();
        let (status, result, reason) = match &self.outcome {
            None => ("running", None, None),
            Some(Ok(result)) => ("done", Some(&**result), None),
            Some(Err(error)) => ("failed", None, Some(error.to_string())),
        };
        Status { id: self.id, status, progress: Count { done, total }, result, reason }
    }
}

impl Backtests {
    pub(in crate::tools) fn new(log: Log) -> Self {
        Self { log, jobs: Arc::default() }
    }

    fn jobs(&self) -> MutexGuard<'_, VecDeque<Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, tenant: &Tenant, question: Question) -> Result<Response, ApiError> {
        let mut jobs = self.jobs();
        if let Some(other) = jobs.iter().find(|job| job.outcome.is_none()) {
            // Another tenant's id is none of this one's.
            let id = if other.tenant == tenant.as_str() { format!(": {}", other.id) } else { String::new() };
            let message = format!("another backtest is running here{id}");
            return Err(ApiError::too_many_requests(message, RETRY_AFTER));
        }
        let (id, progress) = (Uuid::now_v7(), Arc::new(Progress::default()));
        let job =
            Job { id, tenant: tenant.as_str().to_owned(), progress: Arc::clone(&progress), outcome: None };
        let answer = (
            StatusCode::ACCEPTED,
            [(header::LOCATION, format!("/v1/backtests/{id}"))],
            JsonBody(job.status()),
        );
        let answer = answer.into_response();
        let backtests = self.clone();
        let work = move || {
            // A job that fails must not be taken for one that runs.
            let answer = AssertUnwindSafe(|| answer_to(&backtests.log, &question, &progress));
            let outcome = catch_unwind(answer).unwrap_or(Err(BacktestError::Panicked));
            if let Some(job) = backtests.jobs().iter_mut().find(|job| job.id == id) {
                job.outcome = Some(outcome);
            }
        };
        // A thread of its own, which the end of the process need not wait for: it writes nothing.
        std::thread::Builder::new().name("backtest".to_owned()).spawn(work).map_err(ApiError::internal)?;
        jobs.push_back(job);
        if jobs.len() > KEPT {
            jobs.pop_front();
        }
        Ok(answer)
    }

    /// The tenant's job of that id.
    fn look<T>(&self, tenant: &Tenant, id: &str, look: impl FnOnce(&Job) -> T) -> Result<T, ApiError> {
        let jobs = self.jobs();
        let job = jobs.iter().find(|job| job.tenant == tenant.as_str() && job.id.to_string() == id);
        job.map(look).ok_or_else(|| ApiError::not_found("this process has no such backtest, or no longer"))
    }
}

/// The findings, and the first of the differences.
#[derive(Serialize)]
struct Answer<'a, F, D> {
    #[serde(flatten)]
    findings: &'a F,
    /// How many rows differ.
    difference_count: usize,
    /// The first of them, at most [`SHOWN`]; `tidewatch backtest --output` has all.
    differences: Vec<D>,
}

fn answer_to(log: &Log, question: &Question, progress: &Progress) -> Result<Box<RawValue>, BacktestError> {
    let findings = run(log, question, progress)?;
    let described = findings.differences.iter().take(SHOWN).map(|difference| difference.describe());
    let differences = described.collect::<Result<Vec<_>, _>>()?;
    let difference_count = findings.differences.len();
    let answer = Answer { findings: &findings, difference_count, differences };
    serde_json::value::to_raw_value(&answer).map_err(BacktestError::Json)
}

/// Begins a backtest, as a job of this process.
#[utoipa::path(
    post,
    path = "/v1/backtests",
    operation_id = "startBacktest",
    tag = "backtests",
    security(("bearer" = ["admin"]), ("api_key" = ["admin"])),
    request_body = Request,
    responses(
        (status = 202, description = "It has begun.", body = Status<'static>,
            headers(("Location" = String, description = "Where it is followed."))),
        (status = 429, description = "Another one is running.", body = openapi::ErrorBody,
            headers(("Retry-After" = u64, description = "Seconds after which to try again.")))
    )
)]
pub async fn post(
    CanAdmin(tenant): CanAdmin,
    State(backtests): State<Backtests>,
    State(settings): State<Settings>,
    _: NoParameters,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, ApiError> {
    let Request { family, settings: document, from, to } = body::parse(&bytes)?;
    let Some(family) = families::settings(&family) else {
        return Err(ApiError::invalid("family", format!("there is no family {family:?}")));
    };
    if let Some((from, to)) = from.zip(to).filter(|(from, to)| from >= to) {
        return Err(ApiError::invalid("from", format!("{from} is not before {to}")));
    }
    let (name, checked) = (tenant.as_str().to_owned(), document.clone());
    let check = settings.look(move |history| history.check(family, Some(&name), &checked)).await?;
    check.map_err(|problem| ApiError::invalid(format!("settings.{}", problem.path), problem.reason))?;
    let question = Question {
        family,
        tenant: Some(tenant.as_str().to_owned()),
        document: Some(document),
        from: from.map(Timestamp::as_millisecond),
        to: to.map(Timestamp::as_millisecond),
        // The API's own work needs cores, too.
        threads: std::thread::available_parallelism().map_or(1, usize::from).div_ceil(2),
    };
    backtests.start(&tenant, question)
}

/// How a backtest stands, and what came out.
#[utoipa::path(
    get,
    path = "/v1/backtests/{id}",
    operation_id = "getBacktest",
    tag = "backtests",
    security(("bearer" = ["read"]), ("api_key" = ["read"])),
    params(("id" = Uuid, Path, description = "Its id.")),
    responses((status = 200, description = "The backtest.", body = Status<'static>))
)]
pub async fn get(
    CanRead(tenant): CanRead,
    State(backtests): State<Backtests>,
    Path(id): Path<String>,
    _: NoParameters,
) -> Result<Response, ApiError> {
    backtests.look(&tenant, &id, |job| JsonBody(job.status()).into_response())
}

/// How each of the tenant's backtests stands that this process knows, the newest first, without what came out.
#[utoipa::path(
    get,
    path = "/v1/backtests",
    operation_id = "listBacktests",
    tag = "backtests",
    security(("bearer" = ["read"]), ("api_key" = ["read"])),
    responses((status = 200, description = "The backtests.", body = List<'static>))
)]
pub async fn list(
    CanRead(tenant): CanRead,
    State(backtests): State<Backtests>,
    _: NoParameters,
) -> Result<Response, ApiError> {
    let jobs = backtests.jobs();
    let own = jobs.iter().rev().filter(|job| job.tenant == tenant.as_str());
    let backtests = own.map(|job| Status { result: None, ..job.status() }).collect();
    Ok(JsonBody(List { backtests }).into_response())
}

/// Stops a backtest, if it is running, and forgets it.
#[utoipa::path(
    delete,
    path = "/v1/backtests/{id}",
    operation_id = "deleteBacktest",
    tag = "backtests",
    security(("bearer" = ["admin"]), ("api_key" = ["admin"])),
    params(("id" = Uuid, Path, description = "Its id.")),
    responses((status = 204, description = "It is gone."))
)]
pub async fn delete(
    CanAdmin(tenant): CanAdmin,
    State(backtests): State<Backtests>,
    Path(id): Path<String>,
    _: NoParameters,
) -> Result<StatusCode, ApiError> {
    let id = backtests.look(&tenant, &id, |job| {
        job.progress.stop();
        job.id
    })?;
    backtests.jobs().retain(|job| job.id != id);
    Ok(StatusCode::NO_CONTENT)
}
