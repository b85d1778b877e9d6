//! What the API says of resources in its own description, made of their declarations and schemas.

use serde_json::Value;
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, Paths,
};
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{
    AdditionalProperties, AllOfBuilder, ArrayBuilder, KnownFormat, Object, ObjectBuilder, SchemaFormat,
    SchemaType, Type,
};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{ContentBuilder, Header, Ref, RefOr, Required, Schema};

use super::parameters::MAX_LIMIT;
use crate::http::openapi::{API_KEY, BEARER};
use crate::resource::{Field, FieldType, Filter, Operand, Resource, ValueType};

/// A route of a resource, described: where it is, and what is asked and answered.
pub struct Described {
    /// The schemas that it refers to.
    pub schemas: Vec<(String, RefOr<Schema>)>,
    /// The route.
    pub paths: Paths,
}

impl Described {
    /// A `GET` route.
    pub fn new(path: &str, schemas: Vec<(String, RefOr<Schema>)>, operation: Operation) -> Self {
        let mut paths = Paths::new();
        paths.add_path_operation(path, vec![HttpMethod::Get], operation);
        Self { schemas, paths }
    }
}

/// `GET /v1/{path}`.
pub fn list(resource: &Resource) -> Described {
    let operation = reading(&format!("list{}", pascal(resource.path())))
        .summary(Some(format!("{} in pages, the newest first.", sentence(resource.path()))))
        .description(Some([about(resource), named_entries(resource)].join(" ").trim().to_owned()));
    let parameters = resource.filters.iter().filter_map(filter).chain(paging()).chain(conditional());
    let operation =
        with(operation, parameters).response("200", page(resource)).response("304", known("page"));
    Described::new(&resource.route, schemas(resource), operation.build())
}

/// `GET /v1/{path}/{id}`.
pub fn one(resource: &Resource) -> Described {
    let operation = reading(&format!("get{}", pascal(resource.noun())))
        .summary(Some(format!("One {} as it stands.", resource.noun())))
        .description(Some(about(resource)));
    let response = dated("The row.", Ref::from_schema_name(resource.name), "Its version.");
    let operation = with(operation, [id(resource)].into_iter().chain(conditional()));
    let operation = operation.response("200", response).response("304", known("version"));
    Described::new(&format!("{}/{{id}}", resource.route), schemas(resource), operation.build())
}

/// `GET /v1/{parent}/{id}/{path}`.
pub fn of_parent(resource: &Resource, parent: &Resource, path: &str) -> Described {
    let operation = reading(&format!("list{}{}", pascal(parent.noun()), pascal(path)))
        .summary(Some(format!("The {path} of one {}, in pages, the newest first.", parent.noun())));
    let parameters = [id(parent)].into_iter().chain(paging()).chain(conditional());
    let operation =
        with(operation, parameters).response("200", page(resource)).response("304", known("page"));
    Described::new(&format!("{}/{{id}}/{path}", parent.route), schemas(resource), operation.build())
}

/// `GET /v1/{path}/stream`.
pub fn stream(resource: &Resource) -> Described {
    let (noun, route) = (resource.noun(), &resource.route);
    let description = format!(
        "Server-sent events: `{noun}` with what `{route}/{{id}}` answers, `retraction` with `id`, `version` and \
         `merged_into`, `reset` where what was missed is gone from the log. The id of an event is where to go on. {}",
        named_entries(resource)
    );
    let operation = reading(&format!("stream{}", pascal(resource.path())))
        .summary(Some(format!("{} as they are found, corrected and retracted.", sentence(resource.path()))))
        .description(Some(description.trim()));
    let begin = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["now", "stored"]));
    let begin = query(
        "begin",
        "Where to begin without a `Last-Event-ID`: `now`, or `stored`, with what the tables do not hold yet. A list that is \
         read once such a stream has begun and the stream have everything between them, some of it both; the higher version \
         holds.",
        begin.build(),
    );
    let last =
        header("Last-Event-ID", "The id of the last event that was seen: what came since is told first.");
    let parameters = resource.filters.iter().filter_map(filter).chain([begin, last]);
    let events = ContentBuilder::new().schema(Some(Object::with_type(Type::String))).build();
    let response = ResponseBuilder::new()
        .description("Events, for as long as the client listens.")
        .content("text/event-stream", events)
        .build();
    let operation = with(operation, parameters).response("200", response);
    Described::new(&format!("{route}/stream"), Vec::new(), operation.build())
}

/// A route about one row of a resource; in its operation's id `{}` stands for what a row is called.
pub fn of_row(id_of: &str, resource: &Resource, summary: &str) -> OperationBuilder {
    let operation = reading(&id_of.replace("{}", &pascal(resource.noun()))).summary(Some(summary));
    with(operation, [id(resource)])
}

