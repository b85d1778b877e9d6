//! What an interaction may hold when it enters the log: the one place that every event passes, whatever its way.
//!
//! Each struct is taken apart field by field, without `..`: a new field does not compile until it is decided here what may
//! stand in it. A refusal names a field and what is allowed, never a value.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use compact_str::CompactString;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::selector;
use super::url::{Place, Urls};
use crate::config::Secret;
use crate::engine::Millis;
use crate::families::interactions::event::{Body, Custom, Failure, Field, Interaction, Moves, Mutation, Navigation, Page, Point, Pointer, Request, Scroll, Submit, Target, Validation};
use crate::ingest::sanitise;

const ID: usize = 128;
const URL: usize = 8192;
const PLACE: usize = 1024;
const USER: usize = 1024;
const AGENT: usize = 256;
const SELECTOR: usize = 1024;
const FORM: usize = 128;
const NAME: usize = 128;
const MESSAGE: usize = 1024;
const FIELDS: usize = 64;
const VALUE: usize = 1024;
const POINTS: RangeInclusive<usize> = 1..=500;
/// No page and no screen is larger.
const PIXELS: i32 = 10_000_000;
/// Samples of more than an hour are no way of a pointer.
const AFTER: i32 = 3_600_000;

/// Names of fields of custom events whose values are secrets or name persons, whatever they look like.
const SECRET_FIELDS: [&str; 22] = [
    "address",
    "auth",
    "birth",
    "card",
    "cookie",
    "credential",
    "csrf",
    "cvc",
    "cvv",
    "email",
    "firstname",
    "fullname",
    "iban",
    "lastname",
    "passw",
    "passport",
    "phone",
    "pwd",
    "secret",
    "signature",
    "ssn",
    "token",
];
/// The same, where it is the whole name.
const SECRET_NAMES: [&str; 12] = [
    "apikey",
    "customer",
    "customerid",
    "login",
    "mail",
    "pin",
    "session",
    "sessionid",
    "user",
    "userid",
    "username",
    "text",
];

/// Why an event is refused: a field, and what it may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The path of the field within the event.
    pub field: Cow<'static, str>,
    /// What is allowed.
    pub reason: Cow<'static, str>,
}

impl Refusal {
    fn new(field: impl Into<Cow<'static, str>>, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }
}

type Checked<T> = Result<T, Refusal>;

/// The rules by which events are cleaned.
pub struct Privacy {
    hasher: Hmac<Sha256>,
    urls: Urls,
}

impl Privacy {
    /// Rules with the salt of hashes and those of URLs.
    pub fn new(salt: &Secret, urls: Urls) -> Self {
        // HMAC takes keys of any length.
        let hasher =
            Hmac::new_from_slice(salt.expose().as_bytes()).unwrap_or_else(|_| Hmac::new(&Default::default()));
        Self { hasher, urls }
    }

    /// The event as it may enter the log; what was given as the user, the URL and texts is raw.
    ///
    /// # Errors
    /// The first field that holds what is not allowed.
    pub fn clean(&self, event: Interaction) -> Checked<Interaction> {
        let Interaction {
            tenant,
            session_id,
            tab_id,
            window_id,
            page_view_id,
            event_id,
            seq,
            occurred_at,
            device_time,
            url,
            route,
            user,
            device,
            browser,
            os,
            sdk,
            body,
        } = event;
        let place = url.map(|url| self.place("url", &url)).transpose()?;
        let named = Some(route).filter(|route| !route.trim().is_empty());
        let route = match named {
            Some(route) => {
                bounded("route", &route, URL)?;
                self.urls
                    .route(&route)
                    .ok_or_else(|| Refusal::new("route", "expected a path, such as /orders/:id"))?
            }
            None => place.as_ref().map(|place| place.route.clone()).unwrap_or_default(),
        };
        Ok(Interaction {
            session_id: id("session_id", session_id)?,
            tab_id: if tab_id.is_empty() { tab_id } else { id("tab_id", tab_id)? },
            window_id: window_id.map(|text| id("window_id", text)).transpose()?,
            page_view_id: page_view_id.map(|text| id("page_view_id", text)).transpose()?,
            event_id: event_id.map(|text| id("id", text)).transpose()?,
            seq: seq.map(|seq| at_least_zero("seq", seq)).transpose()?,
            occurred_at: time("occurred_at", occurred_at)?,
            device_time: device_time.map(|at| time("occurred_at", at)).transpose()?,
            url: place.map(|place| cut(&place.url, PLACE)),
            route: cut(&route, PLACE),
            user: user.map(|user| self.user(&tenant, &user)).transpose()?.flatten(),
            device: text("device", device, AGENT)?,
            browser: text("browser", browser, AGENT)?,
            os: text("os", os, AGENT)?,
            sdk: text("sdk", sdk, AGENT)?,
            body: self.body(body)?,
            tenant,
        })
    }

