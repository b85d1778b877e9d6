//! The transactions of a worker: when one closes, in which order its parts are written, what follows a failure (I5).

use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{Consumer, ConsumerGroupMetadata};
use rdkafka::topic_partition_list::Offset;

use super::error::WorkerError;
use super::fail_point::FailPoint;
use super::output::OutputRow;
use super::report::Reporter;
use super::restore::Committed;
use super::transaction::Transaction;
use super::{COORDINATOR, PRESSURE, RESTART, Worker, trim};
use crate::engine::Operator;
use crate::settings::SettingsError;

impl<O> Worker<'_, O>
where
    O: Operator,
    O::Row: OutputRow,
{
    /// A transaction closes by time, outputs or bytes. Time counts from the end of the last commit, so that slow commits
    /// don't follow each other without a rest.
    pub(super) fn is_commit_due(&self) -> bool {
        self.is_unfinished || self.is_full() || self.committed_at.elapsed() >= self.config.commit_interval
    }

    pub(super) fn is_full(&self) -> bool {
        self.partitions.rows() >= self.config.commit_outputs
            || self.partitions.bytes() >= self.config.commit_bytes
    }

    pub(super) fn try_commit(&mut self) -> Result<(), WorkerError> {
        self.committed_at = Instant::now();
        if !self.partitions.is_dirty() && !self.reporter.is_overdue() {
            return Ok(());
        }
        let has_report = self.reporter.is_due();
        self.send()?;
        let rows = self.partitions.rows();
        FailPoint::Outputs.reach(rows);
        FailPoint::Outputs.fail(rows).map_err(WorkerError::kafka("the fail point"))?;
        if has_report {
            Reporter::account(&mut self.partitions, self.job.topic)?;
        }
        for (_, owned) in self.partitions.iter_mut() {
            if owned.is_dirty || owned.changelog.is_under_way() {
                let least = self.config.checkpoint_bytes;
                owned.changelog.write(&mut owned.task, &mut owned.outbox, least);
                owned.is_dirty = false;
            }
        }
        self.send()?;
        FailPoint::Changelog.reach(rows);
        self.drain()?;
        if has_report {
            Reporter::progress(&self.partitions, &mut self.transaction, self.job.topic)?;
            self.drain()?;
        }
        FailPoint::Drained.reach(rows);
        FailPoint::Drained.fail(rows).map_err(WorkerError::kafka("the fail point"))?;
        FailPoint::Lost.reach_until(rows, || {
            // The client's own thread has marked the loss, and answered once more since.
            self.consumer.assignment_lost() && self.consumer.assignment().is_ok()
        });
        // Those of all partitions, also where they are as before: that is what fences a worker which has lost one of them.
        let offsets = self.offsets()?;
        if offsets.count() > 0 {
            self.transaction.send_offsets(&offsets, &self.membership()?)?;
        }
        FailPoint::Offsets.reach(rows);
        self.transaction.commit()?;
        FailPoint::Committed.reach(rows);
        FailPoint::Committed.fail(rows).map_err(WorkerError::kafka("the fail point"))?;
        for (partition, owned) in self.partitions.iter_mut() {
            if owned.committed()
                && let Some(begin) = self.transaction.checkpoint(partition)
            {
                FailPoint::Checkpoint.reach(rows);
                trim::delete_before(self.log, &self.changelog, partition, begin);
            }
        }
        self.failures = 0;
        self.reporter.committed(has_report);
        self.outcomes.publish(self.job.topic, self.job.name());
        metrics::histogram!("tidewatch_commit_seconds").record(self.committed_at.elapsed().as_secs_f64());
        self.committed_at = Instant::now();
        Ok(())
    }

    /// Sends what the partitions have to send.
    fn send(&mut self) -> Result<(), WorkerError> {
        for (partition, owned) in self.partitions.iter_mut() {
            self.transaction.send_outbox(&mut owned.outbox, partition, &self.changelog)?;
        }
        Ok(())
    }

    /// How far each partition has come. What stands beside it, the number of its last delta, tells a commit that was in doubt from
    /// the one before.
    fn offsets(&self) -> Result<TopicPartitionList, WorkerError> {
        let mut list = TopicPartitionList::new();
        for (partition, owned) in self.partitions.iter() {
            let number = owned.changelog.number().to_string();
            Committed { offset: owned.task.offset(), number }.add_to(&mut list, &self.topic, partition)?;
        }
        Ok(list)
    }

    /// What shows the group that this worker still owns its partitions (KIP-447).
    ///
    /// A client whose session has run out is no longer a member of its group, and says so: with an empty name and no generation,
    /// which a broker takes for a client from before KIP-447 and lets pass. That must not be sent. The client's own
    /// thread first forgets the name and then marks the assignment as lost, so the mark is looked at after that thread has
    /// answered once more.
    fn membership(&self) -> Result<ConsumerGroupMetadata, WorkerError> {
        let group = self.consumer.group_metadata().ok_or(WorkerError::Lost)?;
        let client = || self.log.consumer(&self.job.group());
        let group = FailPoint::Lost.forget(group, client).ok_or(WorkerError::Lost)?;
        self.consumer.assignment().map_err(WorkerError::kafka("looking at the assignment"))?;
        if self.consumer.assignment_lost() { Err(WorkerError::Lost) } else { Ok(group) }
    }

    /// Waits until the broker has taken what was sent. Where it is slow the client still has its say, which keeps the worker in
    /// its group; records wait in their queues.
    fn drain(&mut self) -> Result<(), WorkerError> {
        let began = Instant::now();
        let mut is_slow = false;
        while self.transaction.has_in_flight() {
            self.transaction.poll(Duration::from_millis(1))?;
            if began.elapsed() < PRESSURE {
                continue;
            }
            if !std::mem::replace(&mut is_slow, true) {
                metrics::counter!("tidewatch_slow_commits_total").increment(1);
            }
            self.serve(Duration::ZERO)?;
        }
        Ok(())
    }

    /// After a transaction that failed, perhaps in the midst of its commit: a producer made anew decides what is in doubt, and
    /// what stands beside the group's offsets tells how. Memory is right in either case: what is not committed is sent again.
    pub(super) fn recover(&mut self, error: WorkerError) -> Result<(), WorkerError> {
        // What a repetition can't help.
        let is_lost = matches!(
            error,
            WorkerError::Lost
                | WorkerError::Cut { .. }
                | WorkerError::Encode { .. }
                | WorkerError::Settings(SettingsError::Missing { .. } | SettingsError::Impossible { .. })
        );
        if is_lost || self.consumer.assignment_lost() {
            return Err(error);
        }
        if self.transaction.is_fenced() {
            return Err(WorkerError::Fenced { instance: self.config.instance.clone() });
        }
        if self.failures > 0 {
            std::thread::sleep(RESTART);
        }
        self.failures += 1;
        metrics::counter!("tidewatch_aborts_total").increment(1);
        tracing::warn!(%error, job = self.job.name(), "a transaction failed; what it held is sent again");
        self.transaction.abort();
        // What was written is there whoever wrote it: progress that leaves it out would promise rows that nobody may have read.
        let delivered = self.transaction.take_delivered();
        self.transaction = Transaction::start(self.log, &self.transactional_id)?;
        self.transaction.put_delivered(delivered);
        let stored = self
            .consumer
            .committed_offsets(self.folded_partitions(), COORDINATOR)
            .map_err(WorkerError::kafka("fetching committed offsets"))?;
        for element in stored.elements() {
            let Some(owned) = self.partitions.get_mut(element.partition()) else { continue };
            let number = match element.offset() {
                Offset::Offset(_) => element.metadata().parse().ok(),
                // Nothing has been committed yet.
                _ => Some(0),
            };
            // What has no delta of its own yet is not committed: both numbers are the same then.
            if number == Some(owned.committed) {
                owned.outbox.send_again();
            } else if number == Some(owned.changelog.number()) {
                owned.committed();
            } else {
                // By somebody else: the changelog knows.
                return Err(error);
            }
        }
        self.committed_at = Instant::now();
        Ok(())
    }
}
