//! The forms of interactions in the API's JSON, one for each group of types that have the same fields.

use std::collections::BTreeMap;

use serde::Deserialize;
use utoipa::ToSchema;

use crate::families::interactions::event::Body;
use crate::families::interactions::ingest::target::Target;
use crate::http::ApiError;

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
            /// The URL of the page. Of its query the names enter the log, and the values of names that are allowed.
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
        pub(super) enum $kind {
            $($variant),+
        }

        object! {
            $(#[$about])*
            #[schema(as = $schema)]
            $name {
                #[serde(rename = "type")]
                #[schema(inline)]
                #[allow(dead_code, reason = "it is read where events of several types have the same fields")]
                pub(super) kind: $kind,
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
            pub(super) fn parts(mut self, path: &str) -> Result<(Stamp, Context, Body), ApiError> {
                let stamp = Stamp { id: self.id.take(), seq: self.seq, occurred_at: self.occurred_at.take() };
                Ok((stamp, self.take_context(), self.body(path)?))
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
        pub(super) x: f64,
        /// CSS pixels from its top.
        pub(super) y: f64,
        pub(super) viewport: Option<Viewport>,
        pub(super) target: Option<Target>,
        /// Text was selected by it.
        #[serde(default)]
        pub(super) selected_text: bool,
    }
}

/// The size of the viewport in CSS pixels.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Viewport {
    #[schema(minimum = 0)]
    pub width: f64,
    #[schema(minimum = 0)]
    pub height: f64,
}

event! {
    /// Something with a field, or a key; never what was typed.
    Input as FieldEvent, FieldType { Key, Input, Change, Focus, Blur } {
        pub(super) target: Option<Target>,
        /// The field's form, as the page names it.
        #[schema(max_length = 128)]
        pub(super) form: Option<String>,
    }
}

event! {
    /// A form was sent.
    Sent as SubmitEvent, SubmitType { Submit } {
        #[schema(min_length = 1, max_length = 128)]
        pub(super) form: String,
        /// It was refused, by the page or by the server.
        pub(super) failed: Option<bool>,
    }
}

event! {
    /// A field or form failed its validation.
    Wanting as ValidationErrorEvent, ValidationErrorType { ValidationError } {
        #[schema(min_length = 1, max_length = 128)]
        pub(super) form: String,
        pub(super) target: Option<Target>,
        /// Why, as one word: `required`.
        #[schema(min_length = 1, max_length = 128)]
        pub(super) code: Option<String>,
    }
}

event! {
    /// The page, or something in it, was scrolled.
    Scrolled as ScrollEvent, ScrollType { Scroll } {
        /// CSS pixels from the left.
        pub(super) x: f64,
        /// CSS pixels from the top.
        pub(super) y: f64,
    }
}

event! {
    /// The pointer moved.
    Moved as MoveEvent, MoveType { Move } {
        /// Each `[after_ms, x, y]`: milliseconds after `occurred_at`, not falling, and CSS pixels.
        #[schema(value_type = Vec<Vec<f64>>, min_items = 1, max_items = 500)]
        pub(super) points: Vec<[f64; 3]>,
    }
}

event! {
    /// The route or the page changed; `url` and `route` are those of the new page.
    Navigated as NavigationEvent, NavigationType { Navigation } {
        #[schema(inline)]
        pub(super) navigation: NavigationName,
    }
}

/// How the route or the page changed.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum NavigationName {
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
        pub(super) added: i32,
        #[serde(default)]
        #[schema(minimum = 0)]
        pub(super) removed: i32,
        #[serde(default)]
        #[schema(minimum = 0)]
        pub(super) attributes: i32,
        #[serde(default)]
        #[schema(minimum = 0)]
        pub(super) texts: i32,
    }
}

event! {
    /// A request to a server has ended.
    Requested as RequestEvent, RequestType { Request } {
        #[schema(min_length = 1, max_length = 16)]
        pub(super) method: String,
        /// Its route enters the log.
        #[schema(max_length = 8192)]
        pub(super) request_url: Option<String>,
        /// In the place of `request_url`: one of them is needed.
        #[schema(max_length = 8192)]
        pub(super) request_route: Option<String>,
        /// 0: there was no answer.
        #[schema(minimum = 0, maximum = 999)]
        pub(super) status: i32,
        #[schema(minimum = 0)]
        pub(super) duration_ms: f64,
    }
}

event! {
    /// Something failed.
    Failed as ErrorEvent, ErrorType { Error } {
        /// Without it, `javascript`.
        #[schema(inline)]
        pub(super) error: Option<FailureName>,
        /// Sanitised, and cut to 1024 characters.
        pub(super) message: String,
        /// `TypeError` …
        #[schema(min_length = 1, max_length = 128)]
        pub(super) name: Option<String>,
        /// The script's URL.
        #[schema(max_length = 8192)]
        pub(super) source: Option<String>,
    }
}

/// What failed.
#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum FailureName {
    #[default]
    Javascript,
    Resource,
}

event! {
    /// An event that the producer defines.
    Defined as CustomEvent, CustomType { Custom } {
        #[schema(min_length = 1, max_length = 128)]
        pub(super) name: String,
        /// At most 64: texts of at most 1024 characters, numbers, true or false. Sanitised.
        #[serde(default)]
        #[schema(value_type = BTreeMap<String, serde_json::Value>)]
        pub(super) fields: BTreeMap<String, serde_json::Value>,
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
