//! How far the log has come here: what each answer may say of itself (`as_of`), and what a read waits for (`min_as_of`).
//!
//! Workers say in the topic `progress` how far they have folded each partition of a family, and where the rows that follow
//! from that end in the derived topics. A reader that has come to these ends has seen them all. There are two readers: this
//! node's own tail, and the tables, which are as far as the sinks' group has committed.

use std::collections::{BTreeMap, VecDeque};

use crate::engine::rows::Progress;
use crate::log::LogPosition;

/// What is remembered of a partition's progress. Where a reader is further behind, every other entry goes.
const REMEMBERED: usize = 1024;

/// Who has read a derived topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// This node.
    Tail,
    /// ClickHouse.
    Tables,
}

/// Something that an answer is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The rows of a derived topic, as a reader has them.
    Rows(&'static str, Reader),
    /// The raw events of a family, as their table has them.
    Events(&'static str),
}

/// A job, as far as answers depend on it: what it reads, and to which topics it writes rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its operator.
    pub operator: &'static str,
    /// The family topic that it folds.
    pub input: &'static str,
    /// The derived topics.
    pub outputs: &'static [&'static str],
}

/// What is known of the progress of jobs and of both readers.
#[derive(Debug, Default)]
pub struct Positions {
    jobs: Vec<Job>,
    /// By family topic and partition, and by operator.
    folded: BTreeMap<(String, i32), BTreeMap<String, VecDeque<Folded>>>,
    seen: BTreeMap<(String, i32), Seen>,
    stored: BTreeMap<(String, i32), i64>,
    /// How often the tables of a topic have changed.
    generations: BTreeMap<String, u64>,
}

/// A partition of a family was folded so far.
#[derive(Debug)]
struct Folded {
    /// The last offset that was folded.
    offset: i64,
    /// Where the rows that follow end, by derived topic and partition.
    ends: BTreeMap<(String, i32), i64>,
}

/// How far this node has read a partition of a derived topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The offset at which it began.
    pub start: i64,
    /// All that is committed before this offset has been seen, as far as it lies behind the start.
    pub next: i64,
    /// The offset behind the last record: between it and `next` there are none.
    pub record_end: i64,
}

impl Positions {
    /// Nothing is known yet; `jobs` are those that there are.
    pub fn new(jobs: Vec<Job>) -> Self {
        Self { jobs, ..Self::default() }
    }

    /// Takes in what a worker says.
    pub fn add(&mut self, progress: Progress) {
        let ends = progress.outputs.into_iter().map(|end| ((end.topic, end.partition), end.offset)).collect();
        let operators = self.folded.entry((progress.topic, progress.partition)).or_default();
        let entries = operators.entry(progress.operator).or_default();
        let offset = progress.offset - 1;
        // What a former owner says late.
        if entries.back().is_some_and(|last| last.offset > offset) {
            return;
        }
        entries.push_back(Folded { offset, ends });
        if entries.len() > REMEMBERED {
            let mut index = 0;
            entries.retain(|_| {
                index += 1;
                index % 2 == 0
            });
        }
    }

    /// This node has come so far.
    pub fn see(&mut self, topic: &str, partition: i32, seen: Seen) {
        self.seen.insert((topic.to_owned(), partition), seen);
    }

    /// The tables hold what lies before `offset`.
    pub fn store(&mut self, topic: &str, partition: i32, offset: i64) {
        if self.stored.insert((topic.to_owned(), partition), offset) != Some(offset) {
            *self.generations.entry(topic.to_owned()).or_default() += 1;
        }
    }

    /// How often the tables of a topic have changed: what was read of them under another number may be old.
    pub fn generation(&self, topic: &str) -> u64 {
        self.generations.get(topic).copied().unwrap_or(0)
    }

    /// How far this node has read a partition of a derived topic.
    pub fn seen(&self, topic: &str, partition: i32) -> Option<Seen> {
        self.seen.get(&(topic.to_owned(), partition)).copied()
    }

