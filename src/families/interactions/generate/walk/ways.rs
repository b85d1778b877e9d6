//! Ways between pages and tabs.

use super::{Tab, Walk};
use crate::engine::Millis;
use crate::families::interactions::generate::event::{Body, Navigation};
use crate::families::interactions::generate::page::{Page, Place};

impl Walk {
    fn place(&mut self, page: Page) -> Place {
        Place { page, item: self.human.within(0, 89_999).unsigned_abs() }
    }

    fn arrive(&mut self, navigation: Navigation, place: Place) {
        self.page_views += 1;
        self.tab.page_view = self.page_views;
        self.tab.place = place;
        self.tab.arrived_at = self.now;
        self.scrolled = 0;
        self.emit(Body::Navigation { navigation });
        self.load();
    }

    /// Goes to a page of another kind; when it came.
    pub fn push(&mut self, page: Page) -> Millis {
        let place = self.place(page);
        let from = self.tab.place;
        self.tab.history.push(from);
        let at = self.now;
        self.arrive(Navigation::Push, place);
        at
    }

    /// Clicks the link to a page; when that came.
    pub fn follow(&mut self, page: Page) -> Millis {
        self.click(page.link());
        self.now += self.human.lasting(220, 0.5, 60, 1_500);
        self.push(page)
    }

    /// Goes on, as people do; when the page came.
    pub fn follow_any(&mut self) -> Millis {
        let next = self.human.weighted(self.page().next());
        self.follow(next)
    }

    /// Comes freshly to a page, by a link.
    pub fn enter(&mut self, page: Page) {
        if self.page() == page {
            self.settle();
            self.follow(if page == Page::Home { Page::Help } else { Page::Home });
        }
        self.settle();
        self.follow(page);
        self.settle();
    }

    /// Leaves for another page.
    pub fn leave(&mut self) {
        self.settle();
        self.follow_any();
    }

    /// How long ago the page came.
    pub fn dwelt(&self) -> Millis {
        self.now - self.tab.arrived_at
    }

    /// Goes back where there is a way; whether there was.
    pub fn back(&mut self) -> bool {
        let Some(place) = self.tab.history.pop() else { return false };
        self.arrive(Navigation::Back, place);
        true
    }

    /// Goes forward again, to where it has just been.
    pub fn forward(&mut self, page: Page) {
        let (place, from) = (self.place(page), self.tab.place);
        self.tab.history.push(from);
        self.arrive(Navigation::Forward, place);
    }

    /// To another part of the page, which may or may not be an entry of the history.
    pub fn jump(&mut self) {
        let navigation = *self.human.pick(&[Navigation::Hash, Navigation::Replace]);
        self.emit(Body::Navigation { navigation });
    }

    /// Loads the page again; when.
    pub fn reload(&mut self) -> Millis {
        self.emit(Body::PageUnload);
        self.wait(80, 400);
        let (at, place) = (self.now, self.tab.place);
        self.arrive(Navigation::Reload, place);
        self.wait(1, 30);
        self.emit(Body::PageShow);
        at
    }

    /// Closes the page, and with it the session.
    pub fn close(&mut self) {
        self.emit(Body::PageUnload);
        self.has_ended = true;
    }

    /// Looks at something else for a while.
    pub fn hide(&mut self) {
        self.emit(Body::PageHide);
        self.now += self.human.lasting(15_000, 1.0, 2_000, 300_000);
        self.emit(Body::PageShow);
    }

    /// Opens a link in a tab of its own.
    pub fn open_tab(&mut self) {
        let page = self.human.weighted(self.page().next());
        self.click(page.link());
        self.wait(100, 500);
        self.emit(Body::PageHide);
        self.wait(1, 50);
        (self.tabs, self.page_views) = (self.tabs + 1, self.page_views + 1);
        let tab = Tab {
            number: self.tabs,
            place: self.place(page),
            page_view: self.page_views,
            history: Vec::new(),
            arrived_at: self.now,
        };
        self.hidden.push(std::mem::replace(&mut self.tab, tab));
        self.emit(Body::PageShow);
        self.load();
    }

    /// Closes the tab, where another is open behind it.
    pub fn close_tab(&mut self) {
        if let Some(behind) = self.hidden.pop() {
            self.emit(Body::PageUnload);
            self.wait(20, 200);
            self.tab = behind;
            self.emit(Body::PageShow);
        }
    }
}
