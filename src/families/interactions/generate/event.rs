//! Events in the form that `POST /v1/interactions` takes, told apart by `type`. Generated ones say so: their `sdk` is
//! [`SDK`], and their sessions' names begin with `generated-`.

use std::sync::Arc;

use compact_str::{CompactString, format_compact};
use serde::{Serialize, Serializer};

use super::page::{Element, Place};
use crate::codec::json::{rfc3339, rfc3339_or_null};
use crate::engine::Millis;

/// What every generated event names as its SDK.
pub const SDK: &str = "tidewatch-generate";

/// A visitor, and the device and browser that they use.
#[derive(Debug, Clone)]
pub struct Visitor {
    /// Their session.
    pub session_id: CompactString,
    /// Their made-up id, as a producer knows it: ingest keeps a hash of it.
    pub user: CompactString,
    /// Their device.
    pub device: &'static Device,
    /// How far the device's clock goes before the true time, in ms.
    pub skew: Millis,
}

/// A device.
#[derive(Debug)]
pub struct Device {
    /// `desktop`, `mobile`, `tablet`.
    pub kind: &'static str,
    /// Its browser.
    pub browser: &'static str,
    /// Its operating system.
    pub os: &'static str,
    /// Its viewport.
    pub viewport: Viewport,
}

/// The visible part of a page, in CSS pixels.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Viewport {
    /// Across.
    pub width: i32,
    /// Down.
    pub height: i32,
}

/// An event.
#[derive(Debug, Clone)]
pub struct Event {
    /// When it happened: the true time.
    pub occurred_at: Millis,
    /// In which tab of the session, from 1.
    pub tab: u32,
    /// In which page view of the session, from 1.
    pub page_view: u32,
    /// Its number among the events of its tab, from 0, without a gap.
    pub seq: u32,
    /// Where it happens.
    pub place: Place,
    /// What.
    pub body: Body,
}

/// What happened.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(missing_docs, reason = "they are the types of the format")]
pub enum Body {
    Click(Pointer),
    DoubleClick(Pointer),
    ContextClick(Pointer),
    Key(Field),
    Input(Field),
    Change(Field),
    Focus(Field),
    Blur(Field),
    Submit {
        form: &'static str,
        failed: bool,
    },
    ValidationError {
        form: &'static str,
        target: &'static Element,
        code: &'static str,
    },
    Scroll {
        x: i32,
        y: i32,
    },
    Move {
        points: Vec<Point>,
    },
    Navigation {
        navigation: Navigation,
    },
    PageShow,
    PageHide,
    PageUnload,
    Mutation {
        added: u32,
        removed: u32,
        attributes: u32,
        texts: u32,
    },
    Request {
        method: &'static str,
        request_route: &'static str,
        status: u16,
        duration_ms: u32,
    },
    Error {
        error: ErrorKind,
        message: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<&'static str>,
        source: &'static str,
    },
    Custom {
        name: &'static str,
        fields: Fields,
    },
}

/// Milliseconds after the event's time, and where: x, y.
pub type Point = (i32, i32, i32);

/// A click.
#[derive(Debug, Clone, Serialize)]
pub struct Pointer {
    /// CSS pixels from the left of the viewport.
    pub x: i32,
    /// CSS pixels from its top.
    pub y: i32,
    /// The viewport.
    pub viewport: Viewport,
    /// What was clicked.
    pub target: &'static Element,
    /// Text was selected by it.
    #[serde(skip_serializing_if = "is_false")]
    pub selected_text: bool,
}

/// Something with a field, or a key.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Field {
    /// The field.
    pub target: &'static Element,
    /// Its form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub form: Option<&'static str>,
}

/// How the page changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "they are the kinds of the format")]
pub enum Navigation {
    Push,
    Replace,
    Back,
    Forward,
    Reload,
    Hash,
}

/// What failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "they are the kinds of the format")]
pub enum ErrorKind {
    Javascript,
    Resource,
}

