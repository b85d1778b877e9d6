//! An interaction as the API's JSON has it, one form a type. What is read here is still raw: what of it may enter the log is
//! decided by [`privacy`](super::privacy).

mod body;
mod forms;

use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use self::forms::{
    Click, Defined, Failed, Input, Moved, Mutated, Navigated, Requested, Scrolled, Sent, Shown, Wanting,
};
pub use self::forms::{Context, Stamp};
use crate::families::interactions::event::Body;
use crate::http::ApiError;
use crate::ingest::body::{at, parse_unrepeated};

/// An event of any type.
#[derive(ToSchema)]
#[schema(as = Interaction)]
#[serde(untagged)]
pub enum Event {
    Click(Click),
    Field(Input),
    Submit(Sent),
    ValidationError(Wanting),
    Scroll(Scrolled),
    Move(Moved),
    Navigation(Navigated),
    Page(Shown),
    Mutation(Mutated),
    Request(Requested),
    Error(Failed),
    Custom(Defined),
}

const TYPES: &str = "click, double_click, context_click, key, input, change, focus, blur, submit, validation_error, scroll, move, \
                     navigation, page_show, page_hide, page_unload, mutation, request, error, custom";

/// The type of an event, which says in which form it is read.
#[derive(Deserialize)]
struct Peek<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
}

impl Event {
    /// Reads an event in the form of its type.
    fn read(json: &RawValue, path: &str) -> Result<Self, ApiError> {
        let field = at(path, "type");
        let kind = parse_unrepeated::<Peek<'_>>(json, path)?.kind;
        let kind = kind
            .ok_or_else(|| ApiError::invalid(field.as_str(), format!("missing; expected one of {TYPES}")))?;
        let kind: String = serde_json::from_str(kind.get())
            .map_err(|_| ApiError::invalid(field.as_str(), "expected a text"))?;
        Ok(match kind.as_str() {
            "click" | "double_click" | "context_click" => Self::Click(parse_unrepeated(json, path)?),
            "key" | "input" | "change" | "focus" | "blur" => Self::Field(parse_unrepeated(json, path)?),
            "submit" => Self::Submit(parse_unrepeated(json, path)?),
            "validation_error" => Self::ValidationError(parse_unrepeated(json, path)?),
            "scroll" => Self::Scroll(parse_unrepeated(json, path)?),
            "move" => Self::Move(parse_unrepeated(json, path)?),
            "navigation" => Self::Navigation(parse_unrepeated(json, path)?),
            "page_show" | "page_hide" | "page_unload" => Self::Page(parse_unrepeated(json, path)?),
            "mutation" => Self::Mutation(parse_unrepeated(json, path)?),
            "request" => Self::Request(parse_unrepeated(json, path)?),
            "error" => Self::Error(parse_unrepeated(json, path)?),
            "custom" => Self::Custom(parse_unrepeated(json, path)?),
            _ => {
                let reason = format!("this type is unknown; expected one of {TYPES}");
                return Err(ApiError::invalid(field, reason));
            }
        })
    }

    fn parts(self, path: &str) -> Result<(Stamp, Context, Body), ApiError> {
        match self {
            Self::Click(form) => form.parts(path),
            Self::Field(form) => form.parts(path),
            Self::Submit(form) => form.parts(path),
            Self::ValidationError(form) => form.parts(path),
            Self::Scroll(form) => form.parts(path),
            Self::Move(form) => form.parts(path),
            Self::Navigation(form) => form.parts(path),
            Self::Page(form) => form.parts(path),
            Self::Mutation(form) => form.parts(path),
            Self::Request(form) => form.parts(path),
            Self::Error(form) => form.parts(path),
            Self::Custom(form) => form.parts(path),
        }
    }
}

/// What an event names itself by and when it happened, where it did, and what happened.
pub fn event(json: &RawValue, path: &str) -> Result<(Stamp, Context, Body), ApiError> {
    Event::read(json, path)?.parts(path)
}

/// The batch's context.
pub fn context(json: &RawValue) -> Result<Context, ApiError> {
    parse_unrepeated(json, "context")
}
