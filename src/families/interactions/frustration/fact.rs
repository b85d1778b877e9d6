//! What the rules see of an event: little enough to keep a session's events, so that a late one changes what follows it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::element::Element;
use super::settings::InteractionSettings;
use crate::families::interactions::event::{Body, FieldKind, Interaction, Moves, NavigationKind, PageKind, Point, PointerKind, Target};
use crate::engine::{Event, Millis};

/// An event of a session, as the rules see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    /// When it happened.
    pub time: Millis,
    /// Orders events of one time: the producer's count.
    pub seq: i64,
    /// Its event id in words.
    pub name: Arc<str>,
    /// Where it lies in the log.
    pub offset: i64,
    /// When it was appended.
    pub append_time: Millis,
    /// What happened.
    pub kind: Kind,
    /// Its tab: a hash.
    pub tab: u32,
    /// Where: CSS pixels.
    pub x: i32,
    /// Where: CSS pixels.
    pub y: i32,
    /// A click that selected text.
    pub selected_text: bool,
    /// Of a form or request: whether it failed, where that is known.
    pub failed: Option<bool>,
    /// Of a request: its status, 999 where there was no answer.
    pub status: i16,
    /// Of a request: whether it is meant to change something.
    pub writes: bool,
    /// On which route.
    pub route: Arc<str>,
    /// On which page; empty where that is unknown.
    pub url: Arc<str>,
    /// Of which form.
    pub form: Option<Arc<str>>,
    /// What it is about.
    pub target: Option<Arc<Element>>,
    /// The way of the pointer.
    pub way: Option<Arc<Way>>,
}

/// The place of an event among those of its session, the same whatever the order of arrival: by time; of one time by the producer's
/// count, then by a hash of its event id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Order(Millis, i64, u64);

impl Order {
    /// Before all others.
    pub const FIRST: Self = Self(Millis::MIN, i64::MIN, u64::MIN);
    /// Behind all others.
    pub const LAST: Self = Self(Millis::MAX, i64::MAX, u64::MAX);

    /// When it happened.
    pub fn time(self) -> Millis {
        self.0
    }
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named as the API names them")]
pub enum Kind {
    Click,
    DoubleClick,
    ContextClick,
    Key,
    Input,
    Change,
    Focus,
    Blur,
    Submit,
    ValidationError,
    Scroll,
    Move,
    Push,
    Replace,
    Back,
    Forward,
    Reload,
    Hash,
    PageShow,
    PageHide,
    PageUnload,
    Mutation,
    Request,
    Error,
    Custom,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 25] = [
        Self::Click,
        Self::DoubleClick,
        Self::ContextClick,
        Self::Key,
        Self::Input,
        Self::Change,
        Self::Focus,
        Self::Blur,
        Self::Submit,
        Self::ValidationError,
        Self::Scroll,
        Self::Move,
        Self::Push,
        Self::Replace,
        Self::Back,
        Self::Forward,
        Self::Reload,
        Self::Hash,
        Self::PageShow,
        Self::PageHide,
        Self::PageUnload,
        Self::Mutation,
        Self::Request,
        Self::Error,
        Self::Custom,
    ];

    /// Whether a person does it, rather than the page.
    pub fn is_human(self) -> bool {
        !matches!(self, Self::Mutation | Self::Request | Self::Error | Self::Custom)
            && !matches!(self, Self::PageHide | Self::PageUnload)
    }

    /// It alone, as a set of kinds.
    pub fn bit(self) -> u32 {
        1 << self as u32
    }

    /// Whether the route or page changes by it.
    pub fn is_navigation(self) -> bool {
        matches!(self, Self::Push | Self::Replace | Self::Back | Self::Forward | Self::Reload | Self::Hash)
    }

    /// As the API and the tables name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Click => "click",
            Self::DoubleClick => "double_click",
            Self::ContextClick => "context_click",
            Self::Key => "key",
            Self::Input => "input",
            Self::Change => "change",
            Self::Focus => "focus",
            Self::Blur => "blur",
            Self::Submit => "submit",
            Self::ValidationError => "validation_error",
            Self::Scroll => "scroll",
            Self::Move => "move",
            Self::PageShow => "page_show",
            Self::PageHide => "page_hide",
            Self::PageUnload => "page_unload",
            Self::Mutation => "mutation",
            Self::Request => "request",
            Self::Error => "error",
            Self::Custom => "custom",
            _ => "navigation",
        }
    }

    /// What an event is.
    pub fn of(event: &Interaction) -> Self {
        match &event.body {
            Body::Pointer(pointer) => match pointer.kind {
                PointerKind::Click => Self::Click,
                PointerKind::DoubleClick => Self::DoubleClick,
                PointerKind::ContextClick => Self::ContextClick,
            },
            Body::Field(field) => match field.kind {
                FieldKind::Key => Self::Key,
                FieldKind::Input => Self::Input,
                FieldKind::Change => Self::Change,
                FieldKind::Focus => Self::Focus,
                FieldKind::Blur => Self::Blur,
            },
            Body::Submit(_) => Self::Submit,
            Body::Validation(_) => Self::ValidationError,
            Body::Scroll(_) => Self::Scroll,
            Body::Moves(_) => Self::Move,
            Body::Navigation(navigation) => match navigation.kind {
                NavigationKind::Push => Self::Push,
                NavigationKind::Replace => Self::Replace,
                NavigationKind::Back => Self::Back,
                NavigationKind::Forward => Self::Forward,
                NavigationKind::Reload => Self::Reload,
                NavigationKind::Hash => Self::Hash,
            },
            Body::Page(page) => match page.kind {
                PageKind::Show => Self::PageShow,
                PageKind::Hide => Self::PageHide,
                PageKind::Unload => Self::PageUnload,
            },
            Body::Mutation(_) => Self::Mutation,
            Body::Request(_) => Self::Request,
            Body::Error(_) => Self::Error,
            Body::Custom(_) => Self::Custom,
        }
    }
}