    fn body(&self, body: Body) -> Checked<Body> {
        Ok(match body {
            Body::Pointer(Pointer { kind, x, y, viewport_width, viewport_height, target, selected_text }) => {
                let size = |name, size: Option<i32>| size.map(|size| count(name, size)).transpose();
                Body::Pointer(Pointer {
                    kind,
                    x: pixels("x", x)?,
                    y: pixels("y", y)?,
                    viewport_width: size("viewport.width", viewport_width)?,
                    viewport_height: size("viewport.height", viewport_height)?,
                    target: self.target(target)?,
                    selected_text,
                })
            }
            Body::Field(Field { kind, target, form }) => Body::Field(Field {
                kind,
                target: self.target(target)?,
                form: form.map(self::form).transpose()?,
            }),
            Body::Submit(Submit { form, failed }) => Body::Submit(Submit { form: self::form(form)?, failed }),
            Body::Validation(Validation { form, target, code }) => Body::Validation(Validation {
                form: self::form(form)?,
                target: target.map(|target| self.target(target)).transpose()?,
                code: code.map(|code| word("code", &code)).transpose()?,
            }),
            Body::Scroll(Scroll { x, y }) => Body::Scroll(Scroll { x: pixels("x", x)?, y: pixels("y", y)? }),
            Body::Moves(Moves { points }) => Body::Moves(Moves { points: self::points(points)? }),
            Body::Navigation(Navigation { kind }) => Body::Navigation(Navigation { kind }),
            Body::Page(Page { kind }) => Body::Page(Page { kind }),
            Body::Mutation(Mutation { added, removed, attributes, texts }) => Body::Mutation(Mutation {
                added: count("added", added)?,
                removed: count("removed", removed)?,
                attributes: count("attributes", attributes)?,
                texts: count("texts", texts)?,
            }),
            Body::Request(Request { method, route, status, duration_ms }) => {
                if !(1..=16).contains(&method.len()) || !method.bytes().all(|byte| byte.is_ascii_alphabetic())
                {
                    return Err(Refusal::new("method", "expected 1 to 16 letters, such as GET"));
                }
                if !(0..1000).contains(&status) {
                    return Err(Refusal::new("status", "expected 0 to 999; 0: there was no answer"));
                }
                Body::Request(Request {
                    method: method.to_ascii_uppercase(),
                    route: cut(&self.place("request_url", &route)?.route, PLACE),
                    status,
                    duration_ms: count("duration_ms", duration_ms)?,
                })
            }
            Body::Error(Failure { kind, message, name, source }) => Body::Error(Failure {
                kind,
                message: cut(&sanitise::text(&message), MESSAGE),
                name: name.map(|name| word("name", &name)).transpose()?,
                source: source.map(|source| self.source(&source)).transpose()?,
            }),
            Body::Custom(Custom { name, fields }) => {
                Body::Custom(Custom { name: label("name", &name)?, fields: self::fields(fields)? })
            }
        })
    }

    /// The same for the same user of a tenant, under one salt: 128 bits, in hexadecimal digits.
    fn user(&self, tenant: &str, user: &str) -> Checked<Option<CompactString>> {
        let user = user.trim();
        bounded("user", user, USER)?;
        if user.is_empty() {
            return Ok(None);
        }
        let mut hasher = self.hasher.clone();
        hasher.update(&(tenant.len() as u64).to_be_bytes());
        hasher.update(tenant.as_bytes());
        hasher.update(user.as_bytes());
        Ok(Some(hexadecimal(&hasher.finalize().into_bytes()[..16])))
    }

