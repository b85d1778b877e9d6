//! The read endpoints of a Confluent schema registry, over the schemas that are part of the program: what stock
//! deserialisers ask, and serialisers that register nothing (`auto.register.schemas=false`). Schemas are no secret: no key
//! is needed.

mod subjects;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::subjects::{
    Compatibility, LookUp, Mode, RegisteredSchema, RegistryError, SchemaText, SubjectVersion, find_id,
    find_version, subject_of, versions_of,
};
use super::parameters::Parameters;
use crate::codec;
use crate::http::{ApiError, JsonBytes, Path};

/// What clients may ask besides, none of which changes an answer here: there is one form of a schema, and nothing is ever
/// deleted.
const WITHOUT_EFFECT: [&str; 10] = [
    "subject",
    "format",
    "fetchMaxId",
    "deleted",
    "deletedOnly",
    "lookupDeletedSchema",
    "normalize",
    "defaultToGlobal",
    "referenceFormat",
    "subjectPrefix",
];

/// The routes; they need no state.
pub fn router<S: Clone + Send + Sync + 'static>() -> OpenApiRouter<S> {
    OpenApiRouter::default()
        .routes(routes!(types))
        .routes(routes!(by_id))
        .routes(routes!(text_by_id))
        .routes(routes!(versions_of_id))
        .routes(routes!(subjects))
        .routes(routes!(versions))
        .routes(routes!(version))
        .routes(routes!(text_of_version))
        .routes(routes!(look_up))
        .routes(routes!(config))
        .routes(routes!(config_of_subject))
        .routes(routes!(mode))
        .routes(routes!(mode_of_subject))
}

/// Refuses parameters but those [without effect](WITHOUT_EFFECT).
struct Harmless;

impl<S: Send + Sync> FromRequestParts<S> for Harmless {
    type Rejection = RegistryError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, RegistryError> {
        let mut parameters = Parameters::from_request_parts(parts, state).await?;
        for name in WITHOUT_EFFECT {
            parameters.text(name);
        }
        parameters.finish()?;
        Ok(Self)
    }
}

/// The kinds of schemas that there are.
#[utoipa::path(get, path = "/schemas/types", operation_id = "listSchemaTypes", tag = "registry", responses((status = 200, description = "`AVRO`.", body = Vec<String>)))]
async fn types(_: Harmless) -> Result<Json<[&'static str; 1]>, RegistryError> {
    Ok(Json(["AVRO"]))
}

/// A schema, by the id that stands before a value.
#[utoipa::path(
    get,
    path = "/schemas/ids/{id}", operation_id = "getSchema",
    tag = "registry",
    params(("id" = u32, Path, description = "The schema's id.")),
    responses((status = 200, description = "The schema.", body = SchemaText))
)]
async fn by_id(Path(id): Path<String>, _: Harmless) -> Result<Json<SchemaText>, RegistryError> {
    Ok(Json(SchemaText { schema: find_id(&id)?.text }))
}

/// A schema alone, by its id.
#[utoipa::path(
    get,
    path = "/schemas/ids/{id}/schema", operation_id = "getSchemaText",
    tag = "registry",
    params(("id" = u32, Path, description = "The schema's id.")),
    responses((status = 200, description = "The schema: JSON.", body = Value))
)]
async fn text_by_id(Path(id): Path<String>, _: Harmless) -> Result<Response, RegistryError> {
    Ok(json(find_id(&id)?.text))
}

/// The subjects, and their versions, that have the schema of an id.
#[utoipa::path(
    get,
    path = "/schemas/ids/{id}/versions", operation_id = "listVersionsOfSchema",
    tag = "registry",
    params(("id" = u32, Path, description = "The schema's id.")),
    responses((status = 200, description = "One: an id is of one subject.", body = Vec<SubjectVersion>))
)]
async fn versions_of_id(
    Path(id): Path<String>,
    _: Harmless,
) -> Result<Json<Vec<SubjectVersion>>, RegistryError> {
    let schema = find_id(&id)?;
    let subject = subject_of(schema);
    let versions = versions_of(&subject)?.into_iter().filter(|(_, other)| other.id == schema.id);
    Ok(Json(versions.map(|(version, _)| SubjectVersion { subject: subject.clone(), version }).collect()))
}

/// Every subject: `TOPIC-value`.
#[utoipa::path(get, path = "/subjects", operation_id = "listSubjects", tag = "registry", responses((status = 200, description = "The subjects.", body = Vec<String>)))]
async fn subjects(_: Harmless) -> Result<Json<Vec<String>>, RegistryError> {
    let mut subjects: Vec<_> = codec::schemas().values().map(subject_of).collect();
    subjects.sort();
    subjects.dedup();
    Ok(Json(subjects))
}

/// The versions of a subject.
#[utoipa::path(
    get,
    path = "/subjects/{subject}/versions", operation_id = "listSubjectVersions",
    tag = "registry",
    params(("subject" = String, Path, description = "`TOPIC-value`.", example = "incidents-value")),
    responses((status = 200, description = "Their numbers, from 1.", body = Vec<usize>))
)]
async fn versions(Path(subject): Path<String>, _: Harmless) -> Result<Json<Vec<usize>>, RegistryError> {
    Ok(Json(versions_of(&subject)?.into_iter().map(|(version, _)| version).collect()))
}

