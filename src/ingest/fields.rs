//! Values that every family has: event ids, times, texts, places. Pure functions.

use jiff::Timestamp;
use jiff::civil::DateTime;

use super::body::at;
use super::item::Arrival;
use crate::engine::Millis;
use crate::http::ApiError;

/// How far an event may be ahead of its arrival.
pub const AHEAD: Millis = 5 * 60 * 1000;

/// 1900-01-01 and 2300-01-01: what the stores behind the log can hold.
pub const TIMES: std::ops::Range<Millis> = -2_208_988_800_000..10_413_792_000_000;

const FAR: &str = "expected a time from 1900 to 2299";

/// The producer's event id, or a new one. An event without an id of its producer's can't be
/// recognised when it is sent again.
pub fn event_id(id: Option<String>, new_id: &dyn Fn() -> String, path: &str) -> Result<String, ApiError> {
    let Some(id) = id else { return Ok(new_id()) };
    let refuse = |reason: &str| Err(ApiError::invalid(at(path, "id"), reason));
    match id.chars().count() {
        0 => refuse("empty: expected 1 to 128 characters, or no id at all"),
        129.. => refuse("expected 1 to 128 characters"),
        _ if id.chars().any(char::is_control) => refuse("control characters are not allowed"),
        _ => Ok(id),
    }
}

/// When the event happened: at its arrival if it does not say, and not further ahead of that than [`AHEAD`].
pub fn occurred_at(text: Option<&str>, arrival: Arrival, path: &str) -> Result<Millis, ApiError> {
    let field = at(path, "occurred_at");
    let Some(text) = text else {
        return match arrival {
            Arrival::At(now) => Ok(now),
            Arrival::AsItHappens => Err(ApiError::invalid(
                field,
                "missing: it says when the event arrives (or --append-time now)",
            )),
        };
    };
    let time = time(text, &field)?;
    if let Arrival::At(now) = arrival
        && time > now.saturating_add(AHEAD)
    {
        return Err(future_event(&field, &format!("{text} is"), now));
    }
    Ok(time)
}

/// The refusal of an event that lies too far ahead of its arrival; `what` is what the reason begins with.
pub fn future_event(field: &str, what: &str, arrival: Millis) -> ApiError {
    let arrival = Timestamp::from_millisecond(arrival).unwrap_or_default();
    let reason = format!("{what} more than 5 minutes ahead of its arrival at {arrival:.3}");
    let status = axum::http::StatusCode::UNPROCESSABLE_ENTITY;
    ApiError::new(status, "future_event", "the event lies in the future").with_details(field, reason)
}

/// An id that no other event has.
pub fn new_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// A point in time, RFC 3339 with its zone.
pub fn time(text: &str, field: &str) -> Result<Millis, ApiError> {
    parse_time(text).map_err(|reason| {
        let reason = match reason {
            NotATime::Malformed(reason) => format!("{:?} {reason}", shortened(text)),
            NotATime::Far(reason) => reason.to_owned(),
        };
        ApiError::invalid(field, reason)
    })
}

/// Why a text is no time; it does not repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotATime {
    /// It has another form.
    Malformed(&'static str),
    /// No store could hold it.
    Far(&'static str),
}

impl NotATime {
    /// The reason.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Malformed(reason) | Self::Far(reason) => reason,
        }
    }
}

/// Whether the stores behind the log can hold a time.
pub fn check_time(time: Millis, field: &str) -> Result<(), ApiError> {
    match TIMES.contains(&time) {
        true => Ok(()),
        false => Err(ApiError::invalid(field, FAR)),
    }
}

