//! The read endpoints of a Confluent schema registry, over the schemas that are part of the program: what stock
//! deserialisers ask, and serialisers that register nothing (`auto.register.schemas=false`). Schemas are no secret: no key
//! is needed.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::parameters::Parameters;
use crate::codec;
use crate::codec::PinnedSchema;
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

/// An error as Confluent's clients read it, beside the API's own.
#[derive(Debug)]
struct RegistryError {
    code: u32,
    error: ApiError,
}

#[derive(Serialize)]
struct ConfluentError {
    error_code: u32,
    message: String,
}

impl RegistryError {
    fn not_found(code: u32, message: &'static str) -> Self {
        Self { code, error: ApiError::not_found(message) }
    }

    fn no_subject() -> Self {
        Self::not_found(40_401, "Subject not found.")
    }

    fn no_version() -> Self {
        Self::not_found(40_402, "Version not found.")
    }

    fn no_schema() -> Self {
        Self::not_found(40_403, "Schema not found.")
    }
}

impl From<ApiError> for RegistryError {
    fn from(error: ApiError) -> Self {
        Self { code: u32::from(error.status().as_u16()), error }
    }
}

impl IntoResponse for RegistryError {
    fn into_response(self) -> Response {
        let beside = ConfluentError { error_code: self.code, message: self.error.to_string() };
        self.error.respond_beside(beside)
    }
}

/// A schema by its id.
#[derive(Serialize, ToSchema)]
struct SchemaText {
    /// Avro, as text.
    schema: &'static str,
}

/// A version of a subject.
#[derive(Serialize, ToSchema)]
struct SubjectVersion {
    subject: String,
    version: usize,
}

/// A schema as a version of its subject.
#[derive(Serialize, ToSchema)]
struct RegisteredSchema {
    subject: String,
    version: usize,
    id: u32,
    /// Avro, as text.
    schema: &'static str,
}

impl RegisteredSchema {
    fn of(version: usize, schema: &'static PinnedSchema) -> Self {
        Self { subject: subject_of(schema), version, id: schema.id, schema: schema.text }
    }
}

/// A schema to look for.
#[derive(Deserialize, ToSchema)]
#[schema(as = SchemaToLookUp)]
struct LookUp {
    /// Avro, as text.
    schema: String,
    /// `AVRO`, also where it is missing.
    #[serde(rename = "schemaType")]
    schema_type: Option<String>,
}

/// How versions of a subject go together.
#[derive(Serialize, ToSchema)]
#[schema(as = RegistryConfig)]
struct Compatibility {
    #[serde(rename = "compatibilityLevel")]
    level: &'static str,
}

/// What may be done here.
#[derive(Serialize, ToSchema)]
#[schema(as = RegistryMode)]
struct Mode {
    mode: &'static str,
}

/// A schema's id.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it describes a parameter")]
struct IdInPath {
    /// The schema's id.
    id: u32,
}

/// A subject.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it describes a parameter")]
struct SubjectInPath {
    /// `TOPIC-value`.
    #[param(example = "incidents-value")]
    subject: String,
}

/// A version of a subject.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it describes a parameter")]
struct VersionInPath {
    /// Its number, or `latest`.
    #[param(pattern = "^([1-9][0-9]{0,8}|latest)$", example = "latest")]
    version: String,
}

fn subject_of(schema: &PinnedSchema) -> String {
    format!("{}-value", schema.subject)
}

/// The versions of a subject, by number from 1.
fn versions_of(subject: &str) -> Result<Vec<(usize, &'static PinnedSchema)>, RegistryError> {
    let own = codec::schemas().values().filter(|schema| subject_of(schema) == subject);
    let versions: Vec<_> = (1..).zip(own).collect();
    if versions.is_empty() { Err(RegistryError::no_subject()) } else { Ok(versions) }
}

fn find_version(subject: &str, version: &str) -> Result<RegisteredSchema, RegistryError> {
    let mut versions = versions_of(subject)?;
    let found = match version {
        "latest" | "-1" => versions.pop(),
        number => {
            let number: usize = number.parse().map_err(|_| RegistryError {
                code: 42_202,
                error: ApiError::invalid("version", "expected a number from 1, or \"latest\""),
            })?;
            versions.into_iter().find(|(version, _)| *version == number)
        }
    };
    found.map(|(version, schema)| RegisteredSchema::of(version, schema)).ok_or_else(RegistryError::no_version)
}

fn find_id(id: &str) -> Result<&'static PinnedSchema, RegistryError> {
    let id = id.parse().map_err(|_| RegistryError::no_schema())?;
    codec::schemas().get(&id).ok_or_else(RegistryError::no_schema)
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
#[utoipa::path(get, path = "/schemas/types", tag = "registry", responses((status = 200, description = "`AVRO`.", body = Vec<String>)))]
async fn types(_: Harmless) -> Result<Json<[&'static str; 1]>, RegistryError> {
    Ok(Json(["AVRO"]))
}

