//! CSS selectors without what a page's state puts into them: the values of attributes, and texts.

use std::iter::Peekable;
use std::str::Chars;

use crate::ingest::sanitise;

/// Pseudo-classes whose argument is a selector or a number; that of any other may be a text.
const STRUCTURAL: [&str; 14] = [
    "has",
    "host",
    "is",
    "not",
    "nth-child",
    "nth-col",
    "nth-last-child",
    "nth-last-col",
    "nth-last-of-type",
    "nth-match",
    "nth-of-type",
    "part",
    "slotted",
    "where",
];

/// A selector without the values of attributes (`[value="…"]` becomes `[value]`), without the texts of `:contains(…)` and its
/// like, and without what names a person.
pub fn clean(selector: &str) -> String {
    let mut rest = selector.trim().chars().peekable();
    let mut clean = String::with_capacity(selector.len());
    while let Some(next) = rest.next() {
        match next {
            '[' => attribute(&mut rest, &mut clean),
            ':' => pseudo(&mut rest, &mut clean),
            '"' | '\'' => skip_text(&mut rest, next),
            '\\' => {
                clean.push(next);
                clean.extend(rest.next());
            }
            other => clean.push(other),
        }
    }
    sanitise::name(&clean).into_owned()
}

/// Keeps the attribute's name.
fn attribute(rest: &mut Peekable<Chars<'_>>, clean: &mut String) {
    clean.push('[');
    while rest.next_if(|c| c.is_whitespace()).is_some() {}
    let is_name = |c: &char| c.is_alphanumeric() || "-_:".contains(*c);
    while let Some(next) = rest.next_if(is_name) {
        clean.push(next);
    }
    while let Some(next) = rest.next() {
        match next {
            ']' => break,
            '"' | '\'' => skip_text(rest, next),
            '\\' => drop(rest.next()),
            _ => {}
        }
    }
    clean.push(']');
}

/// Keeps the name; and the argument, where that is a selector or a number, to be cleaned like the rest.
fn pseudo(rest: &mut Peekable<Chars<'_>>, clean: &mut String) {
    clean.push(':');
    let from = clean.len();
    while let Some(next) = rest.next_if(|c| c.is_alphanumeric() || "-_:".contains(*c)) {
        clean.push(next);
    }
    let name = clean[from..].trim_start_matches(':').to_ascii_lowercase();
    if rest.peek() == Some(&'(') && !STRUCTURAL.contains(&name.as_str()) {
        rest.next();
        skip_argument(rest);
        clean.push_str("()");
    }
}

/// Passes over an argument, as far as its own closing bracket.
fn skip_argument(rest: &mut Peekable<Chars<'_>>) {
    let mut depth = 1;
    while let Some(next) = rest.next() {
        match next {
            '(' => depth += 1,
            ')' => depth -= 1,
            '"' | '\'' => skip_text(rest, next),
            '\\' => drop(rest.next()),
            _ => {}
        }
        if depth == 0 {
            return;
        }
    }
}

/// Passes over a text, as far as its closing quote.
fn skip_text(rest: &mut Peekable<Chars<'_>>, quote: char) {
    while let Some(next) = rest.next() {
        match next {
            '\\' => drop(rest.next()),
            next if next == quote => return,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn structure_stays_and_values_go() {
        for (given, expected) in [
            ("#pay", "#pay"),
            (
                " div.card > button:nth-child(2n + 1):not(.off) ",
                "div.card > button:nth-child(2n + 1):not(.off)",
            ),
            (r#"input[name="email"][value="ann@b.example"]"#, "input[name][value]"),
            (r#"input[value='a]b' i] + p"#, "input[value] + p"),
            (r#"a[href^=https\]x]"#, "a[href]"),
            (r#"button:contains("Pay 5 EUR (now)")"#, "button:contains()"),
            ("button:has-text(/hunter2/)", "button:has-text()"),
            (r#"div:has(> input[value="hunter2"])"#, "div:has(> input[value])"),
            (r#"text="hunter2""#, "text="),
            ("[data-user=hunter2", "[data-user]"),
            ("a::part(label)", "a::part(label)"),
            (r"#a\:b", r"#a\:b"),
            ("#card-4571234567890111", "#card-[REDACTED_NUMBER]"),
            ("", ""),
        ] {
            assert_eq!(clean(given), expected, "{given}");
            assert_eq!(clean(expected), expected, "what is clean stays as it is");
        }
    }

    proptest! {
        /// Whatever surrounds it, and however it is quoted.
        #[test]
        fn no_value_of_an_attribute_stays(before in "[a-z#.> ]{0,12}", value in "[0-9A-Z(),:\\[]{3,12}", operator in "[~|^$*]?=") {
            let selector = format!("{before}[title{operator}\"{value}\"]:contains('{value}')");
            let clean = clean(&selector);
            prop_assert!(!clean.contains(&value), "{selector}: {clean}");
        }

        #[test]
        fn any_text_is_taken(text in ".{0,64}") {
            clean(&text);
        }
    }
}
