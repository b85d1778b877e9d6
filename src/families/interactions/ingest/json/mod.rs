//! An interaction as the API's JSON has it, one form a type. What is read here is still raw: what of it may enter the log is
//! decided by [`privacy`](super::privacy).

mod body;
mod forms;

use serde::Deserialize;
use serde_json::value::RawValue;

use self::forms::{Click, Defined, Failed, Input, Moved, Mutated, Navigated, Requested, Scrolled, Sent, Shown, Wanting};
pub use self::forms::{Context, Event, Stamp};
use crate::families::interactions::event::{Body, Mutation, Submit, Validation};
use crate::http::ApiError;
use crate::ingest::body::{at, parse_unrepeated};

const TYPES: &str = "click, double_click, context_click, key, input, change, focus, blur, submit, validation_error, scroll, move, \
                     navigation, page_show, page_hide, page_unload, mutation, request, error, custom";

/// What an event names itself by and when it happened, where it did, and what happened.
pub fn event(json: &RawValue, path: &str) -> Result<(Stamp, Context, Body), ApiError> {
    #[derive(Deserialize)]
    struct Peek<'a> {
        #[serde(borrow, rename = "type")]
        kind: Option<&'a RawValue>,
    }

    let field = at(path, "type");
    let kind = parse_unrepeated::<Peek<'_>>(json, path)?.kind;
    let kind =
        kind.ok_or_else(|| ApiError::invalid(field.as_str(), format!("missing; expected one of {TYPES}")))?;
    let kind: String =
        serde_json::from_str(kind.get()).map_err(|_| ApiError::invalid(field.as_str(), "expected a text"))?;
    match kind.as_str() {
        "click" | "double_click" | "context_click" => {
            let (stamp, context, event) = Click::read(json, path)?;
            Ok((stamp, context, Body::Pointer(event.body(path)?)))
        }
        "key" | "input" | "change" | "focus" | "blur" => {
            let (stamp, context, event) = Input::read(json, path)?;
            Ok((stamp, context, Body::Field(event.body())))
        }
        "submit" => {
            let (stamp, context, Sent { form, failed, .. }) = Sent::read(json, path)?;
            Ok((stamp, context, Body::Submit(Submit { form: form.into(), failed })))
        }
        "validation_error" => {
            let (stamp, context, Wanting { form, target, code, .. }) = Wanting::read(json, path)?;
            let target = target.map(Into::into);
            Ok((
                stamp,
                context,
                Body::Validation(Validation { form: form.into(), target, code: code.map(Into::into) }),
            ))
        }
        "scroll" => {
            let (stamp, context, event) = Scrolled::read(json, path)?;
            Ok((stamp, context, Body::Scroll(event.body(path)?)))
        }
        "move" => {
            let (stamp, context, event) = Moved::read(json, path)?;
            Ok((stamp, context, Body::Moves(event.body(path)?)))
        }
        "navigation" => {
            let (stamp, context, event) = Navigated::read(json, path)?;
            Ok((stamp, context, Body::Navigation(event.body())))
        }
        "page_show" | "page_hide" | "page_unload" => {
            let (stamp, context, event) = Shown::read(json, path)?;
            Ok((stamp, context, Body::Page(event.body())))
        }
        "mutation" => {
            let (stamp, context, Mutated { added, removed, attributes, texts, .. }) =
                Mutated::read(json, path)?;
            Ok((stamp, context, Body::Mutation(Mutation { added, removed, attributes, texts })))
        }
        "request" => {
            let (stamp, context, event) = Requested::read(json, path)?;
            Ok((stamp, context, Body::Request(event.body(path)?)))
        }
        "error" => {
            let (stamp, context, event) = Failed::read(json, path)?;
            Ok((stamp, context, Body::Error(event.body())))
        }
        "custom" => {
            let (stamp, context, event) = Defined::read(json, path)?;
            Ok((stamp, context, Body::Custom(event.body(path)?)))
        }
        _ => Err(ApiError::invalid(field, format!("this type is unknown; expected one of {TYPES}"))),
    }
}

/// The batch's context.
pub fn context(json: &RawValue) -> Result<Context, ApiError> {
    parse_unrepeated(json, "context")
}