/// A schema, by the id that stands before a value.
#[utoipa::path(
    get,
    path = "/schemas/ids/{id}",
    tag = "registry",
    params(IdInPath),
    responses((status = 200, description = "The schema.", body = SchemaText))
)]
async fn by_id(Path(id): Path<String>, _: Harmless) -> Result<Json<SchemaText>, RegistryError> {
    Ok(Json(SchemaText { schema: find_id(&id)?.text }))
}

/// A schema alone, by its id.
#[utoipa::path(
    get,
    path = "/schemas/ids/{id}/schema",
    tag = "registry",
    params(IdInPath),
    responses((status = 200, description = "The schema: JSON.", body = Value))
)]
async fn text_by_id(Path(id): Path<String>, _: Harmless) -> Result<Response, RegistryError> {
    Ok(json(find_id(&id)?.text))
}

/// The subjects, and their versions, that have the schema of an id.
#[utoipa::path(
    get,
    path = "/schemas/ids/{id}/versions",
    tag = "registry",
    params(IdInPath),
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
#[utoipa::path(get, path = "/subjects", tag = "registry", responses((status = 200, description = "The subjects.", body = Vec<String>)))]
async fn subjects(_: Harmless) -> Result<Json<Vec<String>>, RegistryError> {
    let mut subjects: Vec<_> = codec::schemas().values().map(subject_of).collect();
    subjects.sort();
    subjects.dedup();
    Ok(Json(subjects))
}

/// The versions of a subject.
#[utoipa::path(
    get,
    path = "/subjects/{subject}/versions",
    tag = "registry",
    params(SubjectInPath),
    responses((status = 200, description = "Their numbers, from 1.", body = Vec<usize>))
)]
async fn versions(Path(subject): Path<String>, _: Harmless) -> Result<Json<Vec<usize>>, RegistryError> {
    Ok(Json(versions_of(&subject)?.into_iter().map(|(version, _)| version).collect()))
}

/// A version of a subject.
#[utoipa::path(
    get,
    path = "/subjects/{subject}/versions/{version}",
    tag = "registry",
    params(SubjectInPath, VersionInPath),
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
    path = "/subjects/{subject}/versions/{version}/schema",
    tag = "registry",
    params(SubjectInPath, VersionInPath),
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
    path = "/subjects/{subject}",
    tag = "registry",
    params(SubjectInPath),
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
    path = "/config",
    tag = "registry",
    responses((status = 200, description = "A version reads what those before it wrote.", body = Compatibility))
)]
async fn config(_: Harmless) -> Result<Json<Compatibility>, RegistryError> {
    Ok(Json(COMPATIBILITY))
}

/// How the versions of a subject go together.
#[utoipa::path(
    get,
    path = "/config/{subject}",
    tag = "registry",
    params(SubjectInPath),
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
    path = "/mode",
    tag = "registry",
    responses((status = 200, description = "To read: schemas come with the program.", body = Mode))
)]
async fn mode(_: Harmless) -> Result<Json<Mode>, RegistryError> {
    Ok(Json(MODE))
}

/// What may be done with a subject.
#[utoipa::path(
    get,
    path = "/mode/{subject}",
    tag = "registry",
    params(SubjectInPath),
    responses((status = 200, description = "To read: schemas come with the program.", body = Mode))
)]
async fn mode_of_subject(Path(subject): Path<String>, _: Harmless) -> Result<Json<Mode>, RegistryError> {
    versions_of(&subject).map(|_| Json(MODE))
}

/// A text that is JSON already.
fn json(text: &'static str) -> Response {
    ([(axum::http::header::CONTENT_TYPE, "application/json")], text).into_response()
}

#[cfg(test)]
mod tests {
    use apache_avro::schema_compatibility::SchemaCompatibility;

    use super::*;

    #[test]
    fn a_version_reads_what_those_before_it_wrote() {
        let mut pairs = 0;
        for schema in codec::schemas().values() {
            for (_, older) in
                versions_of(&subject_of(schema)).unwrap().iter().filter(|(_, s)| s.id < schema.id)
            {
                SchemaCompatibility::can_read(older.schema, schema.schema).unwrap();
                pairs += 1;
            }
        }
        assert!(pairs > 0);
    }

    #[test]
    fn versions_are_numbered_by_subject() {
        let found = |version| find_version("incidents-value", version).map(|found| (found.version, found.id));
        assert_eq!(found("1").unwrap(), (1, 3));
        assert_eq!(found("2").unwrap(), (2, 5));
        assert_eq!(found("latest").unwrap(), found("-1").unwrap());
        for (subject, version, code) in [
            ("incidents", "1", 40_401),
            ("incidents-value", "0", 40_402),
            ("incidents-value", "999", 40_402),
            ("incidents-value", "first", 42_202),
        ] {
            assert_eq!(find_version(subject, version).err().unwrap().code, code, "{subject} {version}");
        }
        assert_eq!(find_id("0").err().unwrap().code, 40_403);
    }
}