/// What a shop says of its own.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Fields {
    /// Text.
    pub variant: &'static str,
    /// A number.
    pub position: u32,
    /// Or neither.
    pub first_visit: bool,
}

fn is_false(is: &bool) -> bool {
    !is
}

/// What the events of a tab have in common.
#[derive(Debug, Serialize)]
pub struct Context<'a> {
    session_id: &'a str,
    tab_id: CompactString,
    window_id: &'static str,
    user: &'a str,
    device: &'static str,
    browser: &'static str,
    os: &'static str,
    sdk: &'static str,
}

impl<'a> Context<'a> {
    /// That of a tab.
    pub fn new(visitor: &'a Visitor, tab: u32) -> Self {
        let Device { kind: device, browser, os, .. } = visitor.device;
        Self {
            session_id: &visitor.session_id,
            tab_id: format_compact!("tab-{tab}"),
            window_id: "window-1",
            user: &visitor.user,
            device,
            browser,
            os,
            sdk: SDK,
        }
    }
}

/// An event without what its context says.
#[derive(Debug, Serialize)]
pub struct Item<'a> {
    page_view_id: CompactString,
    seq: u32,
    #[serde(serialize_with = "rfc3339")]
    occurred_at: Millis,
    #[serde(serialize_with = "shown")]
    url: Place,
    #[serde(flatten)]
    body: &'a Body,
}

impl<'a> Item<'a> {
    /// An event as a device tells it whose clock is so far before the true time.
    pub fn new(event: &'a Event, skew: Millis) -> Self {
        Self {
            page_view_id: format_compact!("view-{}", event.page_view),
            seq: event.seq,
            occurred_at: event.occurred_at + skew,
            url: event.place,
            body: &event.body,
        }
    }
}

/// An event by itself, as a line of a file: with the true time, which is what ingest makes of a wrong one.
#[derive(Debug, Serialize)]
pub struct Line<'a> {
    /// When it arrives, where a trial is to know.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rfc3339_or_null")]
    pub arrived_at: Option<Millis>,
    /// What it shares with its tab.
    #[serde(flatten)]
    pub context: &'a Context<'a>,
    /// Itself.
    #[serde(flatten)]
    pub item: Item<'a>,
}

/// What a tab sends at once.
#[derive(Debug, Clone)]
pub struct Batch {
    /// When it arrives: true time.
    pub arrived_at: Millis,
    /// The visitor that sends it.
    pub visitor: Arc<Visitor>,
    /// The events, of one tab, in order of `seq`; a repeat shares them.
    pub events: Arc<[Event]>,
}

/// The body of a request.
#[derive(Debug, Serialize)]
pub struct Request<'a> {
    context: Context<'a>,
    #[serde(serialize_with = "rfc3339")]
    sent_at: Millis,
    events: Vec<Item<'a>>,
}

impl Batch {
    fn context(&self) -> Context<'_> {
        Context::new(&self.visitor, self.events.first().map_or(1, |event| event.tab))
    }

    /// The body of a request that is sent at that time: all times are by the device's clock.
    pub fn request(&self, sent_at: Millis) -> Request<'_> {
        let skew = self.visitor.skew;
        let events = self.events.iter().map(|event| Item::new(event, skew)).collect();
        Request { context: self.context(), sent_at: sent_at + skew, events }
    }

    /// Appends the events to `output`, `separator` behind each; with `arrived_at` unless they are to be `bare`.
    pub fn write(&self, output: &mut Vec<u8>, is_bare: bool, separator: u8) -> serde_json::Result<()> {
        let context = self.context();
        for event in &*self.events {
            let arrived_at = (!is_bare).then_some(self.arrived_at);
            let line = Line { arrived_at, context: &context, item: Item::new(event, 0) };
            serde_json::to_writer(&mut *output, &line)?;
            output.push(separator);
        }
        Ok(())
    }
}

fn shown<T: std::fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
