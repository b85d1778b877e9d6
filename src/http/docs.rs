//! `/docs`: the document for people, as Swagger UI, which is part of the program.

use std::sync::{Arc, LazyLock};

use axum::http::header;
use axum::response::{IntoResponse, Redirect, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::Config;

use super::{ApiError, NoParameters, Path};

/// The validator of swagger.io would be asked for a badge on each visit.
static CONFIG: LazyLock<Arc<Config<'static>>> =
    LazyLock::new(|| Arc::new(Config::from("/openapi.json").validator_url("none").deep_linking(true)));

/// With it, no browser fetches anything from elsewhere, whatever the page would like.
const POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:";

/// Its routes.
pub(super) fn router() -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(page)).routes(routes!(index)).routes(routes!(file))
}

/// Leads to the page.
#[utoipa::path(
    get,
    path = "/docs",
    operation_id = "redirectToDocs",
    tag = "process",
    responses((status = 308, description = "The page is at `/docs/`.", headers(("Location" = String))))
)]
async fn page(_: NoParameters) -> Redirect {
    Redirect::permanent("/docs/")
}

/// This document as a page.
#[utoipa::path(
    get,
    path = "/docs/",
    operation_id = "showDocs",
    tag = "process",
    responses((status = 200, description = "The page.", body = String, content_type = "text/html"))
)]
async fn index(_: NoParameters) -> Result<Response, ApiError> {
    part("index.html")
}

/// What the page is made of.
#[utoipa::path(
    get,
    path = "/docs/{file}",
    operation_id = "getDocsFile",
    tag = "process",
    params(("file" = String, Path, description = "A script, style or image of the page.")),
    responses((status = 200, description = "The file.", content(
        ("text/javascript"), ("text/css"), ("text/html"), ("image/png")
    )))
)]
async fn file(Path(name): Path<String>, _: NoParameters) -> Result<Response, ApiError> {
    part(&name)
}

fn part(name: &str) -> Result<Response, ApiError> {
    // It takes no name for the index.
    let file = if name.is_empty() {
        None
    } else {
        utoipa_swagger_ui::serve(name, CONFIG.clone()).map_err(ApiError::internal)?
    };
    let file = file.ok_or_else(|| ApiError::not_found("the docs have no such file"))?;
    let headers =
        [(header::CONTENT_TYPE, file.content_type.as_str()), (header::CONTENT_SECURITY_POLICY, POLICY)];
    Ok((headers, file.bytes.into_owned()).into_response())
}
