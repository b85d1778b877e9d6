//! Checks a rule's document, and reads the rule from it.

use super::documents::{ConditionDocument, RuleDocument};
use crate::engine::Millis;
use crate::families::interactions::frustration::rule::{Matcher, Rule};
use crate::settings::{Problem, Span, within};

const DAY: Millis = 86_400_000;

impl RuleDocument {
    /// The rule; none where it is not in force.
    pub fn rule(&self, name: &str) -> Result<Option<Rule>, Problem> {
        let path = |field: &str| format!("rules.{name}.{field}");
        let refuse = |field: &str, reason: &str| Problem { path: path(field), reason: reason.to_owned() };
        let is_name = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
        if name.is_empty() || name.len() > 40 || !name.chars().all(is_name) {
            let reason = "a rule's name has 1 to 40 of a to z, 0 to 9 and _".to_owned();
            return Err(Problem { path: format!("rules.{name}"), reason });
        }
        if !(0.0..=1.0).contains(&self.weight) {
            return Err(refuse("weight", "expected 0 to 1"));
        }
        let spans = |field: &str, span: Option<Span>, least| {
            span.map_or(Ok(()), |span| within(&path(field), span, least, DAY))
        };
        let some = |field: &str, list: &[ConditionDocument]| {
            if list.is_empty() { Err(refuse(field, "expected at least one condition")) } else { Ok(()) }
        };
        let times = |field: &str, times: u32| {
            if (1..=1_000).contains(&times) { Ok(()) } else { Err(refuse(field, "expected 1 to 1000")) }
        };
        let count = self.count.iter().flat_map(|count| {
            [("count.of", &count.of), ("count.unless", &count.unless), ("count.reset", &count.reset)]
        });
        let absence = self.absence.iter().flat_map(|absence| {
            [("absence.after", &absence.after), ("absence.of", &absence.of), ("absence.then", &absence.then)]
        });
        let sequence = self
            .sequence
            .iter()
            .flat_map(|sequence| [("sequence.first", &sequence.first), ("sequence.then", &sequence.then)]);
        for (list, conditions) in count.chain(absence).chain(sequence) {
            for (place, condition) in conditions.iter().enumerate() {
                let field = |name: &str| format!("{list}[{place}].{name}");
                if condition.r#type.is_empty() {
                    return Err(refuse(&field("type"), "a condition without a type matches nothing"));
                }
                spans(&field("within"), condition.within, 0)?;
            }
        }
        let matcher = match (&self.count, &self.absence, &self.reversal, &self.sequence) {
            (Some(count), None, None, None) => {
                some("count.of", &count.of)?;
                times("count.at_least", count.at_least)?;
                // With a span, so many have to be remembered.
                if count.span.is_some() && count.at_least > 24 {
                    return Err(refuse("count.at_least", "with a span, expected 1 to 24"));
                }
                spans("count.gap", count.gap, 1)?;
                spans("count.span", count.span, 1)?;
                spans("count.lasting", count.lasting, 1)?;
                spans("count.merge", Some(count.merge), 0)?;
                Matcher::Count(count.into())
            }
            (None, Some(absence), None, None) => {
                some("absence.after", &absence.after)?;
                some("absence.of", &absence.of)?;
                within(&path("absence.within"), absence.within, 1, DAY)?;
                times("absence.at_least", absence.at_least)?;
                if absence.at_most.is_some_and(|most| most < absence.at_least) {
                    return Err(refuse("absence.at_most", "is less than at_least"));
                }
                Matcher::Absence(absence.into())
            }
            (None, None, Some(reversal), None) => {
                if !(1..=24).contains(&reversal.at_least) {
                    return Err(refuse("reversal.at_least", "expected 1 to 24"));
                }
                within(&path("reversal.span"), reversal.span, 1, DAY)?;
                Matcher::Reversal(reversal.into())
            }
            (None, None, None, Some(sequence)) => {
                some("sequence.first", &sequence.first)?;
                some("sequence.then", &sequence.then)?;
                within(&path("sequence.within"), sequence.within, 0, DAY)?;
                Matcher::Sequence(sequence.into())
            }
            _ => {
                let reason = "expected exactly one of count, absence, reversal and sequence".to_owned();
                return Err(Problem { path: format!("rules.{name}"), reason });
            }
        };
        let weight = (self.weight * 1_000.0).round() as i64;
        Ok(self.enabled.then(|| Rule::new(name, weight, matcher)))
    }
}
