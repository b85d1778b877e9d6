//! `/v1/settings`: what is set of a family for the key's tenant, its history, and changing it (I4).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::engine::Millis;
use crate::families;
use crate::http::{ApiError, CanAdmin, CanRead, JsonBytes, NoParameters, Path, body, openapi};
use crate::log::Log;
use crate::settings::{self, Changed, History, Json, Reader, SettingsError, SettingsKind};

/// The log's settings, as far as this process has read them.
#[derive(Clone)]
pub struct Settings {
    log: Log,
    reader: Arc<Mutex<Option<Reader>>>,
}

impl Settings {
    pub(in crate::tools) fn new(log: Log) -> Self {
        Self { log, reader: Arc::default() }
    }

    /// Reads to the end, then looks.
    pub(in crate::tools) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&History) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let settings = self.clone();
        blocking(move || {
            let mut reader = settings.reader.lock().unwrap_or_else(PoisonError::into_inner);
            let mut current = match reader.take() {
                Some(reader) => reader,
                None => Reader::start(&settings.log)?,
            };
            // One that fails is made anew the next time.
            current.read_to_end()?;
            Ok(look(reader.insert(current).history()))
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SettingsError> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(ApiError::internal)?.map_err(refusal)
}

fn refusal(error: SettingsError) -> ApiError {
    match error {
        SettingsError::Refused(problem) => ApiError::invalid(problem.path, problem.reason),
        SettingsError::Conflict { .. } => {
            ApiError::new(StatusCode::CONFLICT, "stale_version", error.to_string())
        }
        SettingsError::Kafka { .. } => {
            tracing::warn!(%error, "settings");
            ApiError::unavailable("Kafka is away", std::time::Duration::from_secs(1))
        }
        error => ApiError::internal(error),
    }
}

fn family(name: &str) -> Result<&'static SettingsKind, ApiError> {
    families::settings(name).ok_or_else(|| ApiError::not_found(format!("there is no family {name:?}")))
}

/// What holds.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Settings)]
struct InForce {
    family: &'static str,
    tenant: String,
    /// The version of what the tenant itself has set; 0: nothing. It is the ETag, and what `If-Match` names.
    version: i64,
    /// What the tenant itself has set.
    #[schema(value_type = Object)]
    set: Json,
    /// All that holds for the tenant.
    #[schema(value_type = Object)]
    settings: Json,
}

impl InForce {
    fn of(history: &History, family: &'static SettingsKind, tenant: &str) -> Self {
        let own = history.entry(family.name, Some(tenant), i64::MAX);
        Self {
            family: family.name,
            tenant: tenant.to_owned(),
            version: own.map_or(0, |entry| entry.version),
            set: own.map(|entry| entry.document.clone()).unwrap_or_default(),
            settings: history.effective(family, Some(tenant), i64::MAX),
        }
    }
}

impl IntoResponse for InForce {
    fn into_response(self) -> Response {
        ([(header::ETAG, format!("\"{}\"", self.version))], JsonBody(self)).into_response()
    }
}

/// What holds of a family's settings, for the tenant.
#[utoipa::path(
    get,
    path = "/v1/settings/{family}",
    operation_id = "getSettings",
    tag = "settings",
    security(("bearer" = ["read"]), ("api_key" = ["read"])),
    params(("family" = String, Path, description = "Its name.", example = "civic")),
    responses((status = 200, description = "What holds.", body = InForce,
        headers(("ETag" = String, description = "The version."))))
)]
pub async fn get(
    CanRead(tenant): CanRead,
    State(settings): State<Settings>,
    Path(name): Path<String>,
    _: NoParameters,
) -> Result<Response, ApiError> {
    let family = family(&name)?;
    let look = move |history: &History| InForce::of(history, family, tenant.as_str());
    Ok(settings.look(look).await?.into_response())
}

/// What held, version by version.
#[derive(Serialize, ToSchema)]
#[schema(as = SettingsVersions)]
struct Versions {
    versions: Vec<Version>,
}