/// The way of the pointer within one record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// When it turned back: ms after the record's time.
    pub turns: Vec<i32>,
    /// The direction in which it began.
    pub begins: (i32, i32),
    /// The direction in which it ended.
    pub ends: (i32, i32),
}

impl Way {
    /// A turn is where the direction changes by more than 90°; steps shorter than `least` px have none.
    fn of(moves: &Moves, least: i32) -> Option<Self> {
        let mut points = moves.points.iter();
        let mut from: Point = *points.next()?;
        let mut way: Option<Self> = None;
        for point in points {
            let step = (point.x.saturating_sub(from.x), point.y.saturating_sub(from.y));
            if i64::from(step.0).pow(2) + i64::from(step.1).pow(2) < i64::from(least).pow(2) {
                continue;
            }
            match &mut way {
                None => way = Some(Self { turns: Vec::new(), begins: step, ends: step }),
                Some(way) => {
                    if turns_back(way.ends, step) && way.turns.len() < 64 {
                        way.turns.push(from.after);
                    }
                    way.ends = step;
                }
            }
            from = *point;
        }
        way
    }
}

/// Whether two directions are more than 90° apart.
pub fn turns_back(one: (i32, i32), other: (i32, i32)) -> bool {
    i64::from(one.0) * i64::from(other.0) + i64::from(one.1) * i64::from(other.1) < 0
}

/// Of a text so much as the state keeps: an entry of it has its limits.
fn shortened(text: &str) -> &str {
    const MOST: usize = 200;
    &text[..text.floor_char_boundary(MOST)]
}

impl Fact {
    /// What the rules see of an event. `before` is the route and page where the last one was: texts that are the same are shared.
    pub fn of(
        event: &Interaction,
        place: (i64, Millis),
        before: Option<&(Arc<str>, Arc<str>)>,
        settings: &InteractionSettings,
    ) -> Self {
        let share = |text: &str, before: Option<&Arc<str>>| match before {
            Some(before) if **before == *text => Arc::clone(before),
            _ => Arc::from(text),
        };
        let route = share(shortened(&settings.route_of(&event.route)), before.map(|(route, _)| route));
        let url = share(shortened(event.url.as_deref().unwrap_or_default()), before.map(|(_, url)| url));
        let element = |target: &Target| Arc::new(Element::of(target, &settings.element));
        let mut fact = Self {
            time: event.occurred_at,
            seq: event.seq.unwrap_or(i64::MAX),
            name: shortened(&event.identity().name()).into(),
            offset: place.0,
            append_time: place.1,
            kind: Kind::of(event),
            tab: crate::engine::id::murmur2(event.tab_id.as_bytes()),
            x: 0,
            y: 0,
            selected_text: false,
            failed: None,
            status: 0,
            writes: false,
            route,
            url,
            form: None,
            target: None,
            way: None,
        };
        match &event.body {
            Body::Pointer(pointer) => {
                (fact.x, fact.y, fact.selected_text) = (pointer.x, pointer.y, pointer.selected_text);
                fact.target = Some(element(&pointer.target));
            }
            Body::Field(field) => {
                fact.form = field.form.as_deref().map(|form| shortened(form).into());
                fact.target = Some(element(&field.target));
            }
            Body::Submit(submit) => {
                (fact.form, fact.failed) = (Some(shortened(&submit.form).into()), submit.failed);
            }
            Body::Validation(validation) => {
                fact.form = Some(shortened(&validation.form).into());
                fact.failed = Some(true);
                fact.target = validation.target.as_ref().map(element);
            }
            Body::Moves(moves) => fact.way = Way::of(moves, settings.least_step).map(Arc::new),
            Body::Request(request) => {
                fact.status = if request.status <= 0 { 999 } else { request.status.min(998) as i16 };
                fact.failed = Some(fact.status >= 400);
                fact.writes = !["GET", "HEAD", "OPTIONS"]
                    .iter()
                    .any(|method| method.eq_ignore_ascii_case(&request.method));
            }
            Body::Scroll(_)
            | Body::Navigation(_)
            | Body::Page(_)
            | Body::Mutation(_)
            | Body::Error(_)
            | Body::Custom(_) => {}
        }
        fact
    }

    /// Its place among the events of its session.
    pub fn order(&self) -> Order {
        Order(self.time, self.seq, twox_hash::XxHash3_128::oneshot(self.name.as_bytes()) as u64)
    }

    /// Whether the system itself answered with an error.
    pub fn is_error(&self) -> bool {
        self.kind == Kind::Error || self.status >= 500
    }
}
