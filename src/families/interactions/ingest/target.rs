//! An element as the API names it, and whether it invites a click.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::families::interactions::event;

/// Tags of elements that invite a click.
const TAGS: [&str; 8] = ["a", "button", "input", "label", "option", "select", "summary", "textarea"];
/// ARIA roles of widgets that do.
const ROLES: [&str; 18] = [
    "button",
    "checkbox",
    "combobox",
    "gridcell",
    "link",
    "listbox",
    "menuitem",
    "menuitemcheckbox",
    "menuitemradio",
    "option",
    "radio",
    "searchbox",
    "slider",
    "spinbutton",
    "switch",
    "tab",
    "textbox",
    "treeitem",
];

/// An element of the page.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = InteractionTarget)]
pub struct Target {
    /// A CSS selector; the values of its attributes and the texts in it are dropped.
    #[schema(max_length = 1024)]
    #[serde(default)]
    selector: Option<String>,
    #[schema(max_length = 64)]
    tag: Option<String>,
    /// Its ARIA role.
    #[schema(max_length = 32)]
    role: Option<String>,
    /// A hash of its text; it is hashed once more.
    #[schema(max_length = 128)]
    text_hash: Option<String>,
    /// Whether it invites a click. Without it, that follows from tag and role.
    interactive: Option<bool>,
}

impl From<Target> for event::Target {
    fn from(target: Target) -> Self {
        let Target { selector, tag, role, text_hash, interactive } = target;
        let interactive = interactive.unwrap_or_else(|| is_interactive(tag.as_deref(), role.as_deref()));
        Self {
            selector: selector.unwrap_or_default().into(),
            tag: tag.unwrap_or_default().trim().into(),
            role: role.map(Into::into),
            text_hash: text_hash.map(Into::into),
            interactive,
        }
    }
}

fn is_interactive(tag: Option<&str>, role: Option<&str>) -> bool {
    let is_one_of = |name: Option<&str>, names: &[&str]| {
        name.is_some_and(|name| names.iter().any(|known| name.trim().eq_ignore_ascii_case(known)))
    };
    is_one_of(tag, &TAGS) || is_one_of(role, &ROLES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_invites_a_click_is_known_by_tag_and_role() {
        for (tag, role, expected) in [
            (Some("BUTTON"), None, true),
            (Some("div"), Some("button"), true),
            (Some("div"), Some("presentation"), false),
            (Some("div"), None, false),
            (None, None, false),
        ] {
            assert_eq!(is_interactive(tag, role), expected, "{tag:?} {role:?}");
        }
        let said = |interactive| {
            let target = Target { tag: Some("a".into()), interactive, ..Target::default() };
            event::Target::from(target).interactive
        };
        assert!(said(None) && said(Some(true)) && !said(Some(false)), "what is said wins");
    }
}
