//! Signals of one session and route that lie close together are one incident.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use compact_str::{CompactString, ToCompactString};
use serde::{Deserialize, Serialize};

use super::scan::{Candidate, Member};
use super::settings::{InteractionSettings, SEVERITIES};
use crate::engine::EvidenceState;
use crate::engine::Millis;
use crate::families::incident::Severity;

/// The rule's name in `incidents`.
pub const RULE: &str = "frustration";

/// A signal as it is emitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SignalContent {
    /// The rule that found it.
    pub rule: CompactString,
    /// What it counts towards a score, in thousandths.
    pub weight: i64,
    /// The route on which it began.
    pub route: Arc<str>,
    /// The selector and the fingerprint of its element.
    pub element: Option<(CompactString, CompactString)>,
    /// When it began.
    pub started: Millis,
    /// When it ended.
    pub ended: Millis,
    /// How many events it took.
    pub count: u32,
    /// Whether the system itself answered with an error.
    pub is_error: bool,
    /// The first of its events to arrive.
    pub earliest: Member,
    /// The records behind it.
    pub evidence: EvidenceState,
    /// The incident of which it is part: the place of its first event in the log.
    pub incident: Option<i64>,
}

impl SignalContent {
    /// The content of a candidate's signal; none where its rule is not in force any more.
    pub fn of(candidate: &Candidate, settings: &InteractionSettings, is_error: bool) -> Option<Self> {
        let rule = settings.rules.get(usize::from(candidate.rule))?;
        let element = candidate.element.as_ref();
        let mut records: Vec<i64> = candidate.members.iter().map(|member| member.offset).collect();
        records.sort_unstable();
        records.dedup();
        let kept = candidate.members.len();
        let beyond = u64::from(candidate.count).saturating_sub(kept as u64);
        Some(Self {
            rule: rule.name.clone(),
            weight: rule.weight,
            route: Arc::clone(&candidate.route),
            element: element.map(|element| (element.selector.clone(), element.id())),
            started: candidate.started,
            ended: candidate.ended,
            count: candidate.count,
            is_error: is_error || rule.name == "error_click",
            earliest: candidate.earliest.clone(),
            evidence: EvidenceState::of(records.into_iter(), beyond),
            incident: None,
        })
    }
}

/// An incident as it is emitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IncidentContent {
    /// The route of its signals.
    pub route: Arc<str>,
    /// When its first signal began.
    pub started: Millis,
    /// When its last signal ended.
    pub ended: Millis,
    /// Whether it is over: no further signal can join it.
    pub is_over: bool,
    /// Its frustration score, 0 to 100.
    pub score: i64,
    /// Its severity, by the score.
    pub severity: Severity,
    /// The rules of its signals.
    pub rules: BTreeSet<CompactString>,
    /// The rule whose signals have the greatest weight.
    pub gravest: CompactString,
    /// How many signals it has.
    pub signals: u32,
    /// The selector of the element of the gravest that has one.
    pub element: Option<CompactString>,
    /// The system itself answered with an error.
    pub is_error: bool,
    /// The first of its events to arrive: names it.
    pub earliest: Member,
    /// The records behind it.
    pub evidence: EvidenceState,
}

impl IncidentContent {
    /// What is particular to it, as its row says it.
    pub fn attributes(&self, session: &str) -> BTreeMap<CompactString, CompactString> {
        let rules: Vec<&str> = self.rules.iter().map(CompactString::as_str).collect();
        let mut attributes = BTreeMap::from([
            ("score".into(), self.score.to_compact_string()),
            ("route".into(), (&*self.route).into()),
            ("session".into(), session.into()),
            ("rules".into(), rules.join(",").into()),
            ("signals".into(), self.signals.to_compact_string()),
            ("error".into(), self.is_error.to_compact_string()),
        ]);
        if let Some(element) = &self.element {
            attributes.insert("element".into(), element.clone());
        }
        attributes
    }

