//! The pointer: where it goes, what it clicks, and how it scrolls.

use super::{CALM, Walk};
use crate::engine::Millis;
use crate::families::interactions::generate::event::{Body, Point, Pointer};
use crate::families::interactions::generate::human::Spot;
use crate::families::interactions::generate::page::Element;

impl Walk {
    pub fn has_pointer(&self) -> bool {
        self.visitor.device.kind == "desktop"
    }

    fn spot(&mut self) -> Spot {
        let viewport = self.visitor.device.viewport;
        let (width, height) = (viewport.width, viewport.height);
        (self.human.within(width / 4, width * 3 / 4), self.human.within(height / 4, height * 3 / 4))
    }

    /// Moves the pointer to some place, which is not where it is.
    pub fn rove(&mut self) {
        let (mut to, from) = (self.spot(), self.pointer);
        while (to.0 - from.0).abs() + (to.1 - from.1).abs() < 40 {
            to = self.spot();
        }
        if self.has_pointer() {
            let points = self.human.way(from, to);
            self.heading = (to.0 - from.0, to.1 - from.1);
            self.follow_points(points);
            self.wait(30, 120);
        } else {
            self.wait(200, 600);
        }
        self.pointer = to;
    }

    fn follow_points(&mut self, points: Vec<Point>) {
        let end = points.last().map_or(0, |point| point.0);
        self.emit(Body::Move { points });
        self.now += Millis::from(end);
    }

    /// Moves the pointer by steps of so many ms, each of the given length and direction, in so many points each. The first one
    /// should go on as the pointer went last: else its beginning is one reversal more.
    pub fn trace(&mut self, steps: &[(i32, Spot)], points_each: i32) {
        let ((mut x, mut y), mut after) = (self.pointer, 0);
        let mut points = vec![(0, x, y)];
        for &(millis, (dx, dy)) in steps {
            points.extend(
                (1..=points_each)
                    .map(|n| (n, points_each))
                    .map(|(n, of)| (after + millis * n / of, x + dx * n / of, y + dy * n / of)),
            );
            (x, y, after) = (x + dx, y + dy, after + millis);
            self.heading = (dx, dy);
        }
        self.follow_points(points);
        self.pointer = (x, y);
    }

    /// The axis nearest to the pointer's last movement, as a vector of length 1.
    pub fn axis(&self) -> Spot {
        let (dx, dy) = self.heading;
        if dx.abs() >= dy.abs() { (dx.signum(), 0) } else { (0, dy.signum()) }
    }

    /// Moves the pointer by a few pixels, as a hand does that clicks again: too little to be recorded.
    pub fn tremble(&mut self) {
        self.pointer.0 += self.human.within(-6, 6);
        self.pointer.1 += self.human.within(-6, 6);
    }

    /// Moves the pointer so many pixels aside, at once.
    pub fn shift(&mut self, pixels: i32) {
        self.pointer.0 += pixels;
    }

    /// Clicks where the pointer is, at once.
    pub fn press(&mut self, target: &'static Element, selected_text: bool) {
        self.last_click = self.now;
        let pointer = self.pointer_at(target, selected_text);
        self.emit(Body::Click(pointer));
    }

    fn pointer_at(&self, target: &'static Element, selected_text: bool) -> Pointer {
        let (x, y) = self.pointer;
        Pointer { x, y, viewport: self.visitor.device.viewport, target, selected_text }
    }

    /// Goes to an element and clicks it; when.
    pub fn click(&mut self, target: &'static Element) -> Millis {
        self.now = self.now.max(self.last_click + CALM);
        self.rove();
        self.press(target, false);
        self.now
    }

    /// Selects a word: a double click on it.
    pub fn select(&mut self, target: &'static Element) {
        self.click(target);
        self.wait(90, 250);
        self.press(target, true);
        self.wait(1, 8);
        let pointer = self.pointer_at(target, true);
        self.emit(Body::DoubleClick(pointer));
    }

    /// Asks for the context menu.
    pub fn ask(&mut self, target: &'static Element) {
        self.rove();
        let pointer = self.pointer_at(target, false);
        self.emit(Body::ContextClick(pointer));
    }

    /// Scrolls a little, after so long.
    pub fn scroll_a_step(&mut self, low: Millis, high: Millis) {
        self.wait(low, high);
        self.scrolled += 60;
        self.emit(Body::Scroll { x: 0, y: self.scrolled });
    }

    /// Scrolls: a burst of events.
    pub fn scroll(&mut self) {
        let step = if self.scrolled > 0 && self.human.chance(35) { -90 } else { 130 };
        for _ in 0..self.human.within(2, 8) {
            self.wait(30, 120);
            self.scrolled = (self.scrolled + step + self.human.within(-40, 40)).max(0);
            self.emit(Body::Scroll { x: 0, y: self.scrolled });
        }
    }
}
