//! The family interactions: what people do in a browser, and what the page does.
//!
//! Topic `interactions`, key `tenant/session`, schema `schemas/avro/*-interactions.avsc`. `docs/interactions.md` describes each
//! kind as the API takes it. What is here has passed ingest: it holds no typed text, no value of a query that was not
//! allowed, and no raw id of a person (DESIGN section 8).

use std::collections::BTreeMap;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::engine::{Event, Identity, Millis, id};

/// One record of the family topic `interactions`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Interaction {
    /// The tenant, from the API key.
    pub tenant: CompactString,
    /// The session that the producer has made up; records of one are folded together.
    pub session_id: CompactString,
    /// The tab, unique within the session; empty where there is but one.
    pub tab_id: CompactString,
    /// The window.
    pub window_id: Option<CompactString>,
    /// The page view.
    pub page_view_id: Option<CompactString>,
    /// The producer's id of this event, unique within the session. What has a [`seq`](Self::seq) needs none.
    pub event_id: Option<CompactString>,
    /// The producer's count of the events of this session and tab, from 0 or 1.
    pub seq: Option<i64>,
    /// When it happened.
    pub occurred_at: Millis,
    /// When it happened by the device's own clock, where that was wrong and has been corrected.
    pub device_time: Option<Millis>,
    /// The URL of the page: origin, route, and of the query what may be kept.
    pub url: Option<CompactString>,
    /// The route: the path, with a placeholder for each id in it. After a navigation the new one; empty where there is none.
    pub route: CompactString,
    /// A hash of the user's id; none where the producer named no user.
    pub user: Option<CompactString>,
    /// `desktop`, `mobile`, `tablet` …
    pub device: Option<CompactString>,
    /// The browser, and its version.
    pub browser: Option<CompactString>,
    /// The operating system.
    pub os: Option<CompactString>,
    /// The version of the SDK that has sent it.
    pub sdk: Option<CompactString>,
    /// What happened.
    pub body: Body,
}

/// What happened. The order of the variants is the order of the Avro union.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Body {
    /// A click.
    Pointer(Pointer),
    /// Something with a field or a key.
    Field(Field),
    /// A form was sent.
    Submit(Submit),
    /// A field or form failed its validation.
    Validation(Validation),
    /// The page, or something in it, was scrolled.
    Scroll(Scroll),
    /// The pointer moved.
    Moves(Moves),
    /// The route or the page changed.
    Navigation(Navigation),
    /// The page was shown, hidden or left.
    Page(Page),
    /// The page changed.
    Mutation(Mutation),
    /// A request to a server has ended.
    Request(Request),
    /// Something failed.
    Error(Failure),
    /// An event that the producer defines.
    Custom(Custom),
}

/// An element of the page.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// A CSS selector.
    pub selector: CompactString,
    /// Its tag, in lower case.
    pub tag: CompactString,
    /// Its ARIA role.
    pub role: Option<CompactString>,
    /// A hash of its text.
    pub text_hash: Option<CompactString>,
    /// Whether it invites a click: a button, a link, a field …
    pub interactive: bool,
}

/// A click.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pointer {
    /// The kind of click.
    pub kind: PointerKind,
    /// CSS pixels from the left of the viewport.
    pub x: i32,
    /// CSS pixels from its top.
    pub y: i32,
    /// Width of the viewport in CSS pixels.
    pub viewport_width: Option<i32>,
    /// Height of the viewport in CSS pixels.
    pub viewport_height: Option<i32>,
    /// The element that was clicked.
    pub target: Target,
    /// Text was selected by it.
    pub selected_text: bool,
}

/// Which click. The order of the variants is the order of the Avro symbols, as with every enum here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PointerKind {
    /// A click.
    Click,
    /// The second of a double click.
    DoubleClick,
    /// A click that asks for the context menu.
    ContextClick,
}

/// Something with a field, or a key; never what was typed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// What happened with the field.
    pub kind: FieldKind,
    /// The field.
    pub target: Target,
    /// Its form, as the page names it.
    pub form: Option<CompactString>,
}

/// What happened with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldKind {
    /// A key was pressed.
    Key,
    /// Its value changed with a keystroke.
    Input,
    /// Its value has changed.
    Change,
    /// It received the focus.
    Focus,
    /// It lost the focus.
    Blur,
}

/// A form was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submit {
    /// The form, as the page names it.
    pub form: CompactString,
    /// It was refused, by the page or by the server; unknown where it is missing.
    pub failed: Option<bool>,
}