/// An operation that needs a key with the scope `read`.
pub fn reading(id: &str) -> OperationBuilder {
    OperationBuilder::new()
        .tag("read")
        .operation_id(Some(id))
        .security(SecurityRequirement::new(BEARER, ["read"]))
        .security(SecurityRequirement::new(API_KEY, ["read"]))
}

/// The operation with these parameters.
pub fn with(
    operation: OperationBuilder,
    parameters: impl IntoIterator<Item = Parameter>,
) -> OperationBuilder {
    parameters.into_iter().fold(operation, OperationBuilder::parameter)
}

/// An answer of rows, which says up to where it holds; and what its tag is of.
pub fn dated(description: &str, rows: impl Into<RefOr<Schema>>, tag: &str) -> Response {
    let body = AllOfBuilder::new().item(rows).item(freshness()).build();
    let content = ContentBuilder::new().schema(Some(Schema::from(body))).build();
    let header = |description: &str| {
        let mut header = Header::new(Object::with_type(Type::String));
        header.description = Some(description.to_owned());
        header
    };
    ResponseBuilder::new()
        .description(description)
        .content("application/json", content)
        .header("ETag", header(tag))
        .header("X-As-Of", header("`as_of`."))
        .build()
}

fn page(resource: &Resource) -> Response {
    let rows = ArrayBuilder::new().items(Ref::from_schema_name(resource.name)).build();
    let cursor =
        nullable(Object::with_type(Type::String), "Where the next page begins; `null` on the last one.");
    let total = described(integer(), "How many match the filters, on all pages.");
    let page = ObjectBuilder::new()
        .property(resource.member(), rows)
        .required(resource.member())
        .property("next_cursor", cursor)
        .required("next_cursor")
        .property("total", total)
        .required("total");
    dated("A page.", page, "Of the page.")
}

/// The answer 304.
pub fn known(what: &str) -> Response {
    Response::new(format!("The client has this {what}."))
}

/// What every answer of rows says of itself.
pub fn freshness() -> Schema {
    let as_of = "The answer holds what follows from the log up to this position, at least.";
    let stale = "The answer may be older than `min_as_of`, or a store is away.";
    ObjectBuilder::new()
        .property("as_of", described(Object::with_type(Type::String), as_of))
        .required("as_of")
        .property("stale", described(Object::with_type(Type::Boolean), stale))
        .required("stale")
        .into()
}

/// The parameter `min_as_of`.
pub fn min_as_of() -> Parameter {
    let description = "Waits, at most 2 s, until the answer holds this position: the `X-Log-Position` of an answer to events. \
        Where it does not come so far, the answer says `stale`.";
    query("min_as_of", description, Object::with_type(Type::String))
}

/// The header `If-None-Match`.
pub fn if_none_match() -> Parameter {
    header("If-None-Match", "The ETag of an answer that the client has: 304 where it still holds.")
}

/// The parameters that say how new an answer has to be, and what is known of it.
pub fn conditional() -> [Parameter; 2] {
    [min_as_of(), if_none_match()]
}

/// The parameters that say which page.
pub fn paging() -> [Parameter; 2] {
    let limit = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(1))
        .maximum(Some(MAX_LIMIT as f64))
        .build();
    [
        query("limit", "Rows of a page; 100 without it.", limit),
        query("cursor", "The `next_cursor` of the page before.", Object::with_type(Type::String)),
    ]
}

/// A time that is asked for.
pub fn time(name: &str, description: &str) -> Parameter {
    query(name, description, of_format(KnownFormat::DateTime))
}

fn query(name: &str, description: &str, schema: Object) -> Parameter {
    parameter(name, ParameterIn::Query, Required::False, description, schema)
}

fn header(name: &str, description: &str) -> Parameter {
    parameter(name, ParameterIn::Header, Required::False, description, Object::with_type(Type::String))
}

/// The id of a row in the path.
pub fn id(resource: &Resource) -> Parameter {
    let description = format!("The id of the {}.", resource.noun());
    parameter("id", ParameterIn::Path, Required::True, &description, of_format(KnownFormat::Uuid))
}

fn parameter(
    name: &str,
    place: ParameterIn,
    required: Required,
    description: &str,
    schema: Object,
) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

/// A filter as a parameter; one that stands for many has no name of its own.
fn filter(filter: &Filter) -> Option<Parameter> {
    if matches!(filter.test.operand, Operand::NamedEntry(_)) {
        return None;
    }
    let schema = match &filter.value {
        ValueType::Text => Object::with_type(Type::String),
        ValueType::Uuid => of_format(KnownFormat::Uuid),
        ValueType::Time => of_format(KnownFormat::DateTime),
        ValueType::Boolean => Object::with_type(Type::Boolean),
        ValueType::Enum(symbols) => {
            ObjectBuilder::new().schema_type(Type::String).enum_values(Some(symbols.iter().cloned())).build()
        }
        ValueType::Integer(minimum, maximum) => ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(minimum.map(|number| number as f64))
            .maximum(maximum.map(|number| number as f64))
            .build(),
    };
    Some(query(filter.name, filter.doc, schema))
}

