//! Makes the normalised form of an event.

use std::sync::Arc;

use super::element::Element;
use super::kind::Kind;
use super::normalized_event::NormalizedEvent;
use super::pointer::PointerPath;
use super::settings::InteractionSettings;
use crate::engine::{Event, Millis, id};
use crate::families::interactions::event::{Body, Interaction, Target};

/// The normalised form of an event at an offset with an append time (`place`). `before` is the route and page of the session's
/// last event: texts that are the same are shared.
pub fn normalize(
    event: &Interaction,
    place: (i64, Millis),
    before: Option<&(Arc<str>, Arc<str>)>,
    settings: &InteractionSettings,
) -> NormalizedEvent {
    let share = |text: &str, before: Option<&Arc<str>>| match before {
        Some(before) if **before == *text => Arc::clone(before),
        _ => Arc::from(text),
    };
    let route = share(shortened(&settings.route_of(&event.route)), before.map(|(route, _)| route));
    let url = share(shortened(event.url.as_deref().unwrap_or_default()), before.map(|(_, url)| url));
    let element = |target: &Target| Arc::new(Element::of(target, &settings.element));
    let mut normalized = NormalizedEvent {
        time: event.occurred_at,
        seq: event.seq.unwrap_or(i64::MAX),
        name: shortened(&event.identity().name()).into(),
        offset: place.0,
        append_time: place.1,
        kind: Kind::of(event),
        tab: id::murmur2(event.tab_id.as_bytes()),
        x: 0,
        y: 0,
        selected_text: false,
        failed: None,
        status: 0,
        writes: false,
        route,
        url,
        form: None,
        target: None,
        pointer_path: None,
    };
    match &event.body {
        Body::Pointer(pointer) => {
            (normalized.x, normalized.y, normalized.selected_text) =
                (pointer.x, pointer.y, pointer.selected_text);
            normalized.target = Some(element(&pointer.target));
        }
        Body::Field(field) => {
            normalized.form = field.form.as_deref().map(|form| shortened(form).into());
            normalized.target = Some(element(&field.target));
        }
        Body::Submit(submit) => {
            (normalized.form, normalized.failed) = (Some(shortened(&submit.form).into()), submit.failed);
        }
        Body::Validation(validation) => {
            normalized.form = Some(shortened(&validation.form).into());
            normalized.failed = Some(true);
            normalized.target = validation.target.as_ref().map(element);
        }
        Body::Moves(moves) => {
            normalized.pointer_path = PointerPath::of(moves, settings.least_step).map(Arc::new)
        }
        Body::Request(request) => {
            normalized.status = if request.status <= 0 { 999 } else { request.status.min(998) as i16 };
            normalized.failed = Some(normalized.status >= 400);
            normalized.writes =
                !["GET", "HEAD", "OPTIONS"].iter().any(|method| method.eq_ignore_ascii_case(&request.method));
        }
        Body::Scroll(_)
        | Body::Navigation(_)
        | Body::Page(_)
        | Body::Mutation(_)
        | Body::Error(_)
        | Body::Custom(_) => {}
    }
    normalized
}

/// The beginning of a text, as much as the state keeps of it: an entry has a limit.
fn shortened(text: &str) -> &str {
    const MOST: usize = 200;
    &text[..text.floor_char_boundary(MOST)]
}
