//! URLs and routes without ids, searches and secrets: origin, templated path, the names of the query's parameters.

use std::borrow::Cow;
use std::collections::BTreeSet;

use percent_encoding::percent_decode_str;
use regex::Regex;
use url::{ParseError, Url, form_urlencoded};

use crate::ingest::sanitise;

/// What stands in a path for an id.
pub const ID: &str = ":id";
/// What stands in a query for a value that is allowed by its name, but not by what it is.
const VALUE: &str = ":value";

/// A path keeps so many segments.
const SEGMENTS: usize = 32;
/// A segment longer than this is no name.
const SEGMENT: usize = 64;
/// A query keeps so many names.
const NAMES: usize = 32;
/// The longest value of a query.
const QUERY_VALUE: usize = 64;
/// What is in front of a path that has no origin.
const NOWHERE: &str = "http://relative.invalid";

/// A URL as the log holds it, and the route that follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Origin, route, and of the query what may be kept.
    pub url: String,
    /// The path, and the fragment where that is a route (`#/…`).
    pub route: String,
}

/// The rules by which URLs are cleaned.
pub struct Urls {
    allowed: BTreeSet<String>,
    ids: Option<Regex>,
}

impl Urls {
    /// `allowed` are the names of the query's parameters whose values stay; a path's segment that `ids` matches is an id, besides
    /// those that look like one.
    pub fn new(allowed: impl IntoIterator<Item = String>, ids: Option<Regex>) -> Self {
        Self { allowed: allowed.into_iter().collect(), ids }
    }

    /// A URL, absolute or not, without what must not enter the log; `None` if it is no URL.
    pub fn clean(&self, text: &str) -> Option<Place> {
        let (url, is_relative) = match Url::parse(text.trim()) {
            Ok(url) => (url, false),
            Err(ParseError::RelativeUrlWithoutBase) => {
                let base = Url::parse(NOWHERE).ok()?;
                (base.join(text.trim()).ok()?, true)
            }
            Err(_) => return None,
        };
        // `about:blank`, `data:…`, `javascript:…`: what follows is anything at all.
        if url.cannot_be_a_base() {
            return Some(Place { url: format!("{}:", url.scheme()), route: String::new() });
        }
        let origin = match url.host_str() {
            Some("relative.invalid") if is_relative => String::new(),
            Some(host) => {
                let scheme = if is_relative { String::new() } else { format!("{}:", url.scheme()) };
                let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                format!("{scheme}//{host}{port}")
            }
            None => format!("{}:", url.scheme()),
        };
        // The path of a file is the user's own.
        let path = if url.scheme() == "file" { String::new() } else { self.path(url.path()) };
        let query = url.query().map(|query| self.query(query)).unwrap_or_default();
        let (fragment, parameters) = url.fragment().and_then(|text| self.fragment(text)).unwrap_or_default();
        Some(Place {
            url: format!("{origin}{path}{query}{fragment}{parameters}"),
            route: format!("{path}{fragment}"),
        })
    }

    /// A route that the producer names: `/orders/:id`, and a template of another style, stays as it is; an id in it does not.
    pub fn route(&self, text: &str) -> Option<String> {
        self.clean(text).map(|place| place.route)
    }

    fn path(&self, path: &str) -> String {
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let mut clean = String::new();
        for segment in segments.iter().take(SEGMENTS) {
            clean.push('/');
            clean.push_str(&self.segment(segment));
        }
        if segments.len() > SEGMENTS {
            clean.push_str("/…");
        }
        if clean.is_empty() { "/".to_owned() } else { clean }
    }

    fn segment<'s>(&self, segment: &'s str) -> Cow<'s, str> {
        // `;jsessionid=…`
        let segment = segment.split(';').next().unwrap_or_default();
        let decoded = percent_decode_str(segment).decode_utf8_lossy();
        if is_placeholder(&decoded) {
            return Cow::Owned(decoded.into_owned());
        }
        let is_id = is_id(&decoded) || self.ids.as_ref().is_some_and(|ids| ids.is_match(&decoded));
        if is_id { Cow::Borrowed(ID) } else { Cow::Borrowed(segment) }
    }

    /// `?page=2&q`: each name once, in its order; a value where its name is allowed.
    fn query(&self, query: &str) -> String {
        let mut seen = BTreeSet::new();
        let mut parts = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if parts.len() == NAMES {
                break;
            }
            let name = if is_name(&name) { name } else { Cow::Borrowed(VALUE) };
            if name.is_empty() || !seen.insert(name.to_string()) {
                continue;
            }
            parts.push(match self.allowed.contains(&*name) {
                true if value.is_empty() => name.into_owned(),
                true => format!("{name}={}", allowed_value(&value)),
                false => name.into_owned(),
            });
        }
        if parts.is_empty() { String::new() } else { format!("?{}", parts.join("&")) }
    }

    /// A fragment that is a route, and its query.
    fn fragment(&self, fragment: &str) -> Option<(String, String)> {
        let (mark, route) = match fragment.strip_prefix('!') {
            Some(route) => ("#!", route),
            None => ("#", fragment),
        };
        let (path, query) = route.split_once('?').unwrap_or((route, ""));
        path.starts_with('/').then(|| (format!("{mark}{}", self.path(path)), self.query(query)))
    }
}