/// As [`time`](fn@time), of a text that must not be repeated.
pub fn parse_time(text: &str) -> Result<Millis, NotATime> {
    // RFC 3339 has hours 00 to 23 in an offset too; the parser takes more.
    let offset = text.get(10..).and_then(|time| time.rsplit_once(['+', '-'])).map(|(_, offset)| offset);
    let is_far =
        offset.and_then(|offset| offset.get(..2)?.parse::<u8>().ok()).is_some_and(|hours| hours > 23);
    let time = text.parse::<Timestamp>().ok().filter(|_| !is_far).ok_or_else(|| {
        NotATime::Malformed(if !is_far && text.parse::<DateTime>().is_ok() {
            "has no zone: end it with Z or an offset such as -04:00"
        } else {
            "expected RFC 3339, such as 2011-07-01T09:30:00-04:00"
        })
    })?;
    let millis = time.as_millisecond();
    if !TIMES.contains(&millis) {
        return Err(NotATime::Far(FAR));
    }
    Ok(millis)
}

/// A text, trimmed; `None` where it is missing or blank. `most` counts characters.
pub fn text(text: Option<String>, most: usize, path: &str, name: &str) -> Result<Option<String>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let trimmed = text.trim();
    if trimmed.chars().count() > most {
        return Err(ApiError::invalid(at(path, name), format!("expected at most {most} characters")));
    }
    Ok((!trimmed.is_empty()).then(|| trimmed.to_owned()))
}

/// Latitude and longitude in degrees, both or none.
pub fn place(
    latitude: Option<f64>,
    longitude: Option<f64>,
    path: &str,
) -> Result<Option<(f64, f64)>, ApiError> {
    let refuse = |name, reason: &str| Err(ApiError::invalid(at(path, name), reason));
    match (latitude, longitude) {
        (None, None) => Ok(None),
        (None, Some(_)) => refuse("latitude", "missing: there is a longitude"),
        (Some(_), None) => refuse("longitude", "missing: there is a latitude"),
        (Some(latitude), _) if !(-90.0..=90.0).contains(&latitude) => {
            refuse("latitude", "expected -90 to 90 degrees")
        }
        (_, Some(longitude)) if !(-180.0..=180.0).contains(&longitude) => {
            refuse("longitude", "expected -180 to 180 degrees")
        }
        (Some(latitude), Some(longitude)) => Ok(Some((latitude, longitude))),
    }
}