    fn place(&self, field: &'static str, url: &str) -> Checked<Place> {
        bounded(field, url, URL)?;
        self.urls
            .clean(url)
            .ok_or_else(|| Refusal::new(field, "expected a URL, such as https://shop.example/cart or /cart"))
    }

    /// A script's URL, or what else the browser said: `app.js`, `<anonymous>`.
    fn source(&self, source: &str) -> Checked<CompactString> {
        bounded("source", source, URL)?;
        let clean = match self.urls.clean(source) {
            Some(place) if source.contains("://") || source.starts_with('/') => place.url,
            _ => sanitise::text(source).into_owned(),
        };
        Ok(cut(&clean, PLACE))
    }

    fn target(&self, target: Target) -> Checked<Target> {
        let Target { selector, tag, role, text_hash, interactive } = target;
        bounded("target.selector", &selector, SELECTOR)?;
        let is_tag = |c: char| c.is_ascii_alphanumeric() || "-_:.".contains(c);
        if tag.len() > 64 || !tag.chars().all(is_tag) {
            return Err(Refusal::new("target.tag", "expected a tag's name, such as button"));
        }
        let is_role = |role: &str| {
            (1..=32).contains(&role.len()) && role.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
        };
        let role = role.map(|role| role.trim().to_ascii_lowercase()).filter(|role| !role.is_empty());
        if role.as_deref().is_some_and(|role| !is_role(role)) {
            return Err(Refusal::new("target.role", "expected an ARIA role, such as button"));
        }
        // Whoever sends the text itself here has its hash in the log; a hash becomes another.
        let text_hash = match text_hash {
            None => None,
            Some(text) => {
                bounded("target.text_hash", &text, ID)?;
                Some(hexadecimal(&Sha256::digest(text.as_bytes())[..8])).filter(|_| !text.trim().is_empty())
            }
        };
        Ok(Target {
            selector: selector::clean(&selector).into(),
            tag: tag.to_ascii_lowercase(),
            role: role.map(CompactString::from),
            text_hash,
            interactive,
        })
    }
}

fn id(field: &'static str, text: CompactString) -> Checked<CompactString> {
    let is_fit =
        (1..=ID).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'@');
    if is_fit {
        return Ok(text);
    }
    Err(Refusal::new(field, "expected 1 to 128 ASCII characters, without blanks, controls and @"))
}

fn bounded(field: &'static str, text: &str, most: usize) -> Checked<()> {
    if text.chars().count() <= most {
        return Ok(());
    }
    Err(Refusal::new(field, format!("expected at most {most} characters")))
}

/// A text of a program's; `None` where it is blank.
fn text(field: &'static str, text: Option<CompactString>, most: usize) -> Checked<Option<CompactString>> {
    let Some(text) = text else { return Ok(None) };
    bounded(field, &text, most)?;
    let clean = sanitise::text(text.trim());
    Ok((!clean.is_empty()).then(|| CompactString::from(clean)))
}

fn form(form: CompactString) -> Checked<CompactString> {
    let form = form.trim();
    bounded("form", form, FORM)?;
    if form.is_empty() {
        return Err(Refusal::new("form", "missing or blank"));
    }
    Ok(sanitise::text(&selector::clean(form)).into())
}

/// A code or the name of a class: one word.
fn word(field: &'static str, text: &str) -> Checked<CompactString> {
    let is_fit = (1..=NAME).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:$/".contains(&byte));
    if !is_fit {
        return Err(Refusal::new(
            field,
            "expected 1 to 128 of letters, digits, '_', '-', '.', ':', '$' and '/'",
        ));
    }
    Ok(sanitise::text(text).into())
}

/// As [`word`], of several words.
fn label(field: &'static str, text: &str) -> Checked<CompactString> {
    let text = text.trim();
    bounded(field, text, NAME)?;
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(Refusal::new(field, "expected 1 to 128 characters, without controls"));
    }
    Ok(sanitise::text(text).into())
}

