//! An interaction as the API's JSON has it, one form a type. What is read here is still raw: what of it may enter the log is
//! decided by [`privacy`](super::privacy).

use std::collections::BTreeMap;

use compact_str::CompactString;
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::target::Target;
use crate::families::interactions::event::{Body, Custom, Failure, FailureKind, Field, FieldKind, Moves, Mutation, Navigation, NavigationKind, Page, PageKind, Point, Pointer, PointerKind, Request, Scroll, Submit, Validation};
use crate::http::ApiError;
use crate::ingest::body::{at, parse_unrepeated};

/// An object with the fields that a batch may give for all its events, and with some of its own.
macro_rules! object {
    ($(#[$about:meta])* $name:ident { $($own:tt)* }) => {
        #[derive(Deserialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        $(#[$about])*
        pub struct $name {
            /// The producer's session; its events are folded together. ASCII without blanks, controls and `@`, like every id.
            #[schema(min_length = 1, max_length = 128)]
            pub session_id: Option<String>,
            /// The tab, unique within the session.
            #[schema(max_length = 128)]
            pub tab_id: Option<String>,
            #[schema(min_length = 1, max_length = 128)]
            pub window_id: Option<String>,
            #[schema(min_length = 1, max_length = 128)]
            pub page_view_id: Option<String>,
            /// Where. Of its query the names enter the log, and the values of names that are allowed.
            #[schema(max_length = 8192)]
            pub url: Option<String>,
            /// Without it, the path of `url`. Ids in it are replaced.
            #[schema(max_length = 8192)]
            pub route: Option<String>,
            /// Any id of a user; its hash enters the log.
            #[schema(max_length = 1024)]
            pub user: Option<String>,
            /// `desktop`, `mobile`, `tablet` …
            #[schema(max_length = 256)]
            pub device: Option<String>,
            #[schema(max_length = 256)]
            pub browser: Option<String>,
            #[schema(max_length = 256)]
            pub os: Option<String>,
            /// The version of the SDK.
            #[schema(max_length = 256)]
            pub sdk: Option<String>,
            $($own)*
        }

        impl $name {
            #[allow(dead_code, reason = "a batch's context has none of its own to give")]
            fn take_context(&mut self) -> Context {
                Context {
                    session_id: self.session_id.take(),
                    tab_id: self.tab_id.take(),
                    window_id: self.window_id.take(),
                    page_view_id: self.page_view_id.take(),
                    url: self.url.take(),
                    route: self.route.take(),
                    user: self.user.take(),
                    device: self.device.take(),
                    browser: self.browser.take(),
                    os: self.os.take(),
                    sdk: self.sdk.take(),
                }
            }
        }
    };
}

/// Events of some types that have the same fields.
macro_rules! event {
    ($(#[$about:meta])* $name:ident as $schema:ident, $kind:ident { $($variant:ident),+ } { $($own:tt)* }) => {
        #[derive(Clone, Copy, Deserialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        #[allow(clippy::enum_variant_names, reason = "they are the API's")]
        enum $kind {
            $($variant),+
        }

        object! {
            $(#[$about])*
            #[schema(as = $schema)]
            $name {
                #[serde(rename = "type")]
                #[schema(inline)]
                #[allow(dead_code, reason = "it is read where events of several types have the same fields")]
                kind: $kind,
                /// The event's own id, unique within its session: it makes a repeat harmless, as `seq` does.
                #[schema(min_length = 1, max_length = 128)]
                id: Option<String>,
                /// The producer's count of the events of its session and tab, from 0 or 1.
                #[schema(minimum = 0)]
                seq: Option<i64>,
                /// Without it, when it arrived.
                #[schema(format = DateTime)]
                occurred_at: Option<String>,
                $($own)*
            }
        }

        impl $name {
            fn read(json: &RawValue, path: &str) -> Result<(Stamp, Context, Self), ApiError> {
                let mut event: Self = parse_unrepeated(json, path)?;
                let stamp = Stamp { id: event.id.take(), seq: event.seq, occurred_at: event.occurred_at.take() };
                Ok((stamp, event.take_context(), event))
            }
        }
    };
}

object! {
    /// What counts for each event of a batch that lacks it.
    #[schema(as = InteractionContext)]
    #[derive(Default)]
    Context {}
}

/// What names an event, and when it happened.
#[derive(Debug, Default)]
pub struct Stamp {
    /// The producer's id.
    pub id: Option<String>,
    /// The producer's count.
    pub seq: Option<i64>,
    /// RFC 3339.
    pub occurred_at: Option<String>,
}

event! {
    /// A click.
    Click as ClickEvent, ClickType { Click, DoubleClick, ContextClick } {
        /// CSS pixels from the left of the viewport.
        x: f64,
        /// CSS pixels from its top.
        y: f64,
        viewport: Option<Viewport>,
        target: Option<Target>,
        /// Text was selected by it.
        #[serde(default)]
        selected_text: bool,
    }
}

/// The size of the viewport in CSS pixels.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Viewport {
    #[schema(minimum = 0)]
    width: f64,
    #[schema(minimum = 0)]
    height: f64,
}

event! {
    /// Something with a field, or a key; never what was typed.
    Input as FieldEvent, FieldType { Key, Input, Change, Focus, Blur } {
        target: Option<Target>,
        /// The field's form, as the page names it.
        #[schema(max_length = 128)]
        form: Option<String>,
    }
}

event! {
    /// A form was sent.
    Sent as SubmitEvent, SubmitType { Submit } {
        #[schema(min_length = 1, max_length = 128)]
        form: String,
        /// It was refused, by the page or by the server.
        failed: Option<bool>,
    }
}

event! {
    /// A field or form was found wanting.
    Wanting as ValidationErrorEvent, ValidationErrorType { ValidationError } {
        #[schema(min_length = 1, max_length = 128)]
        form: String,
        target: Option<Target>,
        /// Why, as one word: `required`.
        #[schema(min_length = 1, max_length = 128)]
        code: Option<String>,
    }
}

event! {
    /// The page, or something in it, was scrolled.
    Scrolled as ScrollEvent, ScrollType { Scroll } {
        /// CSS pixels from the left.
        x: f64,
        /// CSS pixels from the top.
        y: f64,
    }
}

event! {
    /// The pointer moved.
    Moved as MoveEvent, MoveType { Move } {
        /// Each `[after_ms, x, y]`: milliseconds after `occurred_at`, not falling, and CSS pixels.
        #[schema(value_type = Vec<Vec<f64>>, min_items = 1, max_items = 500)]
        points: Vec<[f64; 3]>,
    }
}

event! {
    /// The route or the page changed; `url` and `route` are those of the new page.
    Navigated as NavigationEvent, NavigationType { Navigation } {
        #[schema(inline)]
        navigation: NavigationName,
    }
}

/// How the route or the page changed.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum NavigationName {
    Push,
    Replace,
    Back,
    Forward,
    Reload,
    Hash,
}

event! {
    /// The page was shown, hidden or left.
    Shown as PageEvent, PageType { PageShow, PageHide, PageUnload } {}
}

event! {
    /// The page changed: how many nodes, never which.
    Mutated as MutationEvent, MutationType { Mutation } {
        #[serde(default)]
        #[schema(minimum = 0)]
        added: i32,
        #[serde(default)]
        #[schema(minimum = 0)]
        removed: i32,
        #[serde(default)]
        #[schema(minimum = 0)]
        attributes: i32,
        #[serde(default)]
        #[schema(minimum = 0)]
        texts: i32,
    }
}

event! {
    /// A request to a server has ended.
    Requested as RequestEvent, RequestType { Request } {
        #[schema(min_length = 1, max_length = 16)]
        method: String,
        /// Its route enters the log.
        #[schema(max_length = 8192)]
        request_url: Option<String>,
        /// In the place of `request_url`: one of them is needed.
        #[schema(max_length = 8192)]
        request_route: Option<String>,
        /// 0: there was no answer.
        #[schema(minimum = 0, maximum = 999)]
        status: i32,
        #[schema(minimum = 0)]
        duration_ms: f64,
    }
}

event! {
    /// Something failed.
    Failed as ErrorEvent, ErrorType { Error } {
        /// Without it, `javascript`.
        #[schema(inline)]
        error: Option<FailureName>,
        /// Sanitised, and cut to 1024 characters.
        message: String,
        /// `TypeError` …
        #[schema(min_length = 1, max_length = 128)]
        name: Option<String>,
        /// The script's URL.
        #[schema(max_length = 8192)]
        source: Option<String>,
    }
}

/// What failed.
#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum FailureName {
    #[default]
    Javascript,
    Resource,
}