    /// One line for people.
    pub fn title(&self) -> String {
        let mut title = self.gravest.replace('_', " ");
        if let Some(first) = title.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        if self.signals > 1 {
            title += &format!(" and {} more", self.signals - 1);
        }
        format!("{title} on {}", if self.route.is_empty() { "a page" } else { &self.route })
    }
}

/// 100·(1 − ∏(1 − wᵢ)) in whole numbers, rounded; weights are thousandths.
pub fn score(weights: impl Iterator<Item = i64>) -> i64 {
    const ONE: i64 = 1_000_000_000;
    let rest = weights.fold(ONE, |rest, weight| rest * (1_000 - weight.clamp(0, 1_000)) / 1_000);
    ((ONE - rest) * 100 + ONE / 2) / ONE
}

/// The incidents of a session's signals, which are sorted by time and are told to which they belong. `now` is how far the session has
/// come; `is_closed` that it goes no farther.
pub fn correlate(
    signals: &mut [SignalContent],
    settings: &InteractionSettings,
    now: Millis,
    is_closed: bool,
) -> Vec<IncidentContent> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut latest: BTreeMap<Arc<str>, usize> = BTreeMap::new();
    for (place, signal) in signals.iter().enumerate() {
        let group = latest.get(&signal.route).copied().filter(|group| {
            let end = groups[*group].iter().map(|place| signals[*place].ended).max();
            end.is_some_and(|end| signal.started - end <= settings.together)
        });
        match group {
            Some(group) => groups[group].push(place),
            None => {
                latest.insert(Arc::clone(&signal.route), groups.len());
                groups.push(vec![place]);
            }
        }
    }
    let mut incidents = Vec::new();
    for group in groups {
        let Some(incident) = incident(&group, signals, settings, now, is_closed) else { continue };
        for place in group {
            signals[place].incident = Some(incident.earliest.offset);
        }
        incidents.push(incident);
    }
    incidents
}

fn incident(
    group: &[usize],
    signals: &[SignalContent],
    settings: &InteractionSettings,
    now: Millis,
    is_closed: bool,
) -> Option<IncidentContent> {
    let of = || group.iter().map(|place| &signals[*place]);
    let is_error = of().any(|signal| signal.is_error);
    let bonus = if is_error { settings.error_bonus } else { 0 };
    let score = (score(of().map(|signal| signal.weight)) + bonus).min(100);
    let severity = SEVERITIES.iter().find(|(least, _)| score >= *least).map(|(_, severity)| *severity)?;
    if (severity as u8) < settings.opens_at as u8 {
        return None;
    }
    // Of the same weight the first.
    let gravest = of().rev().max_by_key(|signal| signal.weight)?;
    let element = of().rev().filter(|signal| signal.element.is_some()).max_by_key(|signal| signal.weight);
    let ended = of().map(|signal| signal.ended).max()?;
    let mut evidence = EvidenceState::default();
    for signal in of() {
        evidence.merge(&signal.evidence);
    }
    Some(IncidentContent {
        route: Arc::clone(&gravest.route),
        started: of().map(|signal| signal.started).min()?,
        ended,
        is_over: is_closed || now - ended > settings.together,
        score,
        severity,
        rules: of().map(|signal| signal.rule.clone()).collect(),
        gravest: gravest.rule.clone(),
        signals: group.len() as u32,
        element: element.and_then(|signal| Some(signal.element.as_ref()?.0.clone())),
        is_error,
        earliest: of().map(|signal| &signal.earliest).min_by_key(|member| member.offset)?.clone(),
        evidence,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_the_formula() {
        for (weights, expected) in [
            (&[][..], 0),
            (&[500], 50),
            (&[500, 500], 75),
            (&[350], 35),
            (&[350, 250], 51),
            (&[700, 600, 500], 94),
            (&[1_000, 1], 100),
        ] {
            assert_eq!(score(weights.iter().copied()), expected, "{weights:?}");
        }
    }
}
