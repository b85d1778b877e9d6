//! `GET /v1/resources`: the resources that there are, for clients that know none of them by name.

use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use serde::Serialize;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::{ContentBuilder, Ref};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use super::openapi::Described;
use super::{Shared, openapi, routes};
use crate::http::{CanRead, NoParameters};
use crate::resource::{Field, FieldType, Filter, Operand, Resource, ValueType};

/// The resources that there are.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Resources)]
struct Catalogue {
    resources: Vec<Entry>,
}

/// A resource.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Resource)]
struct Entry {
    /// Its list is `/v1/{path}`, a row of it `/v1/{path}/{id}`.
    path: &'static str,
    /// What one row is called; so is the event of a stream that tells of it.
    noun: &'static str,
    /// The name of the rows in a list.
    member: String,
    /// The time that lists are sorted by, the newest first.
    sort: &'static str,
    /// Whether there is `/v1/{path}/stream`.
    stream: bool,
    /// What an answer has, in its order.
    fields: Vec<FieldEntry>,
    /// What lists can be asked for.
    filters: Vec<FilterEntry>,
    /// The lists behind an id: `/v1/{path}/{id}/{list}`.
    lists: Vec<ListEntry>,
}

/// A field of an answer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ResourceField)]
struct FieldEntry {
    name: &'static str,
    /// `boolean`, `integer`, `number`, `string`, `uuid`, `date-time`, `enum`, `array`, `map` or `record`.
    r#type: &'static str,
    nullable: bool,
    /// Of an `enum`.
    #[serde(skip_serializing_if = "Option::is_none")]
    symbols: Option<&'static [String]>,
    doc: Option<&'static str>,
}

/// A parameter of a list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ResourceFilter)]
struct FilterEntry {
    /// The parameter; one that ends in `.*` stands for all that begin so.
    name: String,
    /// As of a field.
    r#type: &'static str,
    /// Of an `enum`.
    #[serde(skip_serializing_if = "Option::is_none")]
    symbols: Option<&'static [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    minimum: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maximum: Option<i64>,
    doc: &'static str,
}

/// A list behind an id.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ResourceList)]
struct ListEntry {
    /// Its path behind the id.
    path: &'static str,
    /// The resource of its rows.
    resource: &'static str,
}

impl FieldEntry {
    fn of(field: &'static Field) -> Self {
        let nullable = matches!(field.r#type, FieldType::Nullable(_));
        let (r#type, symbols) = match field.r#type.not_null() {
            FieldType::Boolean => ("boolean", None),
            // A version, which is a text for clients whose numbers end at 2^53.
            FieldType::Integer if field.is_version() => ("string", None),
            FieldType::Integer => ("integer", None),
            FieldType::Float | FieldType::Double => ("number", None),
            FieldType::Text | FieldType::Bytes | FieldType::Nullable(_) => ("string", None),
            FieldType::Uuid => ("uuid", None),
            FieldType::Time => ("date-time", None),
            FieldType::Enum(symbols) => ("enum", Some(symbols.as_slice())),
            FieldType::Array(_) => ("array", None),
            FieldType::Map(_) => ("map", None),
            FieldType::Record(..) => ("record", None),
        };
        Self { name: &field.name, r#type, nullable, symbols, doc: field.doc }
    }
}

impl FilterEntry {
    fn of(filter: &'static Filter) -> Self {
        let is_any = matches!(filter.test.operand, Operand::NamedEntry(_));
        let name = format!("{}{}", filter.name, if is_any { "*" } else { "" });
        let entry =
            Self { name, r#type: "string", symbols: None, minimum: None, maximum: None, doc: filter.doc };
        match &filter.value {
            ValueType::Text => entry,
            ValueType::Enum(symbols) => Self { r#type: "enum", symbols: Some(symbols), ..entry },
            ValueType::Uuid => Self { r#type: "uuid", ..entry },
            ValueType::Boolean => Self { r#type: "boolean", ..entry },
            ValueType::Time => Self { r#type: "date-time", ..entry },
            &ValueType::Integer(minimum, maximum) => Self { r#type: "integer", minimum, maximum, ..entry },
        }
    }
}

impl Catalogue {
    fn of(resources: &'static [Resource]) -> Self {
        let lists = |path: &str| {
            let parents = resources.iter().flat_map(|of| of.parents.iter().map(move |parent| (of, parent)));
            let own = parents.filter(|(_, parent)| parent.resource == path);
            own.map(|(of, parent)| ListEntry { path: parent.path, resource: of.path() }).collect()
        };
        let entry = |resource: &'static Resource| Entry {
            path: resource.path(),
            noun: resource.noun(),
            member: resource.member(),
            sort: &resource.declaration.sort,
            stream: resource.declaration.stream,
            fields: resource.fields.iter().map(FieldEntry::of).collect(),
            filters: resource.filters.iter().map(FilterEntry::of).collect(),
            lists: lists(resource.path()),
        };
        Self { resources: resources.iter().map(entry).collect() }
    }
}

/// The route.
pub fn router(resources: &'static [Resource]) -> OpenApiRouter<Shared> {
    // Made of texts and numbers alone: there is nothing that has no JSON.
    let catalogue = Bytes::from(serde_json::to_vec(&Catalogue::of(resources)).unwrap_or_default());
    let handler = move |_: CanRead, _: NoParameters| {
        let json = catalogue.clone();
        async move { ([(header::CONTENT_TYPE, "application/json")], json).into_response() }
    };
    let body = ContentBuilder::new().schema(Some(Ref::from_schema_name(Catalogue::name()))).build();
    let response =
        ResponseBuilder::new().description("Every resource.").content("application/json", body).build();
    let operation = openapi::reading("listResources")
        .summary(Some("The resources that there are: their fields, filters, streams and lists."))
        .response("200", response);
    let mut schemas = vec![(Catalogue::name().into_owned(), Catalogue::schema())];
    Catalogue::schemas(&mut schemas);
    let described = Described::new("/v1/resources", schemas, operation.build());
    OpenApiRouter::new().routes(routes::route(described, get(handler)))
}
