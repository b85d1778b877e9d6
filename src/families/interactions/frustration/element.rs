//! An element of the page, told from others by what stays the same from build to build of the page.

use std::borrow::Cow;

use compact_str::{CompactString, format_compact};
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_128;

use crate::families::interactions::event::Target;

/// An element.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Element {
    /// A hash of its tag, role, stable selector and, if the tenant wants it, its text.
    pub fingerprint: u64,
    /// The selector, without what is generated in it.
    pub selector: CompactString,
    /// Its tag.
    pub tag: CompactString,
    /// Whether it invites a click.
    pub interactive: bool,
}

/// What is left out of a selector.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ElementRules {
    /// Classes and ids that match one of these are generated; `*` stands for anything.
    pub generated: Vec<String>,
    /// Whether elements of other texts are other elements.
    pub by_text: bool,
}

impl Element {
    /// The element of a target.
    pub fn of(target: &Target, rules: &ElementRules) -> Self {
        let selector = stable(&target.selector, rules);
        let mut hasher = XxHash3_128::new();
        let text = target.text_hash.as_deref().filter(|_| rules.by_text).unwrap_or_default();
        for part in [target.tag.as_str(), target.role.as_deref().unwrap_or_default(), &selector, text] {
            // With its length, so that the parts can't be confused.
            hasher.write(&(part.len() as u64).to_le_bytes());
            hasher.write(part.as_bytes());
        }
        Self {
            fingerprint: hasher.finish_128() as u64,
            selector: selector[..selector.floor_char_boundary(200)].into(),
            tag: target.tag[..target.tag.floor_char_boundary(40)].into(),
            interactive: target.interactive,
        }
    }

    /// The fingerprint as rows carry it: 16 hexadecimal digits.
    pub fn id(&self) -> CompactString {
        format_compact!("{:016x}", self.fingerprint)
    }
}

/// A selector without the classes and ids that are generated.
fn stable<'a>(selector: &'a str, rules: &ElementRules) -> Cow<'a, str> {
    let mut kept = String::new();
    let mut rest = selector;
    let mut is_changed = false;
    while let Some(start) = rest.find(['.', '#']) {
        let (before, name) = (&rest[..start], &rest[start + 1..]);
        let end = name
            .find(|letter: char| !(letter.is_alphanumeric() || matches!(letter, '-' | '_' | '\\')))
            .unwrap_or(name.len());
        // `.5` in `:nth-child(.5)` and a lone `#` are no names.
        let name = &name[..end];
        kept.push_str(before);
        if is_generated(name, rules) {
            is_changed = true;
        } else {
            kept.push_str(&rest[start..start + 1 + end]);
        }
        rest = &rest[start + 1 + end..];
    }
    if !is_changed {
        return Cow::Borrowed(selector);
    }
    kept.push_str(rest);
    Cow::Owned(kept)
}

/// Whether a name looks as if a tool had made it: by the tenant's patterns, or as hashes and counters look.
fn is_generated(name: &str, rules: &ElementRules) -> bool {
    rules.generated.iter().any(|pattern| matches(pattern, name)) || {
        // The hash is behind the last separator, or the whole name.
        let last = name.rsplit(['-', '_']).next().unwrap_or(name);
        let digits = last.bytes().filter(u8::is_ascii_digit).count();
        let letters = last.bytes().filter(u8::is_ascii_alphabetic).count();
        let upper = last.bytes().skip(1).any(|byte| byte.is_ascii_uppercase());
        let lower = last.bytes().any(|byte| byte.is_ascii_lowercase());
        // 3f9a1c, 1x2y3z …; 17304, 1234567890; kX3fQ.
        (last.len() >= 5 && digits >= 1 && letters >= 1 && (digits >= 2 || (upper && lower)))
            || (digits >= 3 && letters == 0)
    }
}

/// Whether `text` is as `pattern` says, in which `*` stands for anything.
pub fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, mut rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    while let Some((part, after)) = rest.split_once('*') {
        let Some(place) = text.find(part) else { return false };
        text = &text[place + part.len()..];
        rest = after;
    }
    text.ends_with(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_generated_is_left_out() {
        let rules = ElementRules { generated: vec!["css-*".into()], by_text: false };
        for (selector, expected) in [
            ("button#pay.btn.btn-primary", "button#pay.btn.btn-primary"),
            ("button.css-abc.primary", "button.primary"),
            ("div.Button_primary__3xKf2 > span", "div > span"),
            ("a.sc-1a2b3c.link:hover", "a.link:hover"),
            ("#ember1234 .item", " .item"),
            ("#row-17304", ""),
            ("li.h1.col-12.mt-4", "li.h1.col-12.mt-4"),
            ("", ""),
        ] {
            assert_eq!(stable(selector, &rules), expected, "{selector}");
        }
    }

    #[test]
    fn parts_can_not_be_confused() {
        let target = |tag: &str, selector: &str| Target {
            tag: tag.into(),
            selector: selector.into(),
            ..Target::default()
        };
        let rules = ElementRules::default();
        let one = Element::of(&target("a", "bc"), &rules);
        assert_ne!(one.fingerprint, Element::of(&target("ab", "c"), &rules).fingerprint);
        assert_eq!(one, Element::of(&target("a", "bc"), &rules));
    }

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, text, expected) in [
            ("css-*", "css-1", true),
            ("css-*", "acss-1", false),
            ("*-x", "a-x", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxc", false),
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
