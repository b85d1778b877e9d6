//! The rules that are in force unless a tenant sets others.

use super::condition::{Condition, Same};
use super::{Absence, Count, Matcher, Reversal, Rule, Sequence};
use crate::families::interactions::frustration::kind::Kind;

fn on(kinds: &[Kind]) -> Condition {
    Condition { kinds: kinds.to_vec(), ..Condition::default() }
}

const NAVIGATIONS: [Kind; 6] =
    [Kind::Push, Kind::Replace, Kind::Back, Kind::Forward, Kind::Reload, Kind::Hash];

/// Clicks of the rage rule: they don't select text, nor do they scroll.
fn rage(at_least: u32) -> Count {
    Count {
        of: vec![Condition { selected_text: Some(false), ..on(&[Kind::Click]) }],
        at_least,
        gap: Some(1_000),
        distance: Some(30),
        unless: vec![Condition { within: Some(300), ..on(&[Kind::Scroll]) }],
        ..Count::default()
    }
}

/// What answers a click.
fn progress() -> Vec<Condition> {
    let mut kinds = NAVIGATIONS.to_vec();
    kinds.extend([Kind::Mutation, Kind::Scroll, Kind::Input, Kind::Change, Kind::Focus]);
    kinds.extend([Kind::PageHide, Kind::PageUnload]);
    vec![
        on(&kinds),
        Condition { selected_text: Some(true), ..on(&[Kind::Click, Kind::DoubleClick, Kind::ContextClick]) },
    ]
}

/// What fails while somebody tries.
fn attempts() -> Vec<Condition> {
    vec![
        Condition { failed: Some(true), ..on(&[Kind::Submit, Kind::ValidationError, Kind::Request]) },
        on(&[Kind::Error]),
    ]
}

/// The nine rules (DESIGN section 6), sorted by name.
pub fn defaults() -> Vec<Rule> {
    let rule = Rule::new;
    let failed_form = vec![Condition { failed: Some(true), ..on(&[Kind::Submit, Kind::ValidationError]) }];
    vec![
        rule(
            "abandoned_form",
            400,
            Matcher::Absence(Absence {
                after: vec![on(&[Kind::Input, Kind::Change])],
                of: vec![on(&[Kind::Submit])],
                within: 60_000,
                same: Same::Form,
                collapse: Same::Form,
                then: vec![Condition { other_route: true, ..on(&NAVIGATIONS) }, on(&[Kind::PageUnload])],
                or_session_end: true,
                ..Absence::default()
            }),
        ),
        rule(
            "blocked",
            700,
            Matcher::Count(Count {
                of: attempts(),
                gap: Some(30_000),
                lasting: Some(30_000),
                same: Same::Route,
                reset: vec![
                    Condition { other_route: true, ..on(&NAVIGATIONS) },
                    Condition { failed: Some(false), ..on(&[Kind::Submit]) },
                    Condition { failed: Some(false), writes: Some(true), ..on(&[Kind::Request]) },
                ],
                ..Count::default()
            }),
        ),
        rule(
            "dead_click",
            350,
            Matcher::Absence(Absence {
                after: vec![Condition {
                    interactive: Some(true),
                    selected_text: Some(false),
                    ..on(&[Kind::Click])
                }],
                of: progress(),
                ..Absence::default()
            }),
        ),
        rule(
            "error_click",
            450,
            Matcher::Sequence(Sequence {
                first: vec![on(&[Kind::Click])],
                then: vec![
                    on(&[Kind::Error]),
                    Condition { status_at_least: Some(500), ..on(&[Kind::Request]) },
                ],
                within: 1_000,
                same: Same::Session,
            }),
        ),
        rule(
            "form_loop",
            600,
            Matcher::Count(Count {
                of: failed_form,
                span: Some(30_000),
                same: Same::Form,
                merge: 500,
                ..Count::default()
            }),
        ),
        rule(
            "quick_back",
            250,
            Matcher::Sequence(Sequence {
                first: vec![on(&[Kind::Push])],
                then: vec![on(&[Kind::Back])],
                within: 5_000,
                same: Same::Tab,
            }),
        ),
        rule("rage_click", 500, Matcher::Count(rage(3))),
        rule(
            "reload_loop",
            450,
            Matcher::Count(Count {
                of: vec![on(&[Kind::Reload])],
                span: Some(30_000),
                same: Same::Route,
                ..Count::default()
            }),
        ),
        rule("thrashed_cursor", 300, Matcher::Reversal(Reversal { at_least: 4, span: 1_000 })),
    ]
}