/// A template's own: `:id`, `{id}`, `[id]`, `<id>`, `*`.
fn is_placeholder(segment: &str) -> bool {
    let name = match segment.as_bytes() {
        [b':', ..] => &segment[1..],
        [b'{', .., b'}'] | [b'[', .., b']'] | [b'<', .., b'>'] => &segment[1..segment.len() - 1],
        [b'*'] | [b'*', b'*'] => return true,
        _ => return false,
    };
    let name = name.trim_start_matches("...");
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && is_name(name)
}

/// A segment that names a thing or a person, or that somebody has typed, rather than a kind of page.
fn is_id(segment: &str) -> bool {
    let digits = segment.bytes().filter(u8::is_ascii_digit).count();
    let is_hex = segment.len() >= 8 && digits > 0 && segment.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits == segment.len()
        || digits >= 3
        || is_hex
        || segment.chars().count() > SEGMENT
        || segment.contains(|c: char| c.is_whitespace() || c.is_control() || "@=+:,\u{fffd}".contains(c))
        || sanitise::is_token(segment)
        || sanitise::text(segment) != segment
}

/// The name of a parameter: not a value that stands without a name.
fn is_name(name: &str) -> bool {
    name.len() <= 40
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.[]$".contains(&byte))
        && name.bytes().filter(u8::is_ascii_digit).count() <= 2
        && !sanitise::is_token(name)
}

fn allowed_value(value: &str) -> String {
    if value.chars().count() > QUERY_VALUE || sanitise::text(value) != value {
        return VALUE.to_owned();
    }
    form_urlencoded::byte_serialize(value.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls() -> Urls {
        Urls::new(["page", "tab"].map(str::to_owned), Regex::new("^(?:sku-.*)$").ok())
    }

    #[test]
    fn urls_are_cleaned() {
        for (given, url, route) in [
            ("https://shop.example", "https://shop.example/", "/"),
            ("https://ann:pw@shop.example:8443/a/", "https://shop.example:8443/a", "/a"),
            (
                "https://shop.example/orders/12345?token=s&page=2#top",
                "https://shop.example/orders/:id?token&page=2",
                "/orders/:id",
            ),
            (
                "/orders/12345/items?q=my+secret&tab=a%40b.example",
                "/orders/:id/items?q&tab=:value",
                "/orders/:id/items",
            ),
            ("https://s.example/?ann%40b.example&4571234567890111", "https://s.example/?:value", "/"),
            (
                "https://s.example/app#/users/77/edit?page=3&x=y",
                "https://s.example/app#/users/:id/edit?page=3&x",
                "/app#/users/:id/edit",
            ),
            ("https://s.example/#access_token=abc", "https://s.example/", "/"),
            ("https://s.example/#!/inbox/9f8e7d6c", "https://s.example/#!/inbox/:id", "/#!/inbox/:id"),
            ("//cdn.example/x.js", "//cdn.example/x.js", "/x.js"),
            ("about:blank", "about:", ""),
            ("data:text/html,secret", "data:", ""),
            ("blob:https://s.example/ceee0822-ed8f-4622-b2a3-789e73e75cd1", "blob:", ""),
            ("file:///home/john/page.html#/start", "file:#/start", "#/start"),
            ("capacitor://localhost/tabs/home", "capacitor://localhost/tabs/home", "/tabs/home"),
            ("https://s.example/a;jsessionid=1F/b", "https://s.example/a/b", "/a/b"),
            ("https://s.example/search/my%20secret", "https://s.example/search/:id", "/search/:id"),
        ] {
            let place = urls().clean(given).unwrap();
            assert_eq!((place.url.as_str(), place.route.as_str()), (url, route), "{given}");
        }
        assert_eq!(urls().clean("http://"), None);
        assert_eq!(urls().clean("https://[::1"), None);
    }

    #[test]
    fn routes_keep_names_and_lose_ids() {
        for name in [
            "/",
            "/checkout",
            "/v1/cart",
            "/oauth2/callback",
            "/über-uns",
            "/terms-and-conditions",
            "/orders/:id",
            "/orders/{orderId}/items",
            "/blog/[slug]",
            "/files/*",
            "/step2",
        ] {
            let expected = name.replace('ü', "%C3%BC");
            assert_eq!(urls().route(name).unwrap(), expected, "{name}");
        }
        for id in [
            "7",
            "0042",
            "order-12345",
            "ceee0822-ed8f-4622-b2a3-789e73e75cd1",
            "deadbee1",
            "9f8e7d6c5b4a3928",
            "ann@b.example",
            "ann%40b.example",
            "@ann",
            "Zx81kQw0RtY7uIoP2a",
            "2024-05-01",
            "user=ann",
            "sku-red",
            "two%20words",
            "a+b",
            ":ann@b.example",
            "%7B4571234567890111%7D",
        ] {
            assert_eq!(urls().route(&format!("/x/{id}/y")).unwrap(), "/x/:id/y", "{id}");
        }
        let deep = "/a".repeat(40);
        assert_eq!(urls().route(&deep).unwrap(), format!("{}/…", "/a".repeat(32)));
    }

    #[test]
    fn what_is_clean_stays_as_it_is() {
        for given in ["https://s.example/orders/:id?page=2&q#/a/:id", "/x/:id?:value"] {
            let once = urls().clean(given).unwrap();
            assert_eq!(urls().clean(&once.url), Some(once));
        }
    }
}
