//! A task in memory, fed by hand: what `TopologyTestDriver` is to Kafka Streams. Tests, backtests and benchmarks run on
//! it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::accounting::Outcome;
use super::changelog::RestoreError;
use super::frame::{Block, BlockKind, BlockReader};
use super::operator::Operator;
use super::packed::Unpacker;
use super::record::{Payload, Record};
use super::settings::FamilySettings;
use super::task::{Checkpoint, Task};
use crate::engine::Millis;

/// Runs an operator over records that are appended by hand, each with its append time.
///
/// ```
/// # use tidewatch::families::civic::event::{Body, CivicEvent, ReportSubmitted};
/// use tidewatch::families::civic::sla::Sla;
/// use tidewatch::engine::{FamilySettings, Outcome, TestDriver};
/// # let report = ReportSubmitted {
/// #     area: "Elm Street".into(), description: "Broken bench".into(), due_at: Some(5_000), department: None,
/// #     address: None, latitude: None, longitude: None, source: None,
/// # };
/// # let body = Body::ReportSubmitted(report);
/// # let event = CivicEvent { tenant: "salem".into(), event_id: "1".into(), occurred_at: 1_000, body };
/// let mut driver = TestDriver::new(Sla::default, FamilySettings::default());
/// let outcome = driver.append("salem/Elm Street", 1_000, event); // due 5 s after the epoch
/// assert_eq!(outcome, Outcome::Folded);
/// driver.advance_to(5_000);
/// assert!(driver.take().is_empty(), "the watermark has not strictly passed the due time");
/// driver.advance_to(5_001);
/// assert_eq!(driver.take().len(), 1, "the breach");
/// ```
pub struct TestDriver<O: Operator> {
    operator: Box<dyn Fn() -> O>,
    first: Arc<FamilySettings<O::Settings>>,
    /// All versions that there have been.
    settings: BTreeMap<i64, Arc<FamilySettings<O::Settings>>>,
    task: Task<O>,
    rows: Vec<O::Row>,
    offset: i64,
    changelog: Vec<Vec<u8>>,
    /// The number of the last delta.
    number: u64,
    checkpoint: Option<Checkpoint>,
    /// Where in the changelog the last complete checkpoint begins, and the last one at all.
    begin: usize,
    begun: usize,
}

/// A state, written down: cells by their keys.
pub type Snapshot = BTreeMap<Vec<u8>, Vec<u8>>;

const TOPIC: &str = "test";
/// The longest record of the changelog: few blocks fit into one.
const RECORD: usize = 100;

impl<O: Operator> TestDriver<O> {
    /// A driver of an empty task; `operator` makes the operator, anew after each [restore](Self::restore).
    pub fn new(operator: impl Fn() -> O + 'static, settings: FamilySettings<O::Settings>) -> Self {
        let settings = Arc::new(settings);
        let task = Task::new(operator(), Arc::clone(&settings), TOPIC, 0, 0);
        let versions = BTreeMap::from([(settings.version, Arc::clone(&settings))]);
        let operator = Box::new(operator);
        Self {
            operator,
            first: settings,
            settings: versions,
            task,
            rows: Vec::new(),
            offset: 0,
            changelog: Vec::new(),
            number: 0,
            checkpoint: None,
            begin: 0,
            begun: 0,
        }
    }

    /// Appends an event under a key, which begins with the tenant: `tenant/…`. Another one goes to the dead letters.
    pub fn append(&mut self, key: &str, append_time: Millis, event: O::Event) -> Outcome {
        self.append_payload(Some(key.as_bytes()), append_time, Payload::Event(event))
    }

    /// Appends a record of any kind.
    pub fn append_payload(
        &mut self,
        key: Option<&[u8]>,
        append_time: Millis,
        payload: Payload<O>,
    ) -> Outcome {
        let offset = self.offset;
        self.offset += 1;
        self.process(&Record {
            offset,
            append_time,
            first_append: None,
            raw_key: key,
            raw_value: None,
            payload,
        })
    }

    /// Folds a record of an existing log; later ones have higher offsets.
    pub fn process(&mut self, record: &Record<'_, O>) -> Outcome {
        self.offset = record.offset + 1;
        self.learn(&record.payload);
        self.task.process_whole(record, &mut self.rows)
    }

    /// Remembers the settings of a mark, which a [restore](Self::restore) may need: for marks that the task is fed past the
    /// driver.
    pub fn learn(&mut self, payload: &Payload<O>) {
        if let Payload::Mark(settings) = payload {
            self.settings.entry(settings.version).or_insert_with(|| Arc::clone(settings));
        }
    }

