//! Rules as a document: what can be set of each matcher, the nine defaults, and the vendors' own.

mod check;
mod convert;
mod documents;

use std::collections::BTreeMap;

pub use self::documents::RuleDocument;
use self::documents::{AbsenceDocument, ConditionDocument, TypeName};
use crate::families::interactions::frustration::rule;
use crate::settings::Span;

/// The nine rules of DESIGN section 6.
pub fn defaults() -> BTreeMap<String, RuleDocument> {
    rule::defaults().iter().map(|rule| (rule.name.to_string(), rule.into())).collect()
}

fn on(types: &[TypeName]) -> ConditionDocument {
    ConditionDocument { r#type: types.to_vec(), ..ConditionDocument::default() }
}

/// PostHog's rage click: every click counts.
pub fn posthog(rules: &mut BTreeMap<String, RuleDocument>) {
    if let Some(count) = rules.get_mut("rage_click").and_then(|rule| rule.count.as_mut()) {
        (count.of, count.unless) = (vec![on(&[TypeName::Click])], Vec::new());
    }
}

/// Sentry's dead click, and its rage click, which is one of at least 5.
pub fn sentry(rules: &mut BTreeMap<String, RuleDocument>) {
    let tags = ["a", "button", "input"].map(str::to_owned).to_vec();
    let dead = AbsenceDocument {
        after: vec![ConditionDocument { tags, ..on(&[TypeName::Click]) }],
        of: vec![
            on(&[TypeName::Mutation, TypeName::Navigation, TypeName::PageUnload]),
            ConditionDocument { within: Some(Span(300)), ..on(&[TypeName::Scroll]) },
        ],
        at_most: Some(4),
        ..AbsenceDocument::default()
    };
    let rage = AbsenceDocument { at_least: 5, at_most: None, ..dead.clone() };
    for (name, absence) in [("dead_click", dead), ("rage_click", rage)] {
        if let Some(rule) = rules.get_mut(name) {
            (rule.count, rule.absence) = (None, Some(absence));
        }
    }
}
