//! What may stand in one field, by the kind of it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use compact_str::CompactString;

use crate::engine::Millis;
use crate::families::interactions::event::Point;
use crate::families::interactions::ingest::selector;
use crate::ingest::sanitise;

pub(super) const ID: usize = 128;
pub(super) const URL: usize = 8192;
pub(super) const PLACE: usize = 1024;
pub(super) const USER: usize = 1024;
pub(super) const AGENT: usize = 256;
pub(super) const SELECTOR: usize = 1024;
const FORM: usize = 128;
const NAME: usize = 128;
pub(super) const MESSAGE: usize = 1024;
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
    pub(super) fn new(field: impl Into<Cow<'static, str>>, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }
}

pub(super) type Checked<T> = Result<T, Refusal>;

pub(super) fn id(field: &'static str, text: CompactString) -> Checked<CompactString> {
    let is_fit =
        (1..=ID).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'@');
    if is_fit {
        return Ok(text);
    }
    Err(Refusal::new(field, "expected 1 to 128 ASCII characters, without blanks, controls and @"))
}

pub(super) fn bounded(field: &'static str, text: &str, most: usize) -> Checked<()> {
    if text.chars().count() <= most {
        return Ok(());
    }
    Err(Refusal::new(field, format!("expected at most {most} characters")))
}

/// A text of a program's; `None` where it is blank.
pub(super) fn text(
    field: &'static str,
    text: Option<CompactString>,
    most: usize,
) -> Checked<Option<CompactString>> {
    let Some(text) = text else { return Ok(None) };
    bounded(field, &text, most)?;
    let clean = sanitise::text(text.trim());
    Ok((!clean.is_empty()).then(|| CompactString::from(clean)))
}

pub(super) fn form(form: CompactString) -> Checked<CompactString> {
    let form = form.trim();
    bounded("form", form, FORM)?;
    if form.is_empty() {
        return Err(Refusal::new("form", "missing or blank"));
    }
    Ok(sanitise::text(&selector::clean(form)).into())
}

/// A code or the name of a class: one word.
pub(super) fn word(field: &'static str, text: &str) -> Checked<CompactString> {
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
pub(super) fn label(field: &'static str, text: &str) -> Checked<CompactString> {
    let text = text.trim();
    bounded(field, text, NAME)?;
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(Refusal::new(field, "expected 1 to 128 characters, without controls"));
    }
    Ok(sanitise::text(text).into())
}

pub(super) fn fields(
    fields: BTreeMap<CompactString, CompactString>,
) -> Checked<BTreeMap<CompactString, CompactString>> {
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

pub(super) fn points(points: Vec<Point>) -> Checked<Vec<Point>> {
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

pub(super) fn pixels(field: &'static str, pixels: i32) -> Checked<i32> {
    if (-PIXELS..=PIXELS).contains(&pixels) {
        return Ok(pixels);
    }
    Err(Refusal::new(field, format!("expected -{PIXELS} to {PIXELS} CSS pixels")))
}

pub(super) fn count(field: &'static str, count: i32) -> Checked<i32> {
    at_least_zero(field, i64::from(count)).map(|_| count)
}

pub(super) fn at_least_zero(field: &'static str, number: i64) -> Checked<i64> {
    if number >= 0 { Ok(number) } else { Err(Refusal::new(field, "expected at least 0")) }
}

pub(super) fn time(field: &'static str, at: Millis) -> Checked<Millis> {
    if crate::ingest::fields::TIMES.contains(&at) {
        return Ok(at);
    }
    Err(Refusal::new(field, "expected a time from 1900 to 2299"))
}

pub(super) fn cut(text: &str, most: usize) -> CompactString {
    match text.char_indices().nth(most) {
        Some((end, _)) => text[..end].into(),
        None => text.into(),
    }
}

pub(super) fn hexadecimal(bytes: &[u8]) -> CompactString {
    use std::fmt::Write;
    let mut text = CompactString::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a text does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