    /// The offset before which the tables hold a partition; `None` before the first look at them.
    pub fn stored(&self, topic: &str, partition: i32) -> Option<i64> {
        self.stored.get(&(topic.to_owned(), partition)).copied()
    }

    /// Whether the tables hold all that lies before `end`.
    pub fn is_stored(&self, topic: &str, partition: i32, end: i64) -> bool {
        let place = (topic.to_owned(), partition);
        let end = match self.seen.get(&place) {
            // The sinks commit the offset behind their last record: what follows it up to `end` are the marks of transactions.
            Some(seen) if seen.next >= end => end.min(seen.record_end),
            _ => end,
        };
        self.stored.get(&place).copied().unwrap_or(0) >= end
    }

    /// Whether the tables hold what lies before the tail's start in each of so many partitions: with what the tail has seen they
    /// are all there is. Before, a row that was read from them may be older than one that the tail will never see.
    pub fn is_whole(&self, topic: &str, partitions: i32) -> bool {
        (0..partitions).all(|partition| {
            let seen = self.seen(topic, partition);
            seen.is_some_and(|seen| self.is_stored(topic, partition, seen.start))
        })
    }

    fn has(&self, reader: Reader, (topic, partition): &(String, i32), end: i64) -> bool {
        match (reader, self.seen.get(&(topic.clone(), *partition))) {
            (Reader::Tables, _) => self.is_stored(topic, *partition, end),
            // What lies before the tail's start it has not seen: there the tables stand for it.
            (Reader::Tail, Some(seen)) => seen.next >= end && self.is_stored(topic, *partition, seen.start),
            (Reader::Tail, None) => false,
        }
    }

    /// Up to where in the log all of `sources` hold what follows from it.
    pub fn as_of(&self, sources: &[Source]) -> LogPosition {
        let mut position = LogPosition::default();
        for ((family, partition), operators) in &self.folded {
            let Some(offset) = self.folded_into(sources, family, operators) else { continue };
            let is_of_events = |source: &Source| matches!(source, Source::Events(of) if of == family);
            let end = match sources.iter().any(is_of_events) {
                true => self.stored.get(&(family.clone(), *partition)).copied().unwrap_or(0),
                false => i64::MAX,
            };
            if end > 0 {
                position.add(family, *partition, offset.min(end - 1));
            }
        }
        position
    }

    /// The last offset of a partition from which all that follows is in `sources`: of the jobs that write any of them the least.
    /// Where none does, nothing of the partition is in them, however far it was folded.
    fn folded_into(
        &self,
        sources: &[Source],
        family: &str,
        operators: &BTreeMap<String, VecDeque<Folded>>,
    ) -> Option<i64> {
        let has_all = |entry: &&Folded| {
            entry.ends.iter().all(|(place, end)| {
                sources.iter().all(|source| match source {
                    Source::Rows(topic, reader) => place.0 != *topic || self.has(*reader, place, *end),
                    Source::Events(_) => true,
                })
            })
        };
        let reached =
            |entries: &VecDeque<Folded>| entries.iter().rev().find(has_all).map(|entry| entry.offset);
        let is_source =
            |topic: &str| sources.iter().any(|source| matches!(source, Source::Rows(of, _) if *of == topic));
        let writes = |job: &&Job| job.input == family && job.outputs.iter().any(|topic| is_source(topic));
        let writers = || self.jobs.iter().filter(writes).map(|job| operators.get(job.operator));
        if writers().any(|entries| entries.is_some()) {
            // One that has said nothing yet has folded nothing that is known.
            let offsets: Option<Vec<i64>> = writers().map(|entries| entries.and_then(reached)).collect();
            return offsets?.into_iter().min();
        }
        operators.values().filter_map(reached).max()
    }

