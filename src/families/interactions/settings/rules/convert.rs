//! From a rule to its document, and back.

use super::documents::{
    AbsenceDocument, ConditionDocument, CountDocument, MetricName, ReversalDocument, RuleDocument, SameName,
    SequenceDocument, TypeName,
};
use crate::families::interactions::frustration::rule::{
    Absence, Condition, Count, Matcher, Metric, Reversal, Rule, Same, Sequence,
};
use crate::settings::Span;

impl From<SameName> for Same {
    fn from(name: SameName) -> Self {
        match name {
            SameName::Session => Self::Session,
            SameName::Target => Self::Target,
            SameName::Route => Self::Route,
            SameName::Form => Self::Form,
            SameName::Tab => Self::Tab,
        }
    }
}

impl From<Same> for SameName {
    fn from(same: Same) -> Self {
        match same {
            Same::Session => Self::Session,
            Same::Target => Self::Target,
            Same::Route => Self::Route,
            Same::Form => Self::Form,
            Same::Tab => Self::Tab,
        }
    }
}

impl From<&Condition> for ConditionDocument {
    fn from(condition: &Condition) -> Self {
        Self {
            r#type: condition.kinds.iter().map(|kind| TypeName::of(*kind)).collect(),
            interactive: condition.interactive,
            selected_text: condition.selected_text,
            failed: condition.failed,
            status_at_least: condition.status_at_least,
            writes: condition.writes,
            tags: condition.tags.iter().map(ToString::to_string).collect(),
            other_route: condition.other_route,
            within: condition.within.map(Span),
        }
    }
}

impl From<&ConditionDocument> for Condition {
    fn from(document: &ConditionDocument) -> Self {
        Self {
            kinds: document.r#type.iter().flat_map(|name| name.kinds()).collect(),
            interactive: document.interactive,
            selected_text: document.selected_text,
            failed: document.failed,
            status_at_least: document.status_at_least,
            writes: document.writes,
            tags: document.tags.iter().map(Into::into).collect(),
            other_route: document.other_route,
            within: document.within.map(|span| span.0),
        }
    }
}

fn documents(conditions: &[Condition]) -> Vec<ConditionDocument> {
    conditions.iter().map(ConditionDocument::from).collect()
}

fn conditions(documents: &[ConditionDocument]) -> Vec<Condition> {
    documents.iter().map(Condition::from).collect()
}

impl From<&Count> for CountDocument {
    fn from(count: &Count) -> Self {
        Self {
            of: documents(&count.of),
            at_least: count.at_least,
            gap: count.gap.map(Span),
            span: count.span.map(Span),
            lasting: count.lasting.map(Span),
            distance: count.distance.and_then(|distance| u32::try_from(distance).ok()),
            metric: match count.metric {
                Metric::Manhattan => MetricName::Manhattan,
                Metric::Euclidean => MetricName::Euclidean,
                Metric::Chebyshev => MetricName::Chebyshev,
            },
            same: count.same.into(),
            merge: Span(count.merge),
            unless: documents(&count.unless),
            spoils: count.spoils,
            reset: documents(&count.reset),
        }
    }
}

impl From<&Absence> for AbsenceDocument {
    fn from(absence: &Absence) -> Self {
        Self {
            after: documents(&absence.after),
            of: documents(&absence.of),
            within: Span(absence.within),
            same: absence.same.into(),
            collapse: absence.collapse.into(),
            at_least: absence.at_least,
            at_most: Some(absence.at_most).filter(|most| *most < u32::MAX),
            then: documents(&absence.then),
            or_session_end: absence.or_session_end,
        }
    }
}

impl From<&CountDocument> for Count {
    fn from(document: &CountDocument) -> Self {
        Self {
            of: conditions(&document.of),
            at_least: document.at_least,
            gap: document.gap.map(|span| span.0),
            span: document.span.map(|span| span.0),
            lasting: document.lasting.map(|span| span.0),
            distance: document.distance.map(i64::from),
            metric: match document.metric {
                MetricName::Manhattan => Metric::Manhattan,
                MetricName::Euclidean => Metric::Euclidean,
                MetricName::Chebyshev => Metric::Chebyshev,
            },
            same: document.same.into(),
            merge: document.merge.0,
            unless: conditions(&document.unless),
            spoils: document.spoils,
            reset: conditions(&document.reset),
        }
    }
}

impl From<&AbsenceDocument> for Absence {
    fn from(document: &AbsenceDocument) -> Self {
        Self {
            after: conditions(&document.after),
            of: conditions(&document.of),
            within: document.within.0,
            same: document.same.into(),
            collapse: document.collapse.into(),
            at_least: document.at_least,
            at_most: document.at_most.unwrap_or(u32::MAX),
            then: conditions(&document.then),
            or_session_end: document.or_session_end,
        }
    }
}

impl From<&ReversalDocument> for Reversal {
    fn from(document: &ReversalDocument) -> Self {
        Self { at_least: document.at_least, span: document.span.0 }
    }
}

impl From<&SequenceDocument> for Sequence {
    fn from(document: &SequenceDocument) -> Self {
        Self {
            first: conditions(&document.first),
            then: conditions(&document.then),
            within: document.within.0,
            same: document.same.into(),
        }
    }
}

impl From<&Rule> for RuleDocument {
    fn from(rule: &Rule) -> Self {
        let mut document = Self { weight: rule.weight as f64 / 1_000.0, ..Self::default() };
        match &rule.matcher {
            Matcher::Count(count) => document.count = Some(count.into()),
            Matcher::Absence(absence) => document.absence = Some(absence.into()),
            Matcher::Reversal(reversal) => {
                let Reversal { at_least, span } = *reversal;
                document.reversal = Some(ReversalDocument { at_least, span: Span(span) });
            }
            Matcher::Sequence(sequence) => {
                document.sequence = Some(SequenceDocument {
                    first: documents(&sequence.first),
                    then: documents(&sequence.then),
                    within: Span(sequence.within),
                    same: sequence.same.into(),
                });
            }
        }
        document
    }
}
