//! Which unfolded records are sent again, and to where.

use std::collections::{BTreeMap, HashSet};

use super::unfolded::{Position, Unfolded};
use crate::codec;
use crate::codec::CodecError;
use crate::engine::{Event, Identity, id};
use crate::engine::{TEXT_KEPT, VALUE_KEPT};
use crate::families::{self, Family, Visitor};
use crate::log::topics;

/// Why a record can't be sent again.
#[derive(Debug, thiserror::Error)]
pub enum Obstacle {
    /// There was no record, or an empty one: a timer, a mark, a tombstone; or intake refused it, and what has not been cleaned is
    /// not kept.
    #[error("no value to send: it was a timer, a mark or a tombstone, or refused at intake")]
    NoValue,
    /// The entry does not hold the whole record.
    #[error("only the beginning of its key or value is kept, the whole lies where it was appended")]
    Cut,
    /// It would be undecodable again, and nobody could tell where it belongs.
    #[error("this program can't read its value: {0}")]
    Unreadable(#[source] CodecError),
    /// The family is none of this program's.
    #[error("its topic is no family's of this program")]
    NoFamily,
}

impl Obstacle {
    /// In a few words, to be counted under.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::NoValue => "without a value",
            Self::Cut => "kept in part",
            Self::Unreadable(_) => "unreadable",
            Self::NoFamily => "of no family",
        }
    }
}

/// A record that is sent again.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Redrive {
    /// Where it lies.
    pub from: Position,
    /// The partition of the same topic to which it goes.
    pub partition: i32,
    /// The operator for which it is sent; empty: for all.
    pub operator: String,
    pub key: Option<Vec<u8>>,
    pub value: Vec<u8>,
    /// A repeat of it will be known as one.
    has_identity: bool,
}

/// What is done with unfolded records.
#[derive(Debug)]
pub(super) struct Plan {
    /// What is sent, in this order.
    pub records: Vec<Redrive>,
    /// What can't be.
    pub obstacles: Vec<(Position, Obstacle)>,
    /// Entries whose record another one holds too: redriven before, it has failed again.
    pub repeats: usize,
}

impl Plan {
    /// Records keep the order in which they were appended, so that those of one key do, and a report comes before its
    /// closing.
    pub fn new(mut unfolded: Vec<Unfolded>) -> Self {
        unfolded.sort_unstable_by(|one, other| one.position.cmp(&other.position));
        let (mut records, mut obstacles) = (Vec::new(), Vec::new());
        for unfolded in unfolded {
            let position = unfolded.position.clone();
            match Redrive::of(unfolded) {
                Ok(record) => records.push(record),
                Err(obstacle) => obstacles.push((position, obstacle)),
            }
        }
        // Else each redrive of what fails again would double it.
        let mut seen = HashSet::new();
        let is_first: Vec<bool> = records
            .iter()
            .map(|record| {
                !record.has_identity
                    || seen.insert((&record.from.topic, &record.operator, &record.key, &record.value))
            })
            .collect();
        let read = records.len();
        let mut is_first = is_first.into_iter();
        records.retain(|_| is_first.next().unwrap_or(true));
        let repeats = read - records.len();
        Self { records, obstacles, repeats }
    }

    /// What is done with each, a line each.
    pub fn steps(&self) -> String {
        let records = self.records.iter();
        let records =
            records.map(|Redrive { from, partition, .. }| format!("{from} -> {}/{partition}\n", from.topic));
        let obstacles = self.obstacles.iter();
        let obstacles =
            obstacles.map(|(position, obstacle)| format!("{position} can't be redriven: {obstacle}\n"));
        records.chain(obstacles).collect()
    }

    /// What became of them, in a line; so many records are `done`: appended, or would be.
    pub fn summary(&self, records: usize, done: &str) -> String {
        let mut text = format!("{records} {done} again");
        if self.repeats > 0 {
            text += &format!(", {} hold what another one holds", self.repeats);
        }
        if !self.obstacles.is_empty() {
            let mut counts = BTreeMap::<_, usize>::new();
            for (_, obstacle) in &self.obstacles {
                *counts.entry(obstacle.kind()).or_default() += 1;
            }
            let counts: Vec<String> = counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
            text += &format!(", {} can't be redriven ({})", self.obstacles.len(), counts.join(", "));
        }
        text
    }
}

impl Redrive {
    fn of(unfolded: Unfolded) -> Result<Self, Obstacle> {
        let Unfolded { position, operator, key, value, .. } = unfolded;
        let value = value.filter(|value| !value.is_empty()).ok_or(Obstacle::NoValue)?;
        // What has just that length may be whole; nobody can tell.
        if value.len() >= VALUE_KEPT || key.as_ref().is_some_and(|key| key.len() >= TEXT_KEPT) {
            return Err(Obstacle::Cut);
        }
        let family = topics::named(&position.topic).ok_or(Obstacle::NoFamily)?;
        let read = families::with(&family.name, Read { key: &key, value: &value });
        let (route, has_identity) = read.ok_or(Obstacle::NoFamily)??;
        let partition = id::partition(route, family.partitions.unsigned_abs());
        Ok(Self { from: position, partition, operator, key, value, has_identity })
    }
}

/// Reads a record: the hash that chooses its partition, and whether a repeat of it is known as one.
struct Read<'a> {
    key: &'a Option<Vec<u8>>,
    value: &'a [u8],
}

