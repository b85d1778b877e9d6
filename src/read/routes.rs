//! The routes of resources, as they are declared: lists, rows by id, lists of another's row, streams.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use super::conditions::{Conditions, Value};
use super::list::ListRequest;
use super::openapi::Described;
use super::parameters::Parameters;
use super::positions::{Reader, Source};
use super::queries::TenantQueries;
use super::{Shared, answers, by_id, list, openapi, stream};
use crate::http::{ApiError, Path};
use crate::resource::{Filter, Resource};

/// The routes of all of them.
pub fn router(resources: &'static [Resource]) -> OpenApiRouter<Shared> {
    let mut router = OpenApiRouter::new();
    for resource in resources {
        router = router.routes(route(openapi::list(resource), list_of(resource)));
        router = router.routes(route(openapi::one(resource), one_of(resource)));
        if resource.declaration.stream {
            router = router.routes(route(openapi::stream(resource), stream::of(resource)));
        }
        for parent in &resource.parents {
            let Some(of) = resources.iter().find(|other| other.path() == parent.resource) else { continue };
            let described = openapi::of_parent(resource, of, parent.path);
            router = router.routes(route(described, list_of_parent(resource, of, &parent.filter)));
        }
    }
    router
}

/// A route with its description.
pub fn route<S>(described: Described, method: MethodRouter<S>) -> UtoipaMethodRouter<S> {
    (described.schemas, described.paths, method)
}

fn list_of(resource: &'static Resource) -> MethodRouter<Shared> {
    let handler = async move |queries: TenantQueries,
                              State(shared): State<Shared>,
                              headers: HeaderMap,
                              mut parameters: Parameters|
                -> Result<Response, ApiError> {
        let wanted = answers::wanted(&mut parameters)?;
        let request = ListRequest::parse(resource, parameters)?;
        let sources = [Source::Rows(resource.topic(), Reader::Tables)];
        let Shared { live, cache, .. } = &shared;
        let mut freshness = live.reached(&sources, wanted.as_ref()).await;
        let page = list::page(resource, &queries, live, cache, &request, &mut freshness).await?;
        Ok(page.body.respond(&headers, &freshness))
    };
    get(handler)
}

fn one_of(resource: &'static Resource) -> MethodRouter<Shared> {
    let handler = async move |queries: TenantQueries,
                              State(shared): State<Shared>,
                              Path(id): Path<String>,
                              headers: HeaderMap,
                              mut parameters: Parameters|
                -> Result<Response, ApiError> {
        let wanted = answers::wanted(&mut parameters)?;
        parameters.finish()?;
        let id = by_id::id_of(resource, &id)?;
        let sources = [Source::Rows(resource.topic(), Reader::Tail)];
        let mut freshness = shared.live.reached(&sources, wanted.as_ref()).await;
        let row = by_id::find(resource, &queries, &shared.live, id, &mut freshness).await?;
        Ok(answers::of_row(&headers, row.version, &row.json, &freshness))
    };
    get(handler)
}

/// The rows of `resource` whose `filter` names the id of a row of `parent`.
fn list_of_parent(
    resource: &'static Resource,
    parent: &'static Resource,
    filter: &'static Filter,
) -> MethodRouter<Shared> {
    let handler = async move |queries: TenantQueries,
                              State(shared): State<Shared>,
                              Path(id): Path<String>,
                              headers: HeaderMap,
                              mut parameters: Parameters|
                -> Result<Response, ApiError> {
        let wanted = answers::wanted(&mut parameters)?;
        let mut request = ListRequest::parse_with(Conditions::default(), parameters)?;
        let id = by_id::id_of(parent, &id)?;
        request.conditions = request.conditions.and(filter, Value::Uuid(id));
        let sources =
            [Source::Rows(parent.topic(), Reader::Tail), Source::Rows(resource.topic(), Reader::Tables)];
        let Shared { live, cache, .. } = &shared;
        let mut freshness = live.reached(&sources, wanted.as_ref()).await;
        // Whether there is such a row.
        by_id::find(parent, &queries, live, id, &mut freshness).await?;
        let page = list::page(resource, &queries, live, cache, &request, &mut freshness).await?;
        Ok(page.body.respond(&headers, &freshness))
    };
    get(handler)
}
