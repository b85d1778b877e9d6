//! From an event's form to its body on the log.

use compact_str::CompactString;

use super::forms::{
    Click, ClickType, Defined, Failed, FailureName, FieldType, Input, Moved, Mutated, Navigated,
    NavigationName, PageType, Requested, Scrolled, Sent, Shown, Viewport, Wanting,
};
use crate::families::interactions::event::{
    Body, Custom, Failure, FailureKind, Field, FieldKind, Moves, Mutation, Navigation, NavigationKind, Page,
    PageKind, Point, Pointer, PointerKind, Request, Scroll, Submit, Validation,
};
use crate::http::ApiError;
use crate::ingest::body::at;

/// A number as the log holds it.
fn whole(number: f64, path: &str, field: &str) -> Result<i32, ApiError> {
    let rounded = number.round();
    if (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&rounded) {
        // It fits, as has just been seen.
        return Ok(rounded as i32);
    }
    Err(ApiError::invalid(at(path, field), "expected a number of at most 32 bits"))
}

impl Click {
    pub(super) fn body(self, path: &str) -> Result<Body, ApiError> {
        let Self { kind, x, y, viewport, target, selected_text, .. } = self;
        let size = |field: &str, of: fn(&Viewport) -> f64| {
            viewport.as_ref().map(|viewport| whole(of(viewport), path, field)).transpose()
        };
        Ok(Body::Pointer(Pointer {
            kind: match kind {
                ClickType::Click => PointerKind::Click,
                ClickType::DoubleClick => PointerKind::DoubleClick,
                ClickType::ContextClick => PointerKind::ContextClick,
            },
            x: whole(x, path, "x")?,
            y: whole(y, path, "y")?,
            viewport_width: size("viewport.width", |viewport| viewport.width)?,
            viewport_height: size("viewport.height", |viewport| viewport.height)?,
            target: target.map(Into::into).unwrap_or_default(),
            selected_text,
        }))
    }
}

impl Input {
    pub(super) fn body(self, _: &str) -> Result<Body, ApiError> {
        let Self { kind, target, form, .. } = self;
        Ok(Body::Field(Field {
            kind: match kind {
                FieldType::Key => FieldKind::Key,
                FieldType::Input => FieldKind::Input,
                FieldType::Change => FieldKind::Change,
                FieldType::Focus => FieldKind::Focus,
                FieldType::Blur => FieldKind::Blur,
            },
            target: target.map(Into::into).unwrap_or_default(),
            form: form.map(Into::into),
        }))
    }
}

impl Sent {
    pub(super) fn body(self, _: &str) -> Result<Body, ApiError> {
        Ok(Body::Submit(Submit { form: self.form.into(), failed: self.failed }))
    }
}

impl Wanting {
    pub(super) fn body(self, _: &str) -> Result<Body, ApiError> {
        let Self { form, target, code, .. } = self;
        let target = target.map(Into::into);
        Ok(Body::Validation(Validation { form: form.into(), target, code: code.map(Into::into) }))
    }
}

impl Scrolled {
    pub(super) fn body(self, path: &str) -> Result<Body, ApiError> {
        Ok(Body::Scroll(Scroll { x: whole(self.x, path, "x")?, y: whole(self.y, path, "y")? }))
    }
}

impl Moved {
    pub(super) fn body(self, path: &str) -> Result<Body, ApiError> {
        let points = self.points.iter().enumerate().map(|(index, [after, x, y])| {
            let number =
                |number: f64, place: usize| whole(number, path, &format!("points[{index}][{place}]"));
            Ok(Point { after: number(*after, 0)?, x: number(*x, 1)?, y: number(*y, 2)? })
        });
        Ok(Body::Moves(Moves { points: points.collect::<Result<_, ApiError>>()? }))
    }
}

impl Navigated {
    pub(super) fn body(self, _: &str) -> Result<Body, ApiError> {
        Ok(Body::Navigation(Navigation {
            kind: match self.navigation {
                NavigationName::Push => NavigationKind::Push,
                NavigationName::Replace => NavigationKind::Replace,
                NavigationName::Back => NavigationKind::Back,
                NavigationName::Forward => NavigationKind::Forward,
                NavigationName::Reload => NavigationKind::Reload,
                NavigationName::Hash => NavigationKind::Hash,
            },
        }))
    }
}

impl Shown {
    pub(super) fn body(self, _: &str) -> Result<Body, ApiError> {
        Ok(Body::Page(Page {
            kind: match self.kind {
                PageType::PageShow => PageKind::Show,
                PageType::PageHide => PageKind::Hide,
                PageType::PageUnload => PageKind::Unload,
            },
        }))
    }
}

impl Mutated {
    pub(super) fn body(self, _: &str) -> Result<Body, ApiError> {
        let Self { added, removed, attributes, texts, .. } = self;
        Ok(Body::Mutation(Mutation { added, removed, attributes, texts }))
    }
}

impl Requested {
    pub(super) fn body(self, path: &str) -> Result<Body, ApiError> {
        let Self { method, request_url, request_route, status, duration_ms, .. } = self;
        let route = request_route.or(request_url);
        let route = route.ok_or_else(|| {
            ApiError::invalid(at(path, "request_url"), "missing: it or request_route is needed")
        })?;
        let duration_ms = whole(duration_ms, path, "duration_ms")?;
        Ok(Body::Request(Request { method: method.into(), route: route.into(), status, duration_ms }))
    }
}

impl Failed {
    pub(super) fn body(self, _: &str) -> Result<Body, ApiError> {
        let Self { error, message, name, source, .. } = self;
        Ok(Body::Error(Failure {
            kind: match error.unwrap_or_default() {
                FailureName::Javascript => FailureKind::Javascript,
                FailureName::Resource => FailureKind::Resource,
            },
            message: message.into(),
            name: name.map(Into::into),
            source: source.map(Into::into),
        }))
    }
}

impl Defined {
    pub(super) fn body(self, path: &str) -> Result<Body, ApiError> {
        use serde_json::Value;
        let text = |value: Value| match value {
            Value::String(text) => Ok(text.into()),
            Value::Number(number) => Ok(CompactString::from(number.to_string())),
            Value::Bool(flag) => Ok(CompactString::from(if flag { "true" } else { "false" })),
            Value::Null | Value::Array(_) | Value::Object(_) => Err(ApiError::invalid(
                at(path, "fields"),
                "the value of a field: expected a text, a number, true or false",
            )),
        };
        let fields = self.fields.into_iter().map(|(name, value)| Ok((name.into(), text(value)?)));
        let fields = fields.collect::<Result<_, ApiError>>()?;
        Ok(Body::Custom(Custom { name: self.name.into(), fields }))
    }
}