fn fields(fields: BTreeMap<CompactString, CompactString>) -> Checked<BTreeMap<CompactString, CompactString>> {
    if fields.len() > FIELDS {
        return Err(Refusal::new("fields", format!("expected at most {FIELDS} fields")));
    }
    let mut clean = BTreeMap::new();
    for (name, value) in fields {
        let name = word("fields", &name)
            .map_err(|refusal| Refusal::new("fields", format!("the name of a field: {}", refusal.reason)))?;
        if value.chars().count() > VALUE {
            return Err(Refusal::new(
                "fields",
                format!("the value of a field: expected at most {VALUE} characters"),
            ));
        }
        let value =
            if is_secret(&name) { "[REDACTED]".into() } else { CompactString::from(sanitise::text(&value)) };
        clean.insert(name, value);
    }
    Ok(clean)
}

fn is_secret(name: &str) -> bool {
    let name: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    SECRET_FIELDS.iter().any(|part| name.contains(part)) || SECRET_NAMES.contains(&name.as_str())
}

fn points(points: Vec<Point>) -> Checked<Vec<Point>> {
    if !POINTS.contains(&points.len()) {
        return Err(Refusal::new("points", "expected 1 to 500 points"));
    }
    for Point { after, x, y } in &points {
        pixels("points", *x)?;
        pixels("points", *y)?;
        if !(0..=AFTER).contains(after) {
            return Err(Refusal::new("points", "after_ms: expected 0 to 3600000 ms"));
        }
    }
    if !points.is_sorted_by_key(|point| point.after) {
        return Err(Refusal::new("points", "after_ms may not fall from point to point"));
    }
    Ok(points)
}

fn pixels(field: &'static str, pixels: i32) -> Checked<i32> {
    if (-PIXELS..=PIXELS).contains(&pixels) {
        return Ok(pixels);
    }
    Err(Refusal::new(field, format!("expected -{PIXELS} to {PIXELS} CSS pixels")))
}

fn count(field: &'static str, count: i32) -> Checked<i32> {
    at_least_zero(field, i64::from(count)).map(|_| count)
}

fn at_least_zero(field: &'static str, number: i64) -> Checked<i64> {
    if number >= 0 { Ok(number) } else { Err(Refusal::new(field, "expected at least 0")) }
}

fn time(field: &'static str, at: Millis) -> Checked<Millis> {
    if crate::ingest::fields::TIMES.contains(&at) {
        return Ok(at);
    }
    Err(Refusal::new(field, "expected a time from 1900 to 2299"))
}

fn cut(text: &str, most: usize) -> CompactString {
    match text.char_indices().nth(most) {
        Some((end, _)) => text[..end].into(),
        None => text.into(),
    }
}