/// What of a value is repeated in an answer.
pub fn shortened(text: &str) -> String {
    const MOST: usize = 64;
    let mut short: String = text.chars().take(MOST).collect();
    if text.chars().nth(MOST).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = 1_309_500_000_000;

    /// The value, or the error as `code field: reason`.
    fn show<T: std::fmt::Debug>(result: Result<T, ApiError>) -> String {
        match result {
            Ok(value) => format!("{value:?}"),
            Err(error) => {
                let error = serde_json::to_value(error).unwrap();
                let part = |part: &serde_json::Value| part.as_str().unwrap().to_owned();
                let details = &error["details"];
                format!("{} {}: {}", part(&error["code"]), part(&details["field"]), part(&details["reason"]))
            }
        }
    }

    #[test]
    fn event_ids() {
        let id = |id: &str| show(event_id(Some(id.to_owned()), &|| "new".to_owned(), "events[3]"));
        assert_eq!(id("a"), "\"a\"");
        assert_eq!(id(&"é".repeat(128)), format!("{:?}", "é".repeat(128)));
        assert_eq!(id(&"a".repeat(129)), "invalid_value events[3].id: expected 1 to 128 characters");
        assert!(id("").starts_with("invalid_value events[3].id: empty"));
        assert_eq!(id("a\u{0}b"), "invalid_value events[3].id: control characters are not allowed");
        assert_eq!(id("a\u{85}"), "invalid_value events[3].id: control characters are not allowed");
        let made: uuid::Uuid = event_id(None, &new_id, "").unwrap().parse().unwrap();
        assert_eq!(made.get_version_num(), 7);
    }

    #[test]
    fn times() {
        for (text, expected) in [
            ("2011-07-01T06:00:00Z", "1309500000000"),
            ("2011-07-01t02:00:00-04:00", "1309500000000"),
            ("2011-07-01T06:00:00.1239Z", "1309500000123"),
            ("1900-01-01T00:00:00Z", "-2208988800000"),
            ("2299-12-31T23:59:59.999Z", "10413791999999"),
            ("2300-01-01T00:00:00Z", "invalid_value due_at: expected a time from 1900 to 2299"),
            ("1899-12-31T23:59:59Z", "invalid_value due_at: expected a time from 1900 to 2299"),
            (
                "2011-07-01T06:00:00",
                "invalid_value due_at: \"2011-07-01T06:00:00\" has no zone: end it with Z or an offset such as -04:00",
            ),
            (
                "yesterday",
                "invalid_value due_at: \"yesterday\" expected RFC 3339, such as 2011-07-01T09:30:00-04:00",
            ),
            (
                "2011-02-30T00:00:00Z",
                "invalid_value due_at: \"2011-02-30T00:00:00Z\" expected RFC 3339, such as 2011-07-01T09:30:00-04:00",
            ),
            (
                "2011-07-01T06:00:00+25:00",
                "invalid_value due_at: \"2011-07-01T06:00:00+25:00\" expected RFC 3339, such as 2011-07-01T09:30:00-04:00",
            ),
            ("2011-07-01T06:00:00+23:59", "1309413660000"),
            ("", "invalid_value due_at: \"\" expected RFC 3339, such as 2011-07-01T09:30:00-04:00"),
        ] {
            assert_eq!(show(time(text, "due_at")), expected, "{text}");
        }
    }

    #[test]
    fn an_event_may_be_five_minutes_ahead() {
        assert_eq!(show(occurred_at(None, Arrival::At(NOW), "")), NOW.to_string());
        assert_eq!(
            show(occurred_at(Some("2011-07-01T06:05:00Z"), Arrival::At(NOW), "")),
            (NOW + AHEAD).to_string()
        );
        assert_eq!(
            show(occurred_at(Some("2011-07-01T06:05:00.001Z"), Arrival::At(NOW), "report")),
            "future_event report.occurred_at: 2011-07-01T06:05:00.001Z is more than 5 minutes ahead of its arrival at 2011-07-01T06:00:00.000Z"
        );
    }

    #[test]
    fn what_arrives_as_it_happens_says_when() {
        assert_eq!(
            show(occurred_at(Some("2299-07-01T06:05:00Z"), Arrival::AsItHappens, "")),
            "10397916300000"
        );
        assert_eq!(
            show(occurred_at(None, Arrival::AsItHappens, "report")),
            "invalid_value report.occurred_at: missing: it says when the event arrives (or --append-time now)"
        );
    }

    #[test]
    fn texts_are_trimmed() {
        let text = |value: Option<&str>| show(text(value.map(str::to_owned), 3, "", "area"));
        assert_eq!(text(None), "None");
        assert_eq!(text(Some(" \n")), "None");
        assert_eq!(text(Some("  äöü ")), "Some(\"äöü\")");
        assert_eq!(text(Some("four")), "invalid_value area: expected at most 3 characters");
    }

    #[test]
    fn places_have_both_degrees_in_range() {
        for (latitude, longitude, expected) in [
            (None, None, "None"),
            (Some(-90.0), Some(180.0), "Some((-90.0, 180.0))"),
            (Some(1.0), None, "invalid_value longitude: missing: there is a latitude"),
            (None, Some(1.0), "invalid_value latitude: missing: there is a longitude"),
            (Some(90.1), Some(0.0), "invalid_value latitude: expected -90 to 90 degrees"),
            (Some(0.0), Some(-180.1), "invalid_value longitude: expected -180 to 180 degrees"),
        ] {
            assert_eq!(show(place(latitude, longitude, "")), expected);
        }
    }

    #[test]
    fn what_is_repeated_is_short() {
        assert_eq!(shortened("short"), "short");
        assert_eq!(shortened(&"é".repeat(65)), format!("{}…", "é".repeat(64)));
    }
}