impl Visitor for Read<'_> {
    type Output = Result<(u32, bool), Obstacle>;

    fn family<F: Family>(self) -> Self::Output {
        let event: F::Event = codec::decode(F::NAME, Some(self.value)).map_err(Obstacle::Unreadable)?;
        // It is folded under its own key, unless it names what is known under another one.
        let route = match event.alias() {
            None => id::murmur2(self.key.as_deref().unwrap_or_default()),
            Some(_) => F::route(&event),
        };
        Ok((route, event.identity() != Identity::Record))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::families::civic::event::{
        self as civic, Body, CivicEvent, IssueStatus, IssueStatusChanged, ReportSubmitted,
    };
    use crate::tools::dead_letters::unfolded::tests::unfolded;

    const PARTITIONS: u32 = 4;

    fn encode(event_id: &str, body: Body) -> Option<Vec<u8>> {
        let event = CivicEvent { tenant: "a".into(), event_id: event_id.into(), occurred_at: 7, body };
        Some(codec::newest("civic").unwrap().encode(&event).unwrap())
    }

    fn report(event_id: &str, area: &str) -> Option<Vec<u8>> {
        let report = ReportSubmitted {
            area: area.into(),
            description: "d".into(),
            due_at: None,
            department: None,
            address: None,
            latitude: None,
            longitude: None,
            source: None,
        };
        encode(event_id, Body::ReportSubmitted(report))
    }

    fn closing(event_id: &str, issue_id: Uuid) -> Option<Vec<u8>> {
        let status = IssueStatus::Closed;
        encode(event_id, Body::IssueStatusChanged(IssueStatusChanged { issue_id, status }))
    }

    fn of(offset: i64, key: &str, value: Option<Vec<u8>>) -> Unfolded {
        Unfolded { key: Some(key.into()), value, ..unfolded(offset, "poison", "a") }
    }

    fn offsets(plan: &Plan) -> Vec<i64> {
        plan.records.iter().map(|record| record.from.offset).collect()
    }

    #[test]
    fn a_record_goes_where_its_key_is_folded() {
        let mut crossed = 0;
        for area in ["Park", "Elm Street", "Back Bay", "Roxbury", "Dorchester"] {
            let issue = civic::issue_id("a", area, "1");
            let (area_key, issue_key) = (civic::key("a", area), civic::alias("a", issue));
            let plan = Plan::new(vec![
                of(1, &area_key, report("1", area)),
                of(2, &issue_key, closing("2", issue)),
                of(3, &area_key, report("3", "another area")),
            ]);
            let expected = id::partition(id::murmur2(area_key.as_bytes()), PARTITIONS);
            let found: Vec<i32> = plan.records.iter().map(|record| record.partition).collect();
            assert_eq!(found, [expected; 3], "a change of status follows its report, not its own key");
            crossed += u32::from(id::partition(id::murmur2(issue_key.as_bytes()), PARTITIONS) != expected);
        }
        assert!(crossed > 0, "no key of a status lies elsewhere than its issue");
    }

    #[test]
    fn records_keep_the_order_of_their_partition() {
        let unfolded = [5, 2, 9, 1].map(|offset| of(offset, "a/x", report(&offset.to_string(), "x")));
        assert_eq!(offsets(&Plan::new(unfolded.into())), [1, 2, 5, 9]);
    }

    #[test]
    fn an_event_that_failed_again_is_sent_once() {
        let other_key = of(4, "a/y", report("1", "x"));
        let unfolded = [1, 2, 3].map(|offset| of(offset, "a/x", report("1", "x"))).into_iter();
        let plan = Plan::new(unfolded.chain([other_key, of(5, "a/x", report("2", "x"))]).collect());
        assert_eq!(offsets(&plan), [1, 4, 5]);
        assert_eq!(
            plan.summary(3, "would be appended"),
            "3 would be appended again, 2 hold what another one holds"
        );
    }

    #[test]
    fn what_is_not_whole_or_not_readable_is_not_sent() {
        let whole = report("1", "x").unwrap();
        let surplus = [&whole[..], &[0]].concat();
        let long = vec![0; VALUE_KEPT];
        let elsewhere = |position: &str| Unfolded {
            position: position.parse().unwrap(),
            ..of(0, "a/x", Some(whole.clone()))
        };
        let plan = Plan::new(vec![
            of(1, "a/x", None),
            of(2, "a/x", Some(vec![])),
            of(3, "a/x", Some(long)),
            of(4, &"k".repeat(TEXT_KEPT), Some(whole.clone())),
            of(5, "a/x", Some(surplus)),
            of(6, "a/x", Some(b"{}".into())),
            elsewhere("gone/0/7"),
            elsewhere("settings/0/8"),
        ]);
        assert!(plan.records.is_empty(), "{:?}", plan.records);
        let kinds: Vec<_> =
            plan.obstacles.iter().map(|(position, obstacle)| (position.offset, obstacle.kind())).collect();
        let [none, part, bad, foreign] = ["without a value", "kept in part", "unreadable", "of no family"];
        let expected =
            [(1, none), (2, none), (3, part), (4, part), (5, bad), (6, bad), (7, foreign), (8, foreign)];
        assert_eq!(kinds, expected);
        let refused = plan.obstacles[0].1.to_string();
        assert!(refused.contains("no value") && refused.contains("refused at intake"), "{refused}");
        let summary = "0 appended again, 8 can't be redriven (2 kept in part, 2 of no family, 2 unreadable, 2 without a value)";
        assert_eq!(plan.summary(0, "appended"), summary);
    }
}
