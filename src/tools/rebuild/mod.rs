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

mod compare;
mod error;
mod fill;
mod look;
mod mark;
mod report;
mod shadow;
mod step;
mod table;
pub mod tool;

use std::sync::Arc;

use clickhouse::Client;
use indicatif::ProgressBar;

pub use self::error::RebuildError;
pub use self::report::{Column, Different, Example, Excluded, Kind, Report};

use self::mark::Mark;
use self::shadow::{Shadow, since};
use self::step::Step;
use self::table::{Table, Tables};
use crate::config::Config;
use crate::log::Log;
use crate::log::replay::Replay;
use crate::log::topics;
use crate::log::topics::Topic;
use crate::sink;
use crate::sink::Source;
use crate::store;

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
}
