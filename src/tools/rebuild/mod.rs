//! `tidewatch rebuild`: makes a table anew from its topic beside the live one, compares the two row by row, and puts the new
//! one in the live one's place (I1).
//!
//! It runs while everything else does, so either side may be ahead of the other, and a row that differs at one look may just
//! be on its way. Three rules make what it says exact:
//!
//! 1. At the first look the shadow holds what the sinks have *committed*, so the live table lacks none of it: a row that is
//!    equal is equal as far as the sinks have come.
//! 2. Before each further look the shadow is filled up to an end of the log that is taken *after* the look before, so it
//!    holds all that the live table can have shown there.
//! 3. A row is different only if it differs in two looks and stands still on both sides between them. Had the live table been
//!    ahead, what it showed would be in the shadow by the second look; had it been behind, the shadow would have gone on
//!    since. A row that moves is looked at again, and excluded in the end.
//!
//! Runs at the same time do no harm: each fills a table of its own name and the last to begin removes those of the others,
//! which then end. A run that is killed leaves either a table that the next one removes, or a swap that the next one completes
//! (its `mark` tells).

mod error;
mod fill;
mod look;
mod mark;
mod report;
mod step;
mod table;
pub mod tool;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clickhouse::Client;
use indicatif::ProgressBar;
use rdkafka::error::KafkaResult;

pub use error::RebuildError;
pub use report::{Column, Different, Example, Excluded, Kind, Report};

use fill::{Filled, Offsets, fill};
use look::{Comparison, Differing, Look, Pair};
use mark::Mark;
use step::Step;
use table::{Table, Tables};

use crate::config::Config;
use crate::log::replay::Replay;
use crate::log::topics;
use crate::log::topics::Topic;
use crate::log::{Log, lag};
use crate::sink;
use crate::sink::Source;
use crate::store;

/// So often the shadow is brought closer to the sinks before the first look.
const APPROACHES: usize = 5;
/// What is nearer than so many offsets needs no further approach.
const NEAR: i64 = 10_000;
/// So often rows that move are looked at again.
const LOOKS: usize = 5;
/// A group of sinks that has committed nothing for so long is not waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Rows that are described.
const EXAMPLES: usize = 20;

/// The topics that have a table, with it.
pub fn tables() -> impl Iterator<Item = (&'static Topic, &'static str)> {
    topics::all().iter().filter_map(|topic| Some((topic, topic.table.as_deref()?)))
}

/// Rebuilds a table beside the live one, compares them, and with `swap` puts it in the live one's place. `bar` shows how far
/// it has come.
///
/// # Errors
/// If Kafka or ClickHouse is away or refuses, or another run takes over ([`RebuildError`]). The live table is what it was,
/// save for [`RebuildError::Unfinished`].
pub async fn rebuild(
    config: &Config,
    table: &str,
    swap: bool,
    bar: &ProgressBar,
) -> Result<Report, RebuildError> {
    let Some((topic, table)) = tables().find(|(_, name)| *name == table) else {
        let tables = tables().map(|(_, name)| name).collect::<Vec<_>>().join(", ");
        return Err(RebuildError::UnknownTable { table: table.to_owned(), tables });
    };
    let client = store::client(&config.clickhouse);
    let tables = Tables { client: client.clone(), database: config.clickhouse.database.clone() };
    let live = tables.describe(table).await?;
    let log = Log::new(&config.kafka);
    let source = sink::source_of(&client, &tables.database, &log, topic, table).await?;
    let mut rebuild =
        Rebuild { client, tables, log, topic, live, source: Arc::new(source), bar: bar.clone() };

    let completed = rebuild.complete().await?;
    for leftover in rebuild.tables.leftovers(table).await? {
        rebuild.tables.drop(&leftover).await?;
    }
    let name = rebuild.tables.create_like(&rebuild.live).await?;
    let shadow = rebuild.shadow(name).await;
    let result = match shadow {
        Ok(shadow) => rebuild.run(shadow, swap).await,
        Err(error) => Err(error),
    };
    bar.finish_and_clear();
    result.map(|report| Report { completed, ..report })
}

/// A run.
struct Rebuild {
    client: Client,
    tables: Tables,
    log: Log,
    topic: &'static Topic,
    live: Table,
    /// How rows get into the live table.
    source: Arc<Source>,
    bar: ProgressBar,
}