    /// Forgets the progress that is older than what both readers have of every topic.
    pub fn forget_reached(&mut self) {
        let mut reached = Vec::new();
        for entries in self.folded.values().flat_map(BTreeMap::values) {
            let has_all = |entry: &Folded| {
                entry.ends.iter().all(|(place, end)| {
                    self.has(Reader::Tables, place, *end) && self.has(Reader::Tail, place, *end)
                })
            };
            reached.push(entries.iter().rposition(has_all).unwrap_or(0));
        }
        for (entries, count) in self.folded.values_mut().flat_map(BTreeMap::values_mut).zip(reached) {
            entries.drain(..count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::rows::OutputEnd;

    fn progress(partition: i32, offset: i64, ends: &[(&str, i32, i64)]) -> Progress {
        let end = |(topic, partition, offset): &(&str, i32, i64)| OutputEnd {
            topic: (*topic).to_owned(),
            partition: *partition,
            offset: *offset,
        };
        Progress {
            topic: "civic".to_owned(),
            partition,
            operator: "sla".to_owned(),
            offset,
            clock: 0,
            settings_version: 0,
            outputs: ends.iter().map(end).collect(),
        }
    }

    fn seen(start: i64, next: i64, record_end: i64) -> Seen {
        Seen { start, next, record_end }
    }

    #[test]
    fn an_answer_is_as_of_the_last_progress_whose_rows_have_come() {
        let mut positions = Positions::default();
        positions.add(progress(0, 10, &[("incidents", 1, 5)]));
        positions.add(progress(0, 20, &[("incidents", 1, 8), ("sla-metrics", 0, 3)]));
        let as_of =
            |positions: &Positions, reader| positions.as_of(&[Source::Rows("incidents", reader)]).to_string();
        assert_eq!(as_of(&positions, Reader::Tail), "");
        positions.see("incidents", 1, seen(0, 7, 7));
        assert_eq!(as_of(&positions, Reader::Tail), "civic:0@9");
        assert_eq!(as_of(&positions, Reader::Tables), "");
        positions.see("incidents", 1, seen(0, 9, 8));
        assert_eq!(as_of(&positions, Reader::Tail), "civic:0@19", "another topic's rows are not waited for");
        positions.store("incidents", 1, 5);
        assert_eq!(as_of(&positions, Reader::Tables), "civic:0@9");
        positions.store("incidents", 1, 8);
        assert_eq!(as_of(&positions, Reader::Tables), "civic:0@19");
    }

    #[test]
    fn an_answer_of_several_sources_is_as_of_what_the_last_of_them_has() {
        let mut positions = Positions::default();
        positions.add(progress(0, 10, &[("sessions", 1, 5)]));
        positions.add(progress(0, 20, &[("sessions", 1, 8), ("signals", 0, 3)]));
        let rows = [Source::Rows("sessions", Reader::Tail), Source::Rows("signals", Reader::Tables)];
        let as_of = |positions: &Positions, sources: &[Source]| positions.as_of(sources).to_string();
        positions.see("sessions", 1, seen(0, 8, 8));
        assert_eq!(as_of(&positions, &rows[..1]), "civic:0@19");
        assert_eq!(as_of(&positions, &rows), "civic:0@9");
        positions.store("signals", 0, 3);
        assert_eq!(as_of(&positions, &rows), "civic:0@19");
        let with_events = [rows[0], rows[1], Source::Events("civic")];
        assert_eq!(as_of(&positions, &with_events), "", "their table holds none yet");
        positions.store("civic", 0, 15);
        assert_eq!(as_of(&positions, &with_events), "civic:0@14");
        positions.store("civic", 0, 30);
        assert_eq!(as_of(&positions, &with_events), "civic:0@19", "not yet folded");
        assert_eq!(as_of(&positions, &[rows[0], Source::Events("interactions")]), "civic:0@19");
    }

    #[test]
    fn an_answer_is_as_of_the_slowest_of_the_jobs_that_write_its_rows() {
        let job = |operator, outputs| Job { operator, input: "civic", outputs };
        let jobs = vec![job("sla", &["incidents", "sla-metrics"]), job("scores", &["scores", "incidents"])];
        let mut positions = Positions::new(jobs);
        let say = |positions: &mut Positions, operator: &str, offset| {
            positions.add(Progress { operator: operator.to_owned(), ..progress(0, offset, &[]) });
        };
        let as_of = |positions: &Positions, topic: &'static str| {
            positions.as_of(&[Source::Rows(topic, Reader::Tables)]).to_string()
        };
        say(&mut positions, "sla", 20);
        assert_eq!(as_of(&positions, "sla-metrics"), "civic:0@19");
        assert_eq!(as_of(&positions, "incidents"), "", "the other one has said nothing yet");
        say(&mut positions, "scores", 10);
        assert_eq!(as_of(&positions, "incidents"), "civic:0@9");
        assert_eq!(as_of(&positions, "sla-metrics"), "civic:0@19", "its only job has come so far");
        assert_eq!(as_of(&positions, "sessions"), "civic:0@19", "nothing of it is in them");
        say(&mut positions, "scores", 30);
        assert_eq!(as_of(&positions, "incidents"), "civic:0@19");
    }

    #[test]
    fn the_marks_of_transactions_are_no_rows() {
        let mut positions = Positions::default();
        // A worker that has just taken over knows only where the topic ended: behind a mark.
        positions.add(progress(0, 10, &[("incidents", 1, 9)]));
        positions.store("incidents", 1, 7);
        positions.see("incidents", 1, seen(0, 8, 7));
        assert_eq!(
            positions.as_of(&[Source::Rows("incidents", Reader::Tables)]).to_string(),
            "",
            "at 8 there may be a row"
        );
        positions.see("incidents", 1, seen(0, 9, 7));
        assert_eq!(positions.as_of(&[Source::Rows("incidents", Reader::Tables)]).to_string(), "civic:0@9");
    }

    #[test]
    fn before_the_start_of_the_tail_the_tables_count() {
        let mut positions = Positions::default();
        positions.add(progress(0, 10, &[("incidents", 0, 50)]));
        positions.see("incidents", 0, seen(40, 60, 60));
        assert_eq!(positions.as_of(&[Source::Rows("incidents", Reader::Tail)]).to_string(), "");
        positions.store("incidents", 0, 40);
        assert_eq!(positions.as_of(&[Source::Rows("incidents", Reader::Tail)]).to_string(), "civic:0@9");
    }

    #[test]
    fn a_node_is_whole_once_the_tables_reach_its_tail() {
        let mut positions = Positions::default();
        assert!(!positions.is_whole("incidents", 2), "nothing is known yet");
        positions.see("incidents", 0, seen(0, 9, 9));
        positions.see("incidents", 1, seen(40, 60, 60));
        positions.store("incidents", 1, 39);
        assert!(!positions.is_whole("incidents", 2), "at 39 lies what nobody has");
        positions.store("incidents", 1, 40);
        assert!(positions.is_whole("incidents", 2));
    }

    #[test]
    fn tables_that_change_are_of_another_generation() {
        let mut positions = Positions::default();
        let mut generations = Vec::new();
        for offset in [5, 5, 6] {
            positions.store("incidents", 0, offset);
            generations.push(positions.generation("incidents"));
        }
        assert_eq!(generations, [1, 1, 2]);
        assert_eq!(positions.generation("sla-metrics"), 0, "another topic's tables stay");
    }

    #[test]
    fn what_both_have_is_forgotten_but_for_the_last() {
        let mut positions = Positions::default();
        for offset in 1..=REMEMBERED as i64 + 10 {
            positions.add(progress(0, offset, &[("incidents", 0, offset)]));
        }
        assert!(
            positions.folded.values().flat_map(BTreeMap::values).all(|entries| entries.len() <= REMEMBERED)
        );
        positions.see("incidents", 0, seen(0, 5000, 5000));
        positions.store("incidents", 0, 1000);
        let before = positions.as_of(&[Source::Rows("incidents", Reader::Tables)]);
        positions.forget_reached();
        assert_eq!(positions.as_of(&[Source::Rows("incidents", Reader::Tables)]), before);
        assert!(positions.folded.values().flat_map(BTreeMap::values).all(|entries| entries.len() < 40));
        positions.add(progress(0, 3, &[]));
        assert_eq!(
            positions.as_of(&[Source::Rows("incidents", Reader::Tail)]).offset("civic", 0),
            Some(REMEMBERED as i64 + 9)
        );
    }
}