/// A version of a subject.
#[utoipa::path(
    get,
    path = "/subjects/{subject}/versions/{version}", operation_id = "getSubjectVersion",
    tag = "registry",
    params(
        ("subject" = String, Path, description = "`TOPIC-value`.", example = "incidents-value"),
        ("version" = String, Path, description = "Its number, or `latest`.", pattern = "^([1-9][0-9]{0,8}|latest)$", example = "latest"),
    ),
    responses((status = 200, description = "The version.", body = RegisteredSchema))
)]
async fn version(
    Path((subject, version)): Path<(String, String)>,
    _: Harmless,
) -> Result<Json<RegisteredSchema>, RegistryError> {
    find_version(&subject, &version).map(Json)
}

/// The schema alone of a version of a subject.
#[utoipa::path(
    get,
    path = "/subjects/{subject}/versions/{version}/schema", operation_id = "getSubjectVersionText",
    tag = "registry",
    params(
        ("subject" = String, Path, description = "`TOPIC-value`.", example = "incidents-value"),
        ("version" = String, Path, description = "Its number, or `latest`.", pattern = "^([1-9][0-9]{0,8}|latest)$", example = "latest"),
    ),
    responses((status = 200, description = "The schema: JSON.", body = Value))
)]
async fn text_of_version(
    Path((subject, version)): Path<(String, String)>,
    _: Harmless,
) -> Result<Response, RegistryError> {
    Ok(json(find_version(&subject, &version)?.schema))
}

/// Which version of a subject a schema is. Nothing is registered.
#[utoipa::path(
    post,
    path = "/subjects/{subject}", operation_id = "findSubjectVersion",
    tag = "registry",
    params(("subject" = String, Path, description = "`TOPIC-value`.", example = "incidents-value")),
    request_body = LookUp,
    responses((status = 200, description = "The version.", body = RegisteredSchema))
)]
async fn look_up(
    Path(subject): Path<String>,
    _: Harmless,
    JsonBytes(body): JsonBytes,
) -> Result<Json<RegisteredSchema>, RegistryError> {
    let LookUp { schema, schema_type } = crate::http::body::parse(&body)?;
    let versions = versions_of(&subject)?;
    if schema_type.is_some_and(|name| name != "AVRO") {
        return Err(RegistryError::no_schema());
    }
    let wanted: Value = serde_json::from_str(&schema).map_err(|error| RegistryError {
        code: 42_201,
        error: ApiError::invalid("schema", format!("is no schema of Avro: {error}")),
    })?;
    // As JSON: blanks and the order of names don't matter, all else does.
    let is_wanted = |text| serde_json::from_str::<Value>(text).is_ok_and(|schema| schema == wanted);
    let found = versions.into_iter().rev().find(|(_, schema)| is_wanted(schema.text));
    let (version, schema) = found.ok_or_else(RegistryError::no_schema)?;
    Ok(Json(RegisteredSchema::of(version, schema)))
}

const COMPATIBILITY: Compatibility = Compatibility { level: "BACKWARD" };
const MODE: Mode = Mode { mode: "READONLY" };

/// How versions of a subject go together.
#[utoipa::path(
    get,
    path = "/config", operation_id = "getRegistryConfig",
    tag = "registry",
    responses((status = 200, description = "A version reads what those before it wrote.", body = Compatibility))
)]
async fn config(_: Harmless) -> Result<Json<Compatibility>, RegistryError> {
    Ok(Json(COMPATIBILITY))
}

/// How the versions of a subject go together.
#[utoipa::path(
    get,
    path = "/config/{subject}", operation_id = "getSubjectConfig",
    tag = "registry",
    params(("subject" = String, Path, description = "`TOPIC-value`.", example = "incidents-value")),
    responses((status = 200, description = "A version reads what those before it wrote.", body = Compatibility))
)]
async fn config_of_subject(
    Path(subject): Path<String>,
    _: Harmless,
) -> Result<Json<Compatibility>, RegistryError> {
    versions_of(&subject).map(|_| Json(COMPATIBILITY))
}

/// What may be done here.
#[utoipa::path(
    get,
    path = "/mode", operation_id = "getRegistryMode",
    tag = "registry",
    responses((status = 200, description = "To read: schemas come with the program.", body = Mode))
)]
async fn mode(_: Harmless) -> Result<Json<Mode>, RegistryError> {
    Ok(Json(MODE))
}

/// What may be done with a subject.
#[utoipa::path(
    get,
    path = "/mode/{subject}", operation_id = "getSubjectMode",
    tag = "registry",
    params(("subject" = String, Path, description = "`TOPIC-value`.", example = "incidents-value")),
    responses((status = 200, description = "To read: schemas come with the program.", body = Mode))
)]
async fn mode_of_subject(Path(subject): Path<String>, _: Harmless) -> Result<Json<Mode>, RegistryError> {
    versions_of(&subject).map(|_| Json(MODE))
}

/// A text that is JSON already.
fn json(text: &'static str) -> Response {
    ([(axum::http::header::CONTENT_TYPE, "application/json")], text).into_response()
}