fn hexadecimal(bytes: &[u8]) -> CompactString {
    use std::fmt::Write;
    let mut text = CompactString::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a text does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::interactions::event::{FieldKind, PageKind};

    fn privacy(salt: &str) -> Privacy {
        Privacy::new(&Secret::from(salt), Urls::new([], None))
    }

    fn event(body: Body) -> Interaction {
        Interaction {
            tenant: "boston".into(),
            session_id: "s-1".into(),
            tab_id: "".into(),
            window_id: None,
            page_view_id: None,
            event_id: None,
            seq: None,
            occurred_at: 7,
            device_time: None,
            url: None,
            route: "".into(),
            user: None,
            device: None,
            browser: None,
            os: None,
            sdk: None,
            body,
        }
    }

    fn shown() -> Interaction {
        event(Body::Page(Page { kind: PageKind::Show }))
    }

    fn user(salt: &str, tenant: &str, user: &str) -> Option<CompactString> {
        let event = Interaction { tenant: tenant.into(), user: Some(user.into()), ..shown() };
        privacy(salt).clean(event).unwrap().user
    }

    #[test]
    fn a_user_is_known_again_and_not_named() {
        let hash = user("salt", "boston", "ann").unwrap();
        assert!(hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
        assert_eq!(user("salt", "boston", " ann "), Some(hash.clone()));
        for (salt, tenant, name) in
            [("other", "boston", "ann"), ("salt", "salem", "ann"), ("salt", "boston", "bob")]
        {
            assert_ne!(user(salt, tenant, name).as_ref(), Some(&hash));
        }
        assert_eq!(user("salt", "boston", " "), None);
    }

    #[test]
    fn ids_have_no_room_for_addresses_and_prose() {
        for (id, is_fit) in [
            ("ceee0822-ed8f-4622-b2a3-789e73e75cd1", true),
            ("s/1+2=~:|", true),
            ("", false),
            ("two words", false),
            ("ann@b.example", false),
            ("tab\t", false),
            ("jörg", false),
            (&*"x".repeat(128), true),
            (&*"x".repeat(129), false),
        ] {
            let found = privacy("s").clean(Interaction { session_id: id.into(), ..shown() });
            assert_eq!(found.is_ok(), is_fit, "{id}");
            if let Err(refusal) = found {
                assert_eq!(refusal.field, "session_id");
                assert!(id.is_empty() || !refusal.reason.contains(id));
            }
        }
    }

    #[test]
    fn the_route_follows_from_the_url_unless_it_is_named() {
        let clean = |url: Option<&str>, route: &str| {
            let event = Interaction { url: url.map(Into::into), route: route.into(), ..shown() };
            privacy("s").clean(event).unwrap().route
        };
        assert_eq!(clean(Some("https://s.example/orders/123"), ""), "/orders/:id");
        assert_eq!(clean(Some("https://s.example/orders/123"), "/order/77"), "/order/:id");
        assert_eq!(clean(None, "orders/{id}"), "/orders/{id}");
        assert_eq!(clean(None, ""), "");
    }

    #[test]
    fn a_target_keeps_what_an_element_is() {
        let target = Target {
            selector: "input[value=\"hunter2\"]".into(),
            tag: "INPUT".into(),
            role: Some(" Textbox ".into()),
            text_hash: Some("hunter2".into()),
            interactive: true,
        };
        let field = Field { kind: FieldKind::Input, target, form: Some("Sign in".into()) };
        let Body::Field(clean) = privacy("s").clean(event(Body::Field(field))).unwrap().body else {
            panic!()
        };
        assert_eq!((clean.target.selector.as_str(), clean.target.tag.as_str()), ("input[value]", "input"));
        assert_eq!((clean.target.role.as_deref(), clean.form.as_deref()), (Some("textbox"), Some("Sign in")));
        let hash = clean.target.text_hash.unwrap();
        assert!(hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
    }

    #[test]
    fn custom_fields_are_cleaned_by_name_and_by_value() {
        let fields = [
            ("plan", "pro"),
            ("password", "hunter2"),
            ("userId", "ann"),
            ("user_email", "x"),
            ("note", "from ann@b.example"),
            ("amount", "12.50"),
        ];
        let fields = fields.map(|(name, value)| (name.into(), value.into())).into();
        let body = Body::Custom(Custom { name: "plan chosen".into(), fields });
        let Body::Custom(clean) = privacy("s").clean(event(body)).unwrap().body else { panic!() };
        let clean: Vec<_> =
            clean.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            clean,
            [
                ("amount", "12.50"),
                ("note", "from [REDACTED_EMAIL]"),
                ("password", "[REDACTED]"),
                ("plan", "pro"),
                ("userId", "[REDACTED]"),
                ("user_email", "[REDACTED]"),
            ]
        );
    }

    #[test]
    fn points_are_few_and_in_order() {
        let points = |after: &[i32]| {
            let points = after.iter().map(|after| Point { after: *after, x: 1, y: 2 }).collect();
            privacy("s")
                .clean(event(Body::Moves(Moves { points })))
                .map_err(|refusal| refusal.reason.into_owned())
        };
        assert!(points(&[0, 0, 5]).is_ok());
        assert!(points(&vec![0; 500]).is_ok());
        for (after, expected) in [
            (&[][..], "expected 1 to 500 points"),
            (&[0; 501], "expected 1 to 500 points"),
            (&[5, 4], "after_ms may not fall from point to point"),
            (&[-1], "after_ms: expected 0 to 3600000 ms"),
        ] {
            assert_eq!(points(after).unwrap_err(), expected);
        }
    }
}