/// What there is to say of filters that stand for many.
fn named_entries(resource: &Resource) -> String {
    let named =
        resource.filters.iter().filter(|filter| matches!(filter.test.operand, Operand::NamedEntry(_)));
    let said = named.map(|filter| format!("A parameter `{}NAME` asks for: {}", filter.name, filter.doc));
    said.collect::<Vec<_>>().join(" ")
}

/// What a row is: the first sentence of its schema's description, for the others are of the log.
fn about(resource: &Resource) -> String {
    let doc = resource.doc.unwrap_or_default();
    doc.split_inclusive(". ").next().unwrap_or_default().trim().to_owned()
}

/// The schema of a resource's rows, and those of the records in them.
fn schemas(resource: &Resource) -> Vec<(String, RefOr<Schema>)> {
    let mut schemas = Vec::new();
    let object = resource.fields.iter().fold(ObjectBuilder::new(), |object, field| {
        records(&field.r#type, &mut schemas);
        object.property(field.name.as_str(), of_field(field)).required(field.name.as_str())
    });
    schemas.push((resource.name.to_owned(), object.description(Some(about(resource))).into()));
    schemas
}

fn records(r#type: &FieldType, schemas: &mut Vec<(String, RefOr<Schema>)>) {
    match r#type {
        FieldType::Nullable(inner) | FieldType::Array(inner) | FieldType::Map(inner) => {
            records(inner, schemas)
        }
        FieldType::Record(name, fields) => {
            let object = fields.iter().fold(ObjectBuilder::new(), |object, field| {
                records(&field.r#type, schemas);
                object.property(field.name, of_type(&field.r#type, field.doc)).required(field.name)
            });
            schemas.push(((*name).to_owned(), object.into()));
        }
        _ => {}
    }
}

fn of_field(field: &Field) -> RefOr<Schema> {
    if !field.is_version() {
        return of_type(&field.r#type, field.doc);
    }
    let doc = field.doc.unwrap_or_default();
    let doc = format!("{doc} As a text, for many a client's numbers end at 2^53.");
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some("^[0-9]+$"))
        .description(Some(doc.trim()))
        .into()
}

fn of_type(r#type: &FieldType, doc: Option<&str>) -> RefOr<Schema> {
    let plain = |mut object: Object| {
        object.description = doc.map(str::to_owned);
        object.into()
    };
    match r#type {
        FieldType::Boolean => plain(Object::with_type(Type::Boolean)),
        FieldType::Integer => plain(integer()),
        FieldType::Float | FieldType::Double => plain(Object::with_type(Type::Number)),
        FieldType::Text | FieldType::Bytes => plain(Object::with_type(Type::String)),
        FieldType::Uuid => plain(of_format(KnownFormat::Uuid)),
        FieldType::Time => plain(of_format(KnownFormat::DateTime)),
        FieldType::Enum(symbols) => plain(
            ObjectBuilder::new().schema_type(Type::String).enum_values(Some(symbols.iter().cloned())).build(),
        ),
        FieldType::Nullable(inner) => match of_type(inner, doc) {
            RefOr::T(Schema::Object(object)) => nullable(object, doc.unwrap_or_default()).into(),
            other => other,
        },
        FieldType::Array(items) => ArrayBuilder::new().items(of_type(items, None)).description(doc).into(),
        FieldType::Map(values) => ObjectBuilder::new()
            .schema_type(Type::Object)
            .additional_properties(Some(AdditionalProperties::RefOr(of_type(values, None))))
            .description(doc)
            .into(),
        FieldType::Record(name, _) => Ref::from_schema_name(*name).into(),
    }
}

fn integer() -> Object {
    let mut object = Object::with_type(Type::Integer);
    object.format = Some(SchemaFormat::KnownFormat(KnownFormat::Int64));
    object
}

fn of_format(format: KnownFormat) -> Object {
    let mut object = Object::with_type(Type::String);
    object.format = Some(SchemaFormat::KnownFormat(format));
    object
}

fn described(mut object: Object, description: &str) -> Object {
    object.description = Some(description.to_owned());
    object
}

/// The same, or null.
pub fn nullable(mut object: Object, description: &str) -> Object {
    if let SchemaType::Type(r#type) = object.schema_type {
        object.schema_type = SchemaType::from_iter([r#type, Type::Null]);
    }
    if let Some(symbols) = &mut object.enum_values {
        symbols.push(Value::Null);
    }
    described(object, description)
}

/// `sla-metrics`: `SlaMetrics`.
fn pascal(name: &str) -> String {
    name.split('-').map(sentence).collect()
}

/// `incidents`: `Incidents`.
fn sentence(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map(|first| first.to_uppercase().chain(rest).collect()).unwrap_or_default()
}
