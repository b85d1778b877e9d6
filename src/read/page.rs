//! The page at `/`: service levels and incidents as they arrive, for people on call.
//!
//! Its files are part of the binary, without a build step and without anything from another host. It is a client of the
//! API like any other: it asks for an API key, so its files themselves are nobody's secret and need none.

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};

/// A file of the page.
struct File {
    route: &'static str,
    content_type: &'static str,
    content: &'static str,
}

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! file {
    ($route:literal, $content_type:expr, $name:literal) => {
        File { route: $route, content_type: $content_type, content: include_str!(concat!("page/", $name)) }
    };
}

static FILES: [File; 14] = [
    file!("/", "text/html; charset=utf-8", "index.html"),
    file!("/page/style.css", "text/css; charset=utf-8", "style.css"),
    file!("/page/icon.svg", "image/svg+xml", "icon.svg"),
    file!("/page/page.js", JAVASCRIPT, "page.js"),
    file!("/page/api.js", JAVASCRIPT, "api.js"),
    file!("/page/detail.js", JAVASCRIPT, "detail.js"),
    file!("/page/dom.js", JAVASCRIPT, "dom.js"),
    file!("/page/events.js", JAVASCRIPT, "events.js"),
    file!("/page/incidents.js", JAVASCRIPT, "incidents.js"),
    file!("/page/levels.js", JAVASCRIPT, "levels.js"),
    file!("/page/list.js", JAVASCRIPT, "list.js"),
    file!("/page/resources.js", JAVASCRIPT, "resources.js"),
    file!("/page/timeline.js", JAVASCRIPT, "timeline.js"),
    file!("/page/view.js", JAVASCRIPT, "view.js"),
];

/// Nothing but the page's own files, and requests to its own server; nobody may frame it.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    // Small files, and a new version of the program must not meet an old script: ask each time, by the tag.
    (header::CACHE_CONTROL, "no-cache"),
];

/// The routes of the page.
pub fn router() -> Router {
    FILES.iter().fold(Router::new(), |router, file| {
        let tag = tag(file.content);
        router.route(file.route, get(async move |headers: HeaderMap| file.answer(&tag, &headers)))
    })
}

/// The entity tag of a content.
fn tag(content: &str) -> String {
    let digest = Sha256::digest(content);
    let digits: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{digits}\"")
}

impl File {
    fn answer(&self, tag: &str, request: &HeaderMap) -> Response {
        let mut response = if knows(request, tag) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            ([(header::CONTENT_TYPE, self.content_type)], self.content).into_response()
        };
        let headers = response.headers_mut();
        headers.extend(HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));
        headers.extend(HeaderValue::from_str(tag).map(|tag| (header::ETAG, tag)));
        response
    }
}

/// Whether the client has the content of this tag.
fn knows(request: &HeaderMap, tag: &str) -> bool {
    let named = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    named.flat_map(|value| value.split(',')).map(str::trim).any(|known| {
        // A compressing proxy makes a tag weak.
        known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;

    async fn get(route: &str, tag: Option<&str>) -> Response {
        let mut request = Request::get(route);
        if let Some(tag) = tag {
            request = request.header(header::IF_NONE_MATCH, tag);
        }
        router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn every_file_is_served_with_its_type_and_asked_for_again_by_its_tag() {
        for file in &FILES {
            let response = get(file.route, None).await;
            assert_eq!(response.status(), StatusCode::OK, "{}", file.route);
            assert_eq!(response.headers()[header::CONTENT_TYPE], file.content_type);
            assert!(response.headers().contains_key(header::CONTENT_SECURITY_POLICY), "{}", file.route);
            let tag = response.headers()[header::ETAG].to_str().unwrap().to_owned();
            let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
            assert_eq!(body, file.content.as_bytes());

            for known in [tag.clone(), format!("\"other\", {tag}"), format!("W/{tag}"), "*".to_owned()] {
                let response = get(file.route, Some(&known)).await;
                assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{known}");
                assert!(to_bytes(response.into_body(), usize::MAX).await.unwrap().is_empty());
            }
            assert_eq!(get(file.route, Some("\"other\"")).await.status(), StatusCode::OK);
        }
    }

    /// A file that was forgotten in the list would be missed by a browser only.
    #[test]
    fn every_file_of_the_folder_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/read/page");
        let mut found: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
            .collect();
        let mut served: Vec<&str> = FILES.iter().map(|file| file.content).collect();
        found.sort_unstable();
        served.sort_unstable();
        assert_eq!(found, served);
    }
}
