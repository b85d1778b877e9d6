//! How many rows there are on either side.

use std::collections::BTreeMap;

use serde::Serialize;

use super::difference::Kind;
use super::facets::Facets;

/// Rows on either side, by what they are about.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// By rule and severity.
    pub rules: Vec<Group>,
    /// By area.
    pub areas: Vec<Group>,
}

/// Rows that have something in common.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// The rule, or the rows of an area.
    pub rule: String,
    /// How grave they are, where they say so.
    pub severity: Option<String>,
    /// The area, of rows that are counted by area.
    pub area: Option<String>,
    /// Rows before.
    pub before: Tally,
    /// Rows after.
    pub after: Tally,
    /// Rows that come to be.
    pub added: u64,
    /// Rows that are no more.
    pub removed: u64,
    /// Rows that say something else.
    pub changed: u64,
}

/// A number of rows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// All.
    pub rows: u64,
    /// Of what can be met: how many were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub met: Option<u64>,
}

impl Tally {
    fn add(&mut self, facets: &Facets) {
        self.rows += 1;
        if let Some(is_met) = facets.is_met {
            *self.met.get_or_insert(0) += u64::from(is_met);
        }
    }
}

/// Rows while they are counted.
#[derive(Debug, Default)]
pub(super) struct Counter {
    rules: BTreeMap<(String, Option<String>), Group>,
    areas: BTreeMap<(String, String), Group>,
}

impl Counter {
    /// Takes in a row by what it is counted under before and after.
    pub fn add(&mut self, [before, after]: [Option<&Facets>; 2], kind: Option<Kind>) {
        // A row may have another severity after than before: it counts in both groups.
        for (facets, is_after) in [(before, false), (after, true)] {
            let Some(facets) = facets else { continue };
            let count = |group: &mut Group| {
                let tally = if is_after { &mut group.after } else { &mut group.before };
                tally.add(facets);
                match kind {
                    Some(Kind::Added) => group.added += 1,
                    Some(Kind::Removed) => group.removed += 1,
                    Some(Kind::Changed) if is_after => group.changed += 1,
                    _ => {}
                }
            };
            let Facets { rule, severity, area, .. } = facets.clone();
            count(self.rules.entry((rule.clone(), severity.clone())).or_insert_with(|| Group {
                rule: rule.clone(),
                severity,
                ..Group::default()
            }));
            if let Some(area) = area {
                count(self.areas.entry((area.clone(), rule.clone())).or_insert_with(|| Group {
                    rule,
                    area: Some(area),
                    ..Group::default()
                }));
            }
        }
    }

    pub fn finish(self) -> Summary {
        Summary { rules: self.rules.into_values().collect(), areas: self.areas.into_values().collect() }
    }
}

impl Group {
    /// How many rows come or go or are judged otherwise, then how many differ at all.
    pub fn weight(&self) -> (u64, u64) {
        let judged = self.before.met.unwrap_or_default().abs_diff(self.after.met.unwrap_or_default());
        (self.added + self.removed + judged, self.added + self.removed + self.changed)
    }
}