/// A version of what holds for a tenant.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SettingsVersion)]
struct Version {
    version: i64,
    #[serde(serialize_with = "crate::codec::json::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    at: Millis,
    /// Whether the tenant itself has set it, or it is for all.
    by: &'static str,
    /// What it changed: by name, the value before and after.
    changed: BTreeMap<String, Changed>,
}

/// Every version of what held for the tenant, the newest first.
#[utoipa::path(
    get,
    path = "/v1/settings/{family}/history",
    operation_id = "listSettingsVersions",
    tag = "settings",
    security(("bearer" = ["read"]), ("api_key" = ["read"])),
    params(("family" = String, Path, description = "Its name.", example = "civic")),
    responses((status = 200, description = "The versions.", body = Versions))
)]
pub async fn history(
    CanRead(tenant): CanRead,
    State(settings): State<Settings>,
    Path(name): Path<String>,
    _: NoParameters,
) -> Result<Response, ApiError> {
    let family = family(&name)?;
    let look = move |history: &History| {
        let tenant = tenant.as_str();
        let mut entries: Vec<_> =
            history.entries(family.name, None).chain(history.entries(family.name, Some(tenant))).collect();
        entries.sort_by_key(|entry| entry.version);
        let mut before = (family.defaults)();
        let mut versions = Vec::new();
        for entry in entries {
            let after = history.effective(family, Some(tenant), entry.version);
            let by = if entry.tenant.is_some() { "tenant" } else { "all" };
            versions.push(Version {
                version: entry.version,
                at: entry.at,
                by,
                changed: settings::difference(&before, &after),
            });
            before = after;
        }
        versions.reverse();
        versions
    };
    let versions = settings.look(look).await?;
    Ok(JsonBody(Versions { versions }).into_response())
}

/// The JSON schema of the documents that can be set.
#[utoipa::path(
    get,
    path = "/v1/settings/{family}/schema",
    operation_id = "getSettingsSchema",
    tag = "settings",
    security(("bearer" = ["read"]), ("api_key" = ["read"])),
    params(("family" = String, Path, description = "Its name.", example = "civic")),
    responses((status = 200, description = "A JSON schema.", body = Object))
)]
pub async fn schema(_: CanRead, Path(name): Path<String>, _: NoParameters) -> Result<Response, ApiError> {
    Ok(JsonBody((family(&name)?.schema)()).into_response())
}

/// Replaces what the tenant has set; with `If-Match` only if that is still the version.
#[utoipa::path(
    put,
    path = "/v1/settings/{family}",
    operation_id = "putSettings",
    tag = "settings",
    security(("bearer" = ["admin"]), ("api_key" = ["admin"])),
    params(
        ("family" = String, Path, description = "Its name.", example = "civic"),
        ("If-Match" = Option<String>, Header, description = "The ETag of what is to be replaced.", example = "\"7\"")
    ),
    request_body(content = Object, description = "A document that follows the family's schema."),
    responses(
        (status = 200, description = "What holds now.", body = InForce,
            headers(("ETag" = String, description = "The version."))),
        (status = 409, description = "The version is another one by now.", body = openapi::ErrorBody)
    )
)]
pub async fn put(
    CanAdmin(tenant): CanAdmin,
    State(settings): State<Settings>,
    Path(name): Path<String>,
    _: NoParameters,
    headers: HeaderMap,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, ApiError> {
    let family = family(&name)?;
    let base = if_match(&headers)?;
    let document: Json = body::parse(&bytes)?;
    let (log, name) = (settings.log.clone(), tenant.as_str().to_owned());
    blocking(move || settings::append(&log, family, Some(&name), base, &document)).await?;
    let look = move |history: &History| InForce::of(history, family, tenant.as_str());
    Ok(settings.look(look).await?.into_response())
}

/// The version that `If-Match` names; `None` without one.
fn if_match(headers: &HeaderMap) -> Result<Option<i64>, ApiError> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let version = text.trim_start_matches("W/").trim_matches('"').parse();
    let refuse =
        |_| ApiError::invalid("If-Match", format!("{text:?} is no version: expected an ETag such as \"7\""));
    version.map(Some).map_err(refuse)
}
