//! The kinds of events, as rules name them.

use serde::{Deserialize, Serialize};

use crate::families::interactions::event::{
    Body, FieldKind, Interaction, NavigationKind, PageKind, PointerKind,
};

/// The kind of an event.
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

    /// The kind of an event.
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
