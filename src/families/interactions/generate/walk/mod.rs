//! What a person does on a page, gesture by gesture. Each gesture emits its events at the walk's own time and lets that
//! time pass in the log alone, without waiting for it. A click by [`Walk::click`] and what follows from it are far enough from all else to be no sign
//! of frustration by themselves.

mod form;
mod pointer;
mod ways;

use std::sync::Arc;

use super::event::{Body, ErrorKind, Event, Fields, Visitor};
use super::human::{Human, Spot};
use super::page::{Page, Place};
use super::truth::{Label, Rule, Sign};
use crate::engine::Millis;

/// Clicks of no streak are further apart than this.
const CALM: Millis = 1_100;

/// After so long, refusals of a form are no longer counted together.
const FORGOTTEN: Millis = 31_000;

/// A session under way.
pub(super) struct Walk {
    pub human: Human,
    pub visitor: Arc<Visitor>,
    /// The time of the next event.
    pub now: Millis,
    /// It ends here, without a further event.
    pub has_ended: bool,
    pub last_click: Millis,
    /// When a form was last refused.
    last_refusal: Millis,
    tab: Tab,
    /// The tabs in the background.
    hidden: Vec<Tab>,
    tabs: u32,
    page_views: u32,
    pointer: Spot,
    /// Where the pointer's last movement went.
    heading: Spot,
    scrolled: i32,
    pub events: Vec<Event>,
    pub signs: Vec<Sign>,
}

#[derive(Debug)]
struct Tab {
    number: u32,
    place: Place,
    page_view: u32,
    /// Where "back" leads.
    history: Vec<Place>,
    /// When its last navigation was.
    arrived_at: Millis,
}

impl Walk {
    /// Begins on a page that has just been loaded.
    pub fn new(human: Human, visitor: Arc<Visitor>, now: Millis, page: Page) -> Self {
        let tab = Tab {
            number: 1,
            place: Place { page, item: 1 },
            page_view: 1,
            history: Vec::new(),
            arrived_at: now,
        };
        let mut walk = Self {
            human,
            visitor,
            now,
            has_ended: false,
            last_click: now - CALM,
            last_refusal: now - FORGOTTEN,
            tab,
            hidden: Vec::new(),
            tabs: 1,
            page_views: 1,
            pointer: (300, 300),
            heading: (1, 0),
            scrolled: 0,
            events: Vec::with_capacity(256),
            signs: Vec::new(),
        };
        walk.emit(Body::PageShow);
        walk.load();
        walk
    }

    pub fn page(&self) -> Page {
        self.tab.place.page
    }

    /// An event, now.
    pub fn emit(&mut self, body: Body) {
        let Tab { number: tab, page_view, place, .. } = self.tab;
        // Its number comes when all are in order.
        self.events.push(Event { occurred_at: self.now, tab, page_view, seq: 0, place, body });
    }

    pub fn sign(&mut self, rule: Rule, planted: Label, started_at: Millis, ended_at: Millis) {
        let session_id = self.visitor.session_id.clone();
        self.signs.push(Sign { session_id, rule, started_at, ended_at, planted });
    }

    // Time

    pub fn wait(&mut self, low: Millis, high: Millis) {
        self.now += self.human.between(low, high);
    }

    /// Waits until so long after `since`, or a moment where that has passed.
    pub fn wait_since(&mut self, since: Millis, low: Millis, high: Millis) {
        self.now = (since + self.human.between(low, high)).max(self.now + 1);
    }

    /// Looks on: long enough that what was is over.
    pub fn settle(&mut self) {
        self.now += self.human.lasting(2_200, 0.4, 1_600, 6_000);
    }

    /// Reads for a while, and scrolls or moves the pointer on the way.
    pub fn read(&mut self) {
        self.now += self.human.lasting(2_800, 0.7, 1_300, 60_000);
        match self.human.within(0, 3) {
            0 => {}
            1 => self.rove(),
            _ => self.scroll(),
        }
    }

    /// Whether a form that is refused now is so for the first time, as far as anybody counts.
    pub fn is_patient(&self) -> bool {
        self.now >= self.last_refusal + FORGOTTEN
    }

    // The page

    /// The page changes, after so long.
    pub fn answer(&mut self, low: Millis, high: Millis) {
        self.wait(low, high);
        let (added, removed) = (self.human.within(0, 12), self.human.within(0, 6));
        self.mutate(added, removed);
    }

    fn mutate(&mut self, added: i32, removed: i32) {
        let (added, removed) = (added.unsigned_abs(), removed.unsigned_abs());
        self.emit(Body::Mutation { added, removed, attributes: 1, texts: added / 3 });
    }

    /// A request ends that began so long ago.
    pub fn request(
        &mut self,
        method: &'static str,
        request_route: &'static str,
        status: u16,
        duration: Millis,
    ) {
        let duration_ms = u32::try_from(duration).unwrap_or(0);
        self.emit(Body::Request { method, request_route, status, duration_ms });
    }

    /// Something fails.
    pub fn fail(&mut self) {
        let (message, name) = *self.human.pick(&[
            ("undefined is not an object", "TypeError"),
            ("cart is not defined", "ReferenceError"),
            ("the price has too many digits", "RangeError"),
        ]);
        let source = "https://shop.example/assets/shop.js";
        self.emit(Body::Error { error: ErrorKind::Javascript, message, name: Some(name), source });
    }

    /// A picture or a request fails that nobody has asked for, long after the last click.
    pub fn fail_by_itself(&mut self) {
        self.now = self.now.max(self.last_click + 2_500);
        match self.human.within(0, 2) {
            0 => self.fail(),
            1 => self.request("GET", "/api/recommendations", 404, 120),
            _ => self.emit(Body::Error {
                error: ErrorKind::Resource,
                message: "could not be loaded",
                name: None,
                source: "https://pictures.shop.example/banner.webp",
            }),
        }
        self.settle();
    }

    /// The shop notes something of its own.
    pub fn note(&mut self) {
        let variant = *self.human.pick(&["a", "b"]);
        let fields = Fields { variant, position: self.page_views, first_visit: self.page_views == 1 };
        self.emit(Body::Custom { name: "variant_shown", fields });
    }

    fn load(&mut self) {
        let duration = self.human.lasting(180, 0.5, 40, 1_200);
        self.now += duration;
        let source = self.page().source();
        self.request("GET", source, 200, duration);
        self.wait(20, 100);
        let added = self.human.within(20, 300);
        self.mutate(added, 0);
    }
}
