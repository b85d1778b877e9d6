//! Which unfolded records are meant.

use clap::Args;

use super::DeadLettersError;
use super::unfolded::Unfolded;
use crate::codec::json;
use crate::engine::Millis;
use crate::families;
use crate::ingest::fields;
use crate::settings::SettingsKind;

/// Which unfolded records are meant: those to which all of this applies.
#[derive(Debug, Default, Args)]
pub(super) struct Filter {
    /// Of this family
    #[arg(long, value_parser = families::parse_settings)]
    pub family: Option<&'static SettingsKind>,
    /// With this reason, such as unknown_id; that of all late events is `late`
    #[arg(long, value_name = "CODE")]
    pub reason: Option<String>,
    /// Of this tenant
    #[arg(long, value_name = "NAME")]
    pub tenant: Option<String>,
    /// Whose records were appended at this time or later: RFC 3339
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub since: Option<Millis>,
    /// Whose records were appended before this time: RFC 3339
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub until: Option<Millis>,
}

fn time(text: &str) -> Result<Millis, String> {
    fields::time(text, "time").map_err(|error| error.to_string())
}

impl Filter {
    /// An error if nothing can match.
    pub fn check(&self) -> Result<(), DeadLettersError> {
        match (self.since, self.until) {
            (Some(since), Some(until)) if since >= until => {
                Err(DeadLettersError::Span { since: shown(since), until: shown(until) })
            }
            _ => Ok(()),
        }
    }

    /// Whether an unfolded record is meant.
    pub fn matches(&self, unfolded: &Unfolded) -> bool {
        let is =
            |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        self.family.is_none_or(|family| family.name == unfolded.position.topic)
            && is(&self.reason, &unfolded.reason)
            && is(&self.tenant, &unfolded.tenant)
            && self.since.is_none_or(|since| since <= unfolded.append_time)
            && self.until.is_none_or(|until| unfolded.append_time < until)
    }
}

/// A time as it is printed.
pub(super) fn shown(time: Millis) -> String {
    json::time(time).unwrap_or_else(|| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::dead_letters::unfolded::tests::unfolded;

    fn matching(filter: &Filter) -> Vec<i64> {
        let unfolded = [unfolded(1, "late", "a"), unfolded(2, "late", "b"), unfolded(3, "poison", "a")];
        let unfolded = unfolded.iter().filter(|unfolded| filter.matches(unfolded));
        unfolded.map(|unfolded| unfolded.position.offset).collect()
    }

    #[test]
    fn a_record_must_pass_every_filter() {
        let none = || Filter::default();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(matching(&none()), [1, 2, 3]);
        assert_eq!(matching(&Filter { reason: text("late"), ..none() }), [1, 2]);
        assert_eq!(matching(&Filter { tenant: text("a"), ..none() }), [1, 3]);
        assert_eq!(matching(&Filter { reason: text("late"), tenant: text("a"), ..none() }), [1]);
        assert_eq!(matching(&Filter { family: families::settings("civic"), ..none() }), [1, 2, 3]);
        let other = Unfolded { position: "logs/0/1".parse().unwrap(), ..unfolded(1, "late", "a") };
        assert!(!Filter { family: families::settings("civic"), ..none() }.matches(&other));
    }

    #[test]
    fn a_span_holds_its_beginning_and_not_its_end() {
        let span = |since, until| Filter { since, until, ..Filter::default() };
        assert_eq!(matching(&span(Some(2), None)), [2, 3]);
        assert_eq!(matching(&span(None, Some(2))), [1]);
        assert_eq!(matching(&span(Some(2), Some(3))), [2]);
        span(Some(2), Some(3)).check().unwrap();
        for since in [3, 4] {
            assert!(matches!(span(Some(since), Some(3)).check(), Err(DeadLettersError::Span { .. })));
        }
    }
}
