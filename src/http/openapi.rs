//! The API's description of itself: OpenAPI 3.1, made of the routes that a process serves.
//!
//! A route's own attribute says what is particular to it. What follows from its form is added here, once for all: who
//! needs a key is told 401 and 403, who sends a body 413 and 415, and so on.

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use utoipa::openapi::header::Header;
use utoipa::openapi::path::Operation;
use utoipa::openapi::response::Response;
use utoipa::openapi::{ContentBuilder, OpenApi, PathItem, Ref, RefOr, Server, schema};
use utoipa::{Modify, OpenApi as _, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::docs;
use super::{ApiError, NoParameters};

/// The name of the scheme `Authorization: Bearer KEY`, for `security` in the attributes of routes.
pub const BEARER: &str = "bearer";
/// The name of the scheme `X-Api-Key: KEY`.
pub const API_KEY: &str = "api_key";

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Tidewatch",
        description = "Events in, findings out. Errors have one body: `{\"error\": {\"code\", \"message\", \"details\": \
            {\"field\", \"reason\"}}}`; the details are there where a part of the request is refused. Each answer has an \
            `X-Request-Id`: the request's own, or a new one."
    ),
    components(schemas(ErrorBody)),
    modifiers(&Security),
    tags(
        (name = "ingest", description = "Events in."),
        (name = "read", description = "What came of them."),
        (name = "settings", description = "What operators go by."),
        (name = "backtests", description = "What other settings would have found."),
        (name = "registry", description = "The schemas of the topics, as Confluent's clients ask for them."),
        (name = "process", description = "The process itself.")
    )
)]
struct Document;

struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut OpenApi) {
        use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
        let components = document.components.get_or_insert_default();
        let bearer =
            HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("An API key.")).build();
        components.add_security_scheme(BEARER, SecurityScheme::Http(bearer));
        let key = ApiKeyValue::with_description("X-Api-Key", "An API key.");
        components.add_security_scheme(API_KEY, SecurityScheme::ApiKey(ApiKey::Header(key)));
    }
}

/// The body of every error. Some have further fields beside `error`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what ApiError writes")]
pub(crate) struct ErrorBody {
    error: ApiError,
}

/// A router without routes, to which those of the roles are added.
pub fn router() -> OpenApiRouter {
    OpenApiRouter::with_openapi(Document::openapi())
}

/// The routes with `/openapi.json`, which describes them all, and `/docs`, which shows it.
pub fn with_document(router: OpenApiRouter) -> Router {
    let (router, mut document) = router.merge(docs::router()).routes(routes!(document)).split_for_parts();
    complete(&mut document);
    let text: axum::body::Bytes = document.to_json().unwrap_or_default().into();
    router.layer(axum::Extension(Text(text)))
}

/// The document as it is served.
#[derive(Clone)]
struct Text(axum::body::Bytes);

/// This document: the routes of this process.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "getOpenApi",
    tag = "process",
    responses((status = 200, description = "OpenAPI 3.1.", body = serde_json::Value))
)]
async fn document(_: NoParameters, axum::Extension(Text(text)): axum::Extension<Text>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], text)
}

/// A refusal that follows from the form of an operation.
struct Refusal {
    status: &'static str,
    name: &'static str,
    description: &'static str,
    header: Option<(&'static str, &'static str)>,
    applies: fn(&Operation) -> bool,
}

const REFUSALS: [Refusal; 9] = [
    Refusal {
        status: "400",
        name: "MalformedBody",
        description: "The body is no JSON, or could not be read to its end.",
        header: None,
        applies: |operation| operation.request_body.is_some(),
    },
    Refusal {
        status: "401",
        name: "Unauthorized",
        description: "No API key, or an unknown one.",
        header: Some(("WWW-Authenticate", "`Bearer`.")),
        applies: needs_key,
    },
    Refusal {
        status: "403",
        name: "Forbidden",
        description: "The API key lacks the scope.",
        header: None,
        applies: needs_key,
    },
    Refusal {
        status: "404",
        name: "NotFound",
        description: "There is nothing of that name, or it is another tenant's.",
        header: None,
        applies: |operation| has_path_parameter(operation),
    },
    Refusal {
        status: "413",
        name: "TooLarge",
        description: "The body has too many bytes or items.",
        header: None,
        applies: |operation| operation.request_body.is_some(),
    },
    Refusal {
        status: "415",
        name: "UnsupportedMediaType",
        description: "The body's type is not `application/json`, or its encoding is not known.",
        header: None,
        applies: |operation| operation.request_body.is_some(),
    },
    Refusal {
        status: "422",
        name: "NotAllowed",
        description: "A value is not allowed, or a parameter or body is not known here; `details` names it.",
        header: None,
        applies: |_| true,
    },
    Refusal {
        status: "500",
        name: "Internal",
        description: "A fault of the server, whose log has the cause by the request's id.",
        header: None,
        applies: |_| true,
    },
    Refusal {
        status: "503",
        name: "Unavailable",
        description: "Not now: a store is away, the answer took too long, or too many requests are at work.",
        header: Some(("Retry-After", "Seconds after which to try again.")),
        applies: |_| true,
    },
];

fn needs_key(operation: &Operation) -> bool {
    operation.security.as_ref().is_some_and(|security| !security.is_empty())
}

fn has_path_parameter(operation: &Operation) -> bool {
    use utoipa::openapi::path::ParameterIn;
    operation.parameters.iter().flatten().any(
        |parameter| matches!(parameter, RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Path),
    )
}

/// Adds what follows from the form of each operation.
fn complete(document: &mut OpenApi) {
    document.servers = Some(vec![Server::new("/")]);
    for operation in document.paths.paths.values_mut().flat_map(operations) {
        // Said of every operation: what names no key needs none.
        operation.security.get_or_insert_default();
        let refusals: Vec<_> = REFUSALS.iter().filter(|refusal| (refusal.applies)(operation)).collect();
        for refusal in refusals {
            let own = operation.responses.responses.entry(refusal.status.to_owned());
            own.or_insert_with(|| RefOr::Ref(Ref::from_response_name(refusal.name)));
        }
        for response in operation.responses.responses.values_mut() {
            if let RefOr::T(response) = response {
                add_request_id(response);
            }
        }
    }
    let components = document.components.get_or_insert_default();
    for Refusal { name, description, header, .. } in REFUSALS {
        let mut response = Response::new(description);
        let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("ErrorBody"))).build();
        response.content.insert("application/json".to_owned(), RefOr::T(body));
        if let Some((name, description)) = header {
            response.headers.insert(name.to_owned(), RefOr::T(text_header(description)));
        }
        add_request_id(&mut response);
        components.responses.insert(name.to_owned(), RefOr::T(response));
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete].into_iter().flatten()
}

fn add_request_id(response: &mut Response) {
    response.headers.insert("X-Request-Id".to_owned(), RefOr::T(text_header("The request's id.")));
}

fn text_header(description: &str) -> Header {
    let mut header = Header::new(schema::Object::with_type(schema::Type::String));
    header.description = Some(description.to_owned());
    header
}