    /// Appends a mark, as a worker does when a timer is due in silence.
    pub fn mark(&mut self, append_time: Millis) {
        let settings = Arc::clone(self.task.settings());
        self.append_payload(None, append_time, Payload::Mark(settings));
    }

    /// Appends a mark that brings other settings into force; their version is higher than that of those in force.
    pub fn change_settings(&mut self, append_time: Millis, settings: FamilySettings<O::Settings>) {
        self.append_payload(None, append_time, Payload::Mark(Arc::new(settings)));
    }

    /// Lets silence pass: a mark at each moment at which a timer is due, and one at the end.
    pub fn advance_to(&mut self, append_time: Millis) {
        while let Some(wake) = self.task.next_wake().filter(|wake| *wake < append_time) {
            self.mark(wake.max(self.task.clock()));
        }
        self.mark(append_time);
    }

    /// What has been emitted since the last look.
    pub fn take(&mut self) -> Vec<O::Row> {
        std::mem::take(&mut self.rows)
    }

    /// The task itself.
    pub fn task(&mut self) -> &mut Task<O> {
        &mut self.task
    }

    /// Commits: what has changed goes to the changelog as a delta. A checkpoint that is under way goes on, by `slice` bytes about; where there
    /// is none, one begins if `slice` is some.
    pub fn commit(&mut self, slice: Option<usize>) {
        self.number += 1;
        let mut cells = Vec::new();
        self.task.delta(&mut cells);
        self.write(BlockKind::Delta, &cells);
        let Some(limit) = slice else { return };
        cells.clear();
        match self.checkpoint.take() {
            None => {
                self.begun = self.changelog.len();
                self.checkpoint = Some(self.task.begin_checkpoint(&mut cells));
                self.write(BlockKind::Begin, &cells);
            }
            Some(mut checkpoint) => {
                let is_complete = self.task.slice(&mut checkpoint, limit, &mut cells);
                self.write(BlockKind::Slice, &cells);
                if is_complete {
                    self.write(BlockKind::End, &[]);
                    self.begin = self.begun;
                } else {
                    self.checkpoint = Some(checkpoint);
                }
            }
        }
    }

    fn write(&mut self, kind: BlockKind, cells: &[u8]) {
        let block = Block { kind, number: self.number, cells };
        block.records(RECORD, |record| self.changelog.push(record.to_vec()));
    }

    /// Deletes what lies before the last complete checkpoint of the changelog.
    pub fn trim(&mut self) {
        let begin = std::mem::take(&mut self.begin);
        self.changelog.drain(..begin);
        self.begun -= begin;
    }

    /// The state as it is now.
    pub fn snapshot(&self) -> Snapshot {
        let mut block = Vec::new();
        let mut checkpoint = self.task.begin_checkpoint(&mut block);
        self.task.slice(&mut checkpoint, usize::MAX, &mut block);
        cells(&block)
    }

    /// Puts a new task in the place of the present one, as after a crash: with the state that the changelog has. What has been emitted
    /// since the last commit and not been [taken](Self::take) is gone.
    ///
    /// # Errors
    /// Where the changelog can't be read.
    pub fn restore(&mut self) -> Result<(), RestoreError> {
        let known = |version| {
            let settings = self.settings.get(&version).map(Arc::clone);
            settings.ok_or_else(|| "no mark has named it".to_owned())
        };
        let mut restore = Task::new((self.operator)(), Arc::clone(&self.first), TOPIC, 0, 0).restore();
        let mut reader = BlockReader::default();
        for record in &self.changelog {
            if let Some(block) = reader.push(record)? {
                if block.kind == BlockKind::Anew {
                    restore.begin_anew();
                }
                self.number = block.number;
                restore.apply(block.cells)?;
            }
        }
        self.task = restore.finish(known)?;
        self.rows.clear();
        self.checkpoint = None;
        self.offset = self.task.offset();
        Ok(())
    }
}

/// The cells of a block, by their keys: each is the name of the key it lies under, a byte that says what it is, and its own name
/// ([postcard](https://postcard.jamesmunns.com/wire-format)).
pub fn cells(block: &[u8]) -> Snapshot {
    let (mut unpacker, mut cells) = (Unpacker::new(block), Snapshot::new());
    while let Ok(Some((key, value))) = unpacker.next() {
        cells.insert(key.to_vec(), value.unwrap_or_default().to_vec());
    }
    cells
}