event! {
    /// What the producer defines.
    Defined as CustomEvent, CustomType { Custom } {
        #[schema(min_length = 1, max_length = 128)]
        name: String,
        /// At most 64: texts of at most 1024 characters, numbers, true or false. Sanitised.
        #[serde(default)]
        #[schema(value_type = BTreeMap<String, serde_json::Value>)]
        fields: BTreeMap<String, serde_json::Value>,
    }
}

/// An event of any type.
#[derive(ToSchema)]
#[schema(as = Interaction)]
#[serde(untagged)]
#[expect(dead_code, reason = "it describes what is read by its type")]
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
            let scroll = Scroll { x: whole(event.x, path, "x")?, y: whole(event.y, path, "y")? };
            Ok((stamp, context, Body::Scroll(scroll)))
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
    fn body(self, path: &str) -> Result<Pointer, ApiError> {
        let Self { kind, x, y, viewport, target, selected_text, .. } = self;
        let size = |field: &str, of: fn(&Viewport) -> f64| {
            viewport.as_ref().map(|viewport| whole(of(viewport), path, field)).transpose()
        };
        Ok(Pointer {
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
        })
    }
}

impl Input {
    fn body(self) -> Field {
        let Self { kind, target, form, .. } = self;
        Field {
            kind: match kind {
                FieldType::Key => FieldKind::Key,
                FieldType::Input => FieldKind::Input,
                FieldType::Change => FieldKind::Change,
                FieldType::Focus => FieldKind::Focus,
                FieldType::Blur => FieldKind::Blur,
            },
            target: target.map(Into::into).unwrap_or_default(),
            form: form.map(Into::into),
        }
    }
}

