//! The comparison of the live table with its shadow.

use std::collections::BTreeMap;

use super::Rebuild;
use super::error::RebuildError;
use super::look::{Comparison, Differing, Look, Pair};
use super::report::{Different, Excluded, Kind, Report};
use super::shadow::{SINKS_TIMEOUT, Shadow};
use super::step::Step;
use crate::log::replay::Replay;

/// So often rows that move are looked at again.
const LOOKS: usize = 5;
/// Rows that are described.
const EXAMPLES: usize = 20;

/// What was found of the rows that differ.
#[derive(Default)]
struct Findings {
    /// Those that stand still and differ, by the table's partition.
    different: BTreeMap<String, Differing>,
    /// How many still move.
    moving: u64,
    /// The sinks have not written all that was replayed, and write no more.
    is_stalled: bool,
    /// Records that the sinks had not committed at the first look.
    pending: u64,
}

impl Rebuild {
    /// Fills the shadow and compares; and how many rows nothing could bring back.
    pub(super) async fn compared(&self, shadow: &mut Shadow) -> Result<(Report, u64), RebuildError> {
        self.approach(shadow).await?;
        Step::Filled.reach();
        let columns = shadow.source.plan.columns().map(str::to_owned).collect();
        let comparison =
            Comparison::new(&self.client, &self.tables.database, &self.live, &shadow.name, columns).await?;
        let mut total = Look::default();
        let mut suspects = BTreeMap::new();
        let partitions = comparison.partitions().await?;
        self.message("comparing partitions");
        self.bar.set_length(partitions.len() as u64);
        for (place, partition) in partitions.into_iter().enumerate() {
            self.bar.set_position(place as u64);
            let look = comparison.look(&partition).await?;
            total.rows += look.rows;
            total.retracted += look.retracted;
            total.expired += look.expired;
            if !look.differing.is_empty() {
                suspects.insert(partition, look.differing);
            }
        }
        let findings = self.look_again(shadow, &comparison, suspects).await?;
        self.report(shadow, &comparison, &total, findings).await
    }

    /// Looks again at rows that differed, until they are equal or stand still.
    async fn look_again(
        &self,
        shadow: &mut Shadow,
        comparison: &Comparison,
        mut suspects: BTreeMap<String, Differing>,
    ) -> Result<Findings, RebuildError> {
        let mut findings = Findings { pending: self.catch_up(shadow).await?, ..Findings::default() };
        for look in 1..=LOOKS {
            if suspects.is_empty() {
                break;
            }
            self.message("waiting for the sinks");
            findings.is_stalled = !self.wait_for_sinks(&shadow.filled.behind).await?;
            self.message("looking again at rows that differ");
            let mut moving = BTreeMap::new();
            for (partition, before) in suspects {
                let mut now = comparison.look(&partition).await?.differing;
                now.retain(|key, _| before.contains_key(key));
                let stands = |key: &u128, pair: &mut Pair| before.get(key) == Some(pair);
                let different: Differing = now.extract_if(.., stands).collect();
                if !different.is_empty() {
                    findings.different.entry(partition.clone()).or_default().extend(different);
                }
                if !now.is_empty() {
                    moving.insert(partition, now);
                }
            }
            suspects = moving;
            if findings.is_stalled || look == LOOKS || suspects.is_empty() {
                break;
            }
            self.catch_up(shadow).await?;
        }
        findings.moving = suspects.values().map(|rows| rows.len() as u64).sum();
        Ok(findings)
    }

    async fn report(
        &self,
        shadow: &Shadow,
        comparison: &Comparison,
        total: &Look,
        mut findings: Findings,
    ) -> Result<(Report, u64), RebuildError> {
        let first = self.read(Replay::bounds).await?;
        let is_cut = first.values().any(|bounds| bounds.start > 0);
        let (mut different, mut irreplaceable, mut examples) = (Different::default(), 0, Vec::new());
        for (partition, rows) in &mut findings.different {
            if is_cut {
                let all = rows.len();
                rows.retain(|_, pair| pair.kind() != Kind::Extra);
                irreplaceable += (all - rows.len()) as u64;
            }
            rows.values().for_each(|pair| different.add(pair.kind()));
            let some: Differing =
                rows.iter().take(EXAMPLES - examples.len()).map(|(key, pair)| (*key, *pair)).collect();
            if !some.is_empty() {
                examples.extend(comparison.examples(partition, &some).await?);
            }
        }
        let compared = total.rows.saturating_sub(findings.moving + irreplaceable);
        let moving = if findings.is_stalled {
            format!(
                "the sinks have not written what the log says of them, and commit nothing for {SINKS_TIMEOUT:?}: do they run?"
            )
        } else {
            format!("changed between any two of {} looks", LOOKS + 1)
        };
        let excluded = [
            (
                total.expired,
                "behind their TTL or less than a day from it: a merge may have removed them".to_owned(),
            ),
            (
                irreplaceable,
                "only in the table: retention has cut the topic, and may have taken their records".to_owned(),
            ),
            (findings.moving, moving),
        ];
        let excluded = excluded.into_iter().filter(|(rows, _)| *rows > 0);
        let report = Report {
            table: self.live.name.clone(),
            topic: self.topic.name.clone(),
            records: shadow.filled.rows + shadow.filled.without_row,
            records_without_row: shadow.filled.without_row,
            records_pending: findings.pending,
            compared,
            retracted: total.retracted,
            equal: compared.saturating_sub(different.total()),
            different,
            examples,
            excluded: excluded.map(|(rows, why)| Excluded { rows, why }).collect(),
            completed: false,
            swapped: false,
        };
        Ok((report, irreplaceable))
    }
}
