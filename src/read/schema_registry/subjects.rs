//! The subjects of schemas, their versions, and what is answered of them.

use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::codec;
use crate::codec::PinnedSchema;
use crate::http::ApiError;

/// An error as Confluent's clients read it, beside the API's own.
#[derive(Debug)]
pub(super) struct RegistryError {
    pub(super) code: u32,
    pub(super) error: ApiError,
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

    pub(super) fn no_schema() -> Self {
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
pub(super) struct SchemaText {
    /// Avro, as text.
    pub(super) schema: &'static str,
}

/// A version of a subject.
#[derive(Serialize, ToSchema)]
pub(super) struct SubjectVersion {
    pub(super) subject: String,
    pub(super) version: usize,
}

/// A schema as a version of its subject.
#[derive(Serialize, ToSchema)]
pub(super) struct RegisteredSchema {
    pub(super) subject: String,
    pub(super) version: usize,
    pub(super) id: u32,
    /// Avro, as text.
    pub(super) schema: &'static str,
}

impl RegisteredSchema {
    pub(super) fn of(version: usize, schema: &'static PinnedSchema) -> Self {
        Self { subject: subject_of(schema), version, id: schema.id, schema: schema.text }
    }
}

/// A schema to look for.
#[derive(Deserialize, ToSchema)]
#[schema(as = SchemaToLookUp)]
pub(super) struct LookUp {
    /// Avro, as text.
    pub(super) schema: String,
    /// `AVRO`, also where it is missing.
    #[serde(rename = "schemaType")]
    pub(super) schema_type: Option<String>,
}

/// How versions of a subject go together.
#[derive(Serialize, ToSchema)]
#[schema(as = RegistryConfig)]
pub(super) struct Compatibility {
    #[serde(rename = "compatibilityLevel")]
    pub(super) level: &'static str,
}

/// What may be done here.
#[derive(Serialize, ToSchema)]
#[schema(as = RegistryMode)]
pub(super) struct Mode {
    pub(super) mode: &'static str,
}

pub(super) fn subject_of(schema: &PinnedSchema) -> String {
    format!("{}-value", schema.subject)
}

/// The versions of a subject, by number from 1.
pub(super) fn versions_of(subject: &str) -> Result<Vec<(usize, &'static PinnedSchema)>, RegistryError> {
    let own = codec::schemas().values().filter(|schema| subject_of(schema) == subject);
    let versions: Vec<_> = (1..).zip(own).collect();
    if versions.is_empty() { Err(RegistryError::no_subject()) } else { Ok(versions) }
}

pub(super) fn find_version(subject: &str, version: &str) -> Result<RegisteredSchema, RegistryError> {
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

pub(super) fn find_id(id: &str) -> Result<&'static PinnedSchema, RegistryError> {
    let id = id.parse().map_err(|_| RegistryError::no_schema())?;
    codec::schemas().get(&id).ok_or_else(RegistryError::no_schema)
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