impl Moved {
    fn body(self, path: &str) -> Result<Moves, ApiError> {
        let points = self.points.iter().enumerate().map(|(index, [after, x, y])| {
            let number =
                |number: f64, place: usize| whole(number, path, &format!("points[{index}][{place}]"));
            Ok(Point { after: number(*after, 0)?, x: number(*x, 1)?, y: number(*y, 2)? })
        });
        Ok(Moves { points: points.collect::<Result<_, ApiError>>()? })
    }
}

impl Navigated {
    fn body(self) -> Navigation {
        Navigation {
            kind: match self.navigation {
                NavigationName::Push => NavigationKind::Push,
                NavigationName::Replace => NavigationKind::Replace,
                NavigationName::Back => NavigationKind::Back,
                NavigationName::Forward => NavigationKind::Forward,
                NavigationName::Reload => NavigationKind::Reload,
                NavigationName::Hash => NavigationKind::Hash,
            },
        }
    }
}

impl Shown {
    fn body(self) -> Page {
        Page {
            kind: match self.kind {
                PageType::PageShow => PageKind::Show,
                PageType::PageHide => PageKind::Hide,
                PageType::PageUnload => PageKind::Unload,
            },
        }
    }
}

impl Requested {
    fn body(self, path: &str) -> Result<Request, ApiError> {
        let Self { method, request_url, request_route, status, duration_ms, .. } = self;
        let route = request_route.or(request_url);
        let route = route.ok_or_else(|| {
            ApiError::invalid(at(path, "request_url"), "missing: it or request_route is needed")
        })?;
        let duration_ms = whole(duration_ms, path, "duration_ms")?;
        Ok(Request { method: method.into(), route: route.into(), status, duration_ms })
    }
}

impl Failed {
    fn body(self) -> Failure {
        let Self { error, message, name, source, .. } = self;
        Failure {
            kind: match error.unwrap_or_default() {
                FailureName::Javascript => FailureKind::Javascript,
                FailureName::Resource => FailureKind::Resource,
            },
            message: message.into(),
            name: name.map(Into::into),
            source: source.map(Into::into),
        }
    }
}

impl Defined {
    fn body(self, path: &str) -> Result<Custom, ApiError> {
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
        Ok(Custom { name: self.name.into(), fields: fields.collect::<Result<_, ApiError>>()? })
    }
}

impl Context {
    /// The names of its fields.
    pub const NAMES: [&str; 11] = [
        "session_id",
        "tab_id",
        "window_id",
        "page_view_id",
        "url",
        "route",
        "user",
        "device",
        "browser",
        "os",
        "sdk",
    ];

    /// The names of those that are here.
    pub fn names(&self) -> Vec<&'static str> {
        let fields = [
            &self.session_id,
            &self.tab_id,
            &self.window_id,
            &self.page_view_id,
            &self.url,
            &self.route,
            &self.user,
            &self.device,
            &self.browser,
            &self.os,
            &self.sdk,
        ];
        Self::NAMES
            .into_iter()
            .zip(fields)
            .filter(|(_, field)| field.is_some())
            .map(|(name, _)| name)
            .collect()
    }

    /// What is here, and for the rest what the batch says.
    pub fn or(self, batch: &Self) -> Self {
        let or = |own: Option<String>, shared: &Option<String>| own.or_else(|| shared.clone());
        Self {
            session_id: or(self.session_id, &batch.session_id),
            tab_id: or(self.tab_id, &batch.tab_id),
            window_id: or(self.window_id, &batch.window_id),
            page_view_id: or(self.page_view_id, &batch.page_view_id),
            url: or(self.url, &batch.url),
            route: or(self.route, &batch.route),
            user: or(self.user, &batch.user),
            device: or(self.device, &batch.device),
            browser: or(self.browser, &batch.browser),
            os: or(self.os, &batch.os),
            sdk: or(self.sdk, &batch.sdk),
        }
    }
}

/// The batch's context.
pub fn context(json: &RawValue) -> Result<Context, ApiError> {
    parse_unrepeated(json, "context")
}