/// A field or form failed its validation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validation {
    /// The form.
    pub form: CompactString,
    /// The field.
    pub target: Option<Target>,
    /// The reason as one word: `required`.
    pub code: Option<CompactString>,
}

/// The page, or something in it, was scrolled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scroll {
    /// CSS pixels from the left.
    pub x: i32,
    /// CSS pixels from the top.
    pub y: i32,
}

/// The pointer moved: samples of its path, in the order of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moves {
    /// The samples.
    pub points: Vec<Point>,
}

/// Where the pointer was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// Milliseconds after the event's time.
    pub after: i32,
    /// CSS pixels from the left of the viewport.
    pub x: i32,
    /// CSS pixels from its top.
    pub y: i32,
}

/// The route or the page changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Navigation {
    /// How the route or the page changed.
    pub kind: NavigationKind,
}

/// How the route or the page changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NavigationKind {
    /// To a new entry of the history: a link, `pushState`.
    Push,
    /// In the place of the entry: `replaceState`, a redirect.
    Replace,
    /// Back in the history.
    Back,
    /// Forward in the history.
    Forward,
    /// The same page again.
    Reload,
    /// To another fragment of the page.
    Hash,
}

/// The page was shown, hidden or left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Whether it was shown, hidden or left.
    pub kind: PageKind,
}

/// What became of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PageKind {
    /// It was loaded, or came to the front.
    Show,
    /// It went to the back.
    Hide,
    /// It was left.
    Unload,
}

/// The page changed: how many nodes, never which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mutation {
    /// Nodes added.
    pub added: i32,
    /// Nodes removed.
    pub removed: i32,
    /// Attributes changed.
    pub attributes: i32,
    /// Texts changed.
    pub texts: i32,
}

/// A request to a server has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Its method.
    pub method: CompactString,
    /// Its route.
    pub route: CompactString,
    /// Status of the answer; 0 where there was none.
    pub status: i32,
    /// How long it took, in ms.
    pub duration_ms: i32,
}

/// Something failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What failed.
    pub kind: FailureKind,
    /// The error message, sanitised.
    pub message: CompactString,
    /// The error's name, e.g. `TypeError`.
    pub name: Option<CompactString>,
    /// The URL of the script, sanitised.
    pub source: Option<CompactString>,
}

/// What failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// JavaScript.
    Javascript,
    /// A script, style, image … that could not be loaded.
    Resource,
}

/// An event that the producer defines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Custom {
    /// Its name.
    pub name: CompactString,
    /// Fields, sanitised.
    pub fields: BTreeMap<CompactString, CompactString>,
}

impl Interaction {
    /// The key of its record.
    pub fn record_key(&self) -> String {
        [&self.tenant, "/", &self.session_id].concat()
    }

    /// The hash that decides its partition: its key's.
    pub fn route(&self) -> u32 {
        id::murmur2(self.record_key().as_bytes())
    }

    /// What it is, as the API and tables name it: `click`, `navigation` …
    pub fn kind(&self) -> &'static str {
        match &self.body {
            Body::Pointer(pointer) => match pointer.kind {
                PointerKind::Click => "click",
                PointerKind::DoubleClick => "double_click",
                PointerKind::ContextClick => "context_click",
            },
            Body::Field(field) => match field.kind {
                FieldKind::Key => "key",
                FieldKind::Input => "input",
                FieldKind::Change => "change",
                FieldKind::Focus => "focus",
                FieldKind::Blur => "blur",
            },
            Body::Submit(_) => "submit",
            Body::Validation(_) => "validation_error",
            Body::Scroll(_) => "scroll",
            Body::Moves(_) => "move",
            Body::Navigation(_) => "navigation",
            Body::Page(page) => match page.kind {
                PageKind::Show => "page_show",
                PageKind::Hide => "page_hide",
                PageKind::Unload => "page_unload",
            },
            Body::Mutation(_) => "mutation",
            Body::Request(_) => "request",
            Body::Error(_) => "error",
            Body::Custom(_) => "custom",
        }
    }
}

impl Event for Interaction {
    fn tenant(&self) -> &str {
        &self.tenant
    }

    fn identity(&self) -> Identity<'_> {
        match (self.seq, &self.event_id) {
            (Some(seq), _) => Identity::Sequence { producer: &self.tab_id, number: seq.unsigned_abs() },
            (None, Some(id)) => Identity::Id(id),
            (None, None) => Identity::Record,
        }
    }

    fn event_time(&self) -> Millis {
        self.occurred_at
    }
}
