//! What a partition writes to its changelog: a delta with each commit, and checkpoints, so that a restore reads little more than
//! the state and what lies before can be deleted.

use super::outbox::Outbox;
use crate::engine::{Block, BlockKind, Checkpoint, Operator, Task};

/// A record of the changelog is no longer than this: Kafka takes 1 MiB.
const RECORD: usize = 900 << 10;
/// A slice of a checkpoint is about so long at most.
const SLICE: u64 = 4 << 20;
/// In so many slices a checkpoint is written, unless they would be longer.
const SLICES: u64 = 16;

/// The changelog of a partition, as its writer knows it.
#[derive(Default)]
pub(super) struct ChangelogWriter {
    /// The number of the last delta.
    number: u64,
    /// Bytes of deltas since the last complete checkpoint began.
    deltas: u64,
    /// Bytes of that checkpoint.
    checkpoint: u64,
    under_way: Option<UnderWay>,
    /// The end of a checkpoint has been written and waits for its commit.
    has_ended: bool,
    block: Vec<u8>,
}

/// A checkpoint that is being written.
struct UnderWay {
    checkpoint: Checkpoint,
    /// Its bytes so far, and those of the deltas since it began.
    written: u64,
    deltas: u64,
}

impl ChangelogWriter {
    /// Goes on with a changelog that was read: the number of its last delta, the bytes of its last checkpoint and of the deltas since that
    /// began.
    pub fn new(number: u64, checkpoint: u64, deltas: u64) -> Self {
        Self { number, checkpoint, deltas, ..Self::default() }
    }

    /// The number of the last delta.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether there is something to write although nothing has changed.
    pub fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// All that was written is committed. Returns whether what lies before the checkpoint that began last can be deleted: that one is complete.
    /// (Where commits have failed, one may have ended and the next one begun in between.)
    pub fn committed(&mut self) -> bool {
        std::mem::take(&mut self.has_ended) && self.under_way.is_none()
    }

    /// Writes what has changed; begins a checkpoint, or goes on with one. A checkpoint is due when the deltas since the last one outweigh
    /// it, and `least` bytes.
    pub fn write<O: Operator>(&mut self, task: &mut Task<O>, outbox: &mut Outbox, least: u64) {
        self.number += 1;
        let cells = task.dirty_count();
        self.block.clear();
        task.delta(&mut self.block);
        self.push(BlockKind::Delta, outbox);
        let bytes = self.block.len();
        self.deltas += bytes as u64;
        if cells > 100 {
            // So much changes at once that a transaction takes.
            task.limit_delta((DELTA * cells / bytes.max(1)).max(1_000));
        }
        if let Some(under_way) = &mut self.under_way {
            under_way.deltas += bytes as u64;
            self.block.clear();
            // So that a checkpoint takes few commits, unless there is very much.
            let slice = (least.max(self.checkpoint) / SLICES).clamp(1, SLICE) as usize;
            let is_complete = task.slice(&mut under_way.checkpoint, slice, &mut self.block);
            under_way.written += self.block.len() as u64;
            self.push(BlockKind::Slice, outbox);
            if is_complete {
                self.block.clear();
                self.push(BlockKind::End, outbox);
                if let Some(UnderWay { written, deltas, .. }) = self.under_way.take() {
                    (self.checkpoint, self.deltas) = (written, deltas);
                }
                self.has_ended = true;
            }
        } else if self.deltas >= least.max(self.checkpoint) {
            self.block.clear();
            let checkpoint = task.begin_checkpoint(&mut self.block);
            let written = self.block.len() as u64;
            self.push(BlockKind::Begin, outbox);
            self.under_way = Some(UnderWay { checkpoint, written, deltas: 0 });
        }
    }

    /// Writes that the job begins anew at an offset, under a further epoch.
    pub fn begin_anew<O: Operator>(
        &mut self,
        task: &mut Task<O>,
        (offset, epoch): (i64, u8),
        outbox: &mut Outbox,
    ) {
        self.number += 1;
        self.block.clear();
        task.begin_anew(offset, epoch, &mut self.block);
        self.push(BlockKind::Anew, outbox);
    }

    fn push(&self, kind: BlockKind, outbox: &mut Outbox) {
        let block = Block { kind, number: self.number, cells: &self.block };
        let mut is_begin = matches!(kind, BlockKind::Begin | BlockKind::Anew);
        block.records(RECORD, |record| outbox.push_change(std::mem::take(&mut is_begin), record));
    }
}

/// How many bytes a delta may have, about.
const DELTA: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::FamilySettings;
    use crate::families::civic::sla::Sla;

    /// A checkpoint ends, its commit fails, and before the next one another checkpoint begins: nothing before that may be deleted,
    /// for it is not complete.
    #[test]
    fn i5_nothing_is_deleted_before_a_checkpoint_that_has_only_begun() {
        let mut task = Task::new(Sla::default(), Arc::new(FamilySettings::default()), "civic", 0, 0);
        let (mut changelog, mut outbox) = (ChangelogWriter::default(), Outbox::default());
        let mut write = |changelog: &mut ChangelogWriter| changelog.write(&mut task, &mut outbox, 1);
        write(&mut changelog);
        assert!(changelog.is_under_way() && !changelog.committed(), "one has begun");
        write(&mut changelog);
        assert!(!changelog.is_under_way() && changelog.committed(), "it is complete");
        write(&mut changelog);
        write(&mut changelog);
        write(&mut changelog);
        assert!(changelog.is_under_way() && !changelog.committed(), "one has ended, another one begun");
        write(&mut changelog);
        assert!(changelog.committed());
    }
}