/// The table that is filled from the log.
struct Shadow {
    name: String,
    /// How rows get into it.
    source: Arc<Source>,
    /// How far it is filled.
    position: BTreeMap<i32, i64>,
    /// What was read for it.
    filled: Filled,
}

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
    /// Completes a swap that was cut short, if there is one.
    async fn complete(&mut self) -> Result<bool, RebuildError> {
        let Some(mark) = self.live.mark.take() else { return Ok(false) };
        self.message("completing a swap that was cut short");
        let bounds = self.read(Replay::stable_bounds).await?;
        for (partition, bounds) in &bounds {
            let offset = mark.offsets.get(partition).copied().unwrap_or(0);
            if offset < bounds.start {
                let former = self.tables.leftovers(&self.live.name).await?.join(", ");
                let (table, topic) = (self.live.name.clone(), self.topic.name.clone());
                return Err(RebuildError::Lost { table, topic, partition: *partition, offset, former });
            }
        }
        let source = self.source.clone();
        self.fill(&source, since(&mark.offsets, &bounds)).await?;
        self.tables.comment(&self.live.name, &self.live.comment, None).await?;
        Ok(true)
    }

    async fn shadow(&self, name: String) -> Result<Shadow, RebuildError> {
        let source =
            sink::source_of(&self.client, &self.tables.database, &self.log, self.topic, &name).await?;
        Ok(Shadow { name, source: Arc::new(source), position: BTreeMap::new(), filled: Filled::default() })
    }

    async fn run(&self, mut shadow: Shadow, swap: bool) -> Result<Report, RebuildError> {
        let compared = self.compared(&mut shadow).await;
        let compared = match compared {
            Ok((report, irreplaceable)) if swap => match irreplaceable {
                0 => self.swap(&mut shadow).await.map(|()| Report { swapped: true, ..report }),
                rows => Err(RebuildError::Irreplaceable {
                    table: self.live.name.clone(),
                    topic: self.topic.name.clone(),
                    rows,
                }),
            },
            compared => compared.map(|(report, _)| report),
        };
        match compared {
            // What the live table was is needed if the topic can't give what it lacks.
            Err(error @ RebuildError::Unfinished { .. }) => Err(error),
            Err(error) => {
                // What went wrong says more than that its rest can't be removed; the next run does.
                let _ = self.tables.drop(&shadow.name).await;
                Err(error)
            }
            Ok(report) => {
                self.tables.drop(&shadow.name).await?;
                Ok(report)
            }
        }
    }

    /// Fills the shadow and compares; and how many rows nothing could bring back.
    async fn compared(&self, shadow: &mut Shadow) -> Result<(Report, u64), RebuildError> {
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

    /// Fills the shadow with what the sinks have committed.
    async fn approach(&self, shadow: &mut Shadow) -> Result<(), RebuildError> {
        let bounds = self.read(Replay::bounds).await?;
        shadow.position = bounds.iter().map(|(partition, bounds)| (*partition, bounds.start)).collect();
        for _ in 0..APPROACHES {
            let committed = self.committed(&shadow.position).await?;
            let left = between(&shadow.position, &committed);
            let distance: i64 = left.values().map(|offsets| offsets.end - offsets.start).sum();
            self.advance(shadow, left).await?;
            if distance <= NEAR {
                break;
            }
        }
        Ok(())
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
                "the sinks have not written what the log says of them, and commit nothing for {PATIENCE:?}: do they run?"
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

    /// Puts the shadow in the live table's place. Nothing is lost, whatever the sinks do and wherever this process is killed:
    ///
    /// - A row that is only in the former table came by an insert that had begun before the exchange. Its record was committed
    ///   in the log before that, so it lies before the stable end that is taken after the exchange, and what lies between the
    ///   shadow's position and that end is replayed into the live table. A row that is inserted later goes there by itself.
    /// - The shadow's mark says up to where it is complete, and becomes the live table's with the exchange. It is removed only
    ///   when that replay is done; until then the next run goes on there.
    async fn swap(&self, shadow: &mut Shadow) -> Result<(), RebuildError> {
        self.catch_up(shadow).await?;
        self.tables.check_alike(&self.live.name, &shadow.name).await?;
        let mark = Mark { offsets: shadow.position.clone() };
        self.tables.comment(&shadow.name, &self.live.comment, Some(&mark)).await?;
        Step::Marked.reach();
        self.tables.exchange(&self.live.name, &shadow.name).await?;
        Step::Exchanged.reach();
        let completed = async {
            let end = self.read(Replay::stable_bounds).await?;
            self.fill(&self.source, since(&mark.offsets, &end)).await?;
            Step::Completed.reach();
            // Another run may have exchanged it since: its mark is not this one's to remove.
            if self.tables.describe(&self.live.name).await?.mark.is_some_and(|found| found == mark) {
                self.tables.comment(&self.live.name, &self.live.comment, None).await?;
            }
            Ok(())
        };
        completed.await.map_err(|source| RebuildError::Unfinished {
            table: self.live.name.clone(),
            source: Box::new(source),
        })
    }

    /// Whether the sinks have committed what lies before these offsets; `false` once they commit nothing any more.
    async fn wait_for_sinks(&self, behind: &BTreeMap<i32, i64>) -> Result<bool, RebuildError> {
        let (mut last, mut since) = (BTreeMap::new(), Instant::now());
        loop {
            let committed = self.committed(behind).await?;
            if behind.iter().all(|(partition, offset)| committed.get(partition) >= Some(offset)) {
                return Ok(true);
            }
            if committed != last {
                (last, since) = (committed, Instant::now());
            } else if since.elapsed() > PATIENCE {
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// What the sinks have committed in these partitions.
    async fn committed(&self, partitions: &BTreeMap<i32, i64>) -> Result<BTreeMap<i32, i64>, RebuildError> {
        let partitions: BTreeSet<i32> = partitions.keys().copied().collect();
        self.read(move |log, topic| lag::committed(log, sink::GROUP, topic, partitions)).await
    }

    /// Replays what lies at `offsets`, which begin where the shadow ends, into it.
    async fn advance(&self, shadow: &mut Shadow, offsets: Offsets) -> Result<(), RebuildError> {
        let ends: Vec<_> = offsets.iter().map(|(partition, offsets)| (*partition, offsets.end)).collect();
        let Filled { rows, without_row, behind } = self.fill(&shadow.source, offsets).await?;
        shadow.position.extend(ends);
        shadow.filled.rows += rows;
        shadow.filled.without_row += without_row;
        shadow.filled.behind.extend(behind);
        Ok(())
    }

    /// Replays what is committed by now into the shadow; how many records that were.
    async fn catch_up(&self, shadow: &mut Shadow) -> Result<u64, RebuildError> {
        let before = shadow.filled.rows + shadow.filled.without_row;
        let end = self.read(Replay::stable_bounds).await?;
        self.advance(shadow, since(&shadow.position, &end)).await?;
        Ok(shadow.filled.rows + shadow.filled.without_row - before)
    }

    async fn fill(&self, source: &Arc<Source>, offsets: Offsets) -> Result<Filled, RebuildError> {
        self.message("replaying records");
        fill(&self.client, &self.log, source, offsets, &self.bar).await
    }

    /// Asks Kafka, which blocks.
    async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Log, &str) -> KafkaResult<T> + Send + 'static,
    ) -> Result<T, RebuildError> {
        let (log, topic) = (self.log.clone(), self.topic);
        let answer = tokio::task::spawn_blocking(move || question(&log, &topic.name)).await?;
        answer.map_err(|source| RebuildError::Log { topic: topic.name.clone(), source })
    }

    fn message(&self, what: &str) {
        self.bar.set_message(format!("{}: {what}", self.live.name));
    }
}

/// What lies behind a position, up to the end of each partition.
fn since(position: &BTreeMap<i32, i64>, bounds: &Offsets) -> Offsets {
    let ends = bounds.iter().map(|(partition, bounds)| (*partition, bounds.end)).collect();
    between(position, &ends)
}

/// What lies between two positions; a partition that the first does not know is read from its beginning.
fn between(from: &BTreeMap<i32, i64>, to: &BTreeMap<i32, i64>) -> Offsets {
    let offsets = to.iter().map(|(partition, end)| {
        let start = from.get(partition).copied().unwrap_or(0);
        (*partition, start..start.max(*end))
    });
    offsets.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_between_never_goes_back() {
        let (from, to) = (BTreeMap::from([(0, 5), (1, 7)]), BTreeMap::from([(0, 9), (1, 3), (2, 4)]));
        assert_eq!(between(&from, &to), BTreeMap::from([(0, 5..9), (1, 7..7), (2, 0..4)]));
    }
}
