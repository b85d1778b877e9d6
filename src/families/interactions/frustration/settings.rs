//! What a tenant can set of the family, as the operator takes it.

use std::borrow::Cow;

use super::element::{ElementRules, matches};
use super::rule;
use super::rule::Rule;
use crate::engine::Millis;
use crate::families::incident::Severity;

/// What a tenant can set.
#[derive(Debug, Clone, PartialEq)]
pub struct InteractionSettings {
    /// Silence of a session that ends it: two events so far apart still belong together.
    pub gap: Millis,
    /// The longest that a session may be.
    pub maximum: Millis,
    /// How long after its end a session still takes late events.
    pub grace: Millis,
    /// A longer pause between two things that a person does is no activity.
    pub active_gap: Millis,
    /// How many events of a session are kept, so that late ones can change what follows them.
    pub events: usize,
    /// Steps of the pointer shorter than that have no direction, in px.
    pub least_step: i32,
    /// Signals of one route at most so far apart are one incident.
    pub together: Millis,
    /// What is added to a score where the system itself answered with an error.
    pub error_bonus: i64,
    /// The least severity of an incident.
    pub opens_at: Severity,
    /// Routes that stand for others: `/blog/*`.
    pub routes: Vec<String>,
    /// How elements are told apart.
    pub element: ElementRules,
    /// The rules, by name.
    pub rules: Vec<Rule>,
}

impl Default for InteractionSettings {
    fn default() -> Self {
        Self {
            gap: 30 * 60_000,
            maximum: 24 * 3_600_000,
            grace: 3_600_000,
            active_gap: 5_000,
            events: 2_000,
            least_step: 10,
            together: 30_000,
            error_bonus: 10,
            opens_at: Severity::Medium,
            routes: Vec::new(),
            element: ElementRules::default(),
            rules: rule::defaults(),
        }
    }
}

impl InteractionSettings {
    /// The route that stands for this one.
    pub fn route_of<'a>(&'a self, route: &'a str) -> Cow<'a, str> {
        let pattern = self.routes.iter().find(|pattern| matches_route(pattern, route));
        Cow::Borrowed(pattern.map_or(route, String::as_str))
    }
}

/// Segment by segment; a `*` at the end stands for all that follows.
fn matches_route(pattern: &str, route: &str) -> bool {
    let (mut patterns, mut segments) = (pattern.split('/'), route.split('/'));
    loop {
        match (patterns.next(), segments.next()) {
            (None, None) => return true,
            (Some(pattern), Some(segment)) if matches(pattern, segment) => {}
            (None, Some(_)) => return pattern.ends_with("/*"),
            _ => return false,
        }
    }
}

/// The least score of each severity, the gravest first.
pub const SEVERITIES: [(i64, Severity); 4] =
    [(80, Severity::Critical), (60, Severity::High), (35, Severity::Medium), (0, Severity::Low)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_stand_for_others() {
        for (pattern, route, expected) in [
            ("/blog/*", "/blog/a", true),
            ("/blog/*", "/blog/a/b", true),
            ("/blog/*", "/blog", false),
            ("/a/*/c", "/a/b/c", true),
            ("/a/*/c", "/a/b/d", false),
            ("/a", "/a", true),
            ("/a", "/a/b", false),
        ] {
            assert_eq!(matches_route(pattern, route), expected, "{pattern} {route}");
        }
    }
}
