//! Named steps of a commit at which a test stops a worker, to kill it there. Compiled for tests only (feature
//! `fail-points`); elsewhere a step is nothing.

use rdkafka::ClientConfig;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::KafkaError;
#[cfg(feature = "fail-points")]
use {
    rdkafka::consumer::{BaseConsumer, Consumer},
    std::sync::LazyLock,
    std::sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

#[cfg(feature = "fail-points")]
static HAS_STOPPED: AtomicBool = AtomicBool::new(false);
/// From a stop on until the client has been asked for its membership.
#[cfg(feature = "fail-points")]
static IS_AWAKE_AGAIN: AtomicBool = AtomicBool::new(false);

/// The step that the environment names, and what is to happen there.
#[cfg(feature = "fail-points")]
fn wanted() -> Option<(&'static str, &'static str)> {
    static WANTED: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("FAIL_POINT").ok());
    let wanted = WANTED.as_deref()?;
    Some(wanted.split_once('=').unwrap_or((wanted, "hold")))
}

#[cfg(feature = "fail-points")]
fn is_wanted(step: FailPoint) -> bool {
    wanted().is_some_and(|(name, _)| name == format!("{step:?}").to_lowercase())
}

/// The steps, in the order of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailPoint {
    /// Outputs have been handed to the producer.
    Outputs,
    /// The changes of the state, too.
    Changelog,
    /// The broker has acknowledged all of them.
    Drained,
    /// Stopped there for longer than its session, and awake again: the client has noticed that the group no longer counts it as a member.
    Lost,
    /// The offsets are part of the transaction.
    Offsets,
    /// The transaction is committed, and memory does not know it yet.
    Committed,
    /// The transaction that has ended a checkpoint is committed; what lies before the checkpoint has not been deleted yet.
    Checkpoint,
}

impl FailPoint {
    /// With `FAIL_POINT` naming this step (`outputs`, `changelog` …) and outputs in the transaction: says so, and holds
    /// this thread for good; or, with `=stop` behind the name, stops the process once, until somebody continues it.
    #[cfg(feature = "fail-points")]
    #[allow(clippy::print_stdout, reason = "the test that waits for the step reads it")]
    pub fn reach(self, outputs: usize) {
        let Some((name, action)) = wanted().filter(|_| outputs > 0 && is_wanted(self)) else { return };
        let is_first = !HAS_STOPPED.swap(true, Ordering::SeqCst);
        if is_first && action != "fail" {
            println!("fail point {name} with {outputs} outputs");
        }
        match action {
            "stop" if is_first => {
                let own = std::process::id().to_string();
                let stopped = std::process::Command::new("kill").args(["-STOP", &own]).status();
                assert!(stopped.is_ok_and(|status| status.success()), "kill -STOP failed");
                IS_AWAKE_AGAIN.store(true, Ordering::SeqCst);
            }
            "stop" | "fail" => {}
            _ => loop {
                std::thread::park();
            },
        }
    }

    /// With `FAIL_POINT` naming this step, `=fail` behind it, and outputs in the transaction: an error, every third time, as if the
    /// broker had not answered.
    #[cfg(feature = "fail-points")]
    pub fn fail(self, outputs: usize) -> Result<(), KafkaError> {
        static REACHED: AtomicUsize = AtomicUsize::new(0);
        let is_wanted =
            outputs > 0 && is_wanted(self) && wanted().is_some_and(|(_, action)| action == "fail");
        if is_wanted && REACHED.fetch_add(1, Ordering::SeqCst) % 3 == 2 {
            return Err(KafkaError::Canceled);
        }
        Ok(())
    }

    /// As [`reach`](Self::reach) with `=stop`; then waits for what is to be noticed.
    #[cfg(feature = "fail-points")]
    pub fn reach_until(self, outputs: usize, is_noticed: impl Fn() -> bool) {
        use std::time::{Duration, Instant};
        self.reach(outputs);
        let until = Instant::now() + Duration::from_secs(10);
        while is_wanted(self)
            && IS_AWAKE_AGAIN.load(Ordering::SeqCst)
            && !is_noticed()
            && Instant::now() < until
        {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What a client says of its membership when it wakes at this step: now and then, at random, neither a name nor a
    /// generation, as one that never joined; here it says so each time.
    #[cfg(feature = "fail-points")]
    pub fn forget(
        self,
        group: ConsumerGroupMetadata,
        client: impl FnOnce() -> ClientConfig,
    ) -> Option<ConsumerGroupMetadata> {
        if !is_wanted(self) || !IS_AWAKE_AGAIN.swap(false, Ordering::SeqCst) {
            return Some(group);
        }
        client().create::<BaseConsumer>().ok()?.group_metadata()
    }

    /// Does nothing without the feature `fail-points`.
    #[cfg(not(feature = "fail-points"))]
    pub fn reach(self, _outputs: usize) {}

    /// Never fails without the feature `fail-points`.
    #[cfg(not(feature = "fail-points"))]
    pub fn fail(self, _outputs: usize) -> Result<(), KafkaError> {
        Ok(())
    }

    /// Does nothing without the feature `fail-points`.
    #[cfg(not(feature = "fail-points"))]
    pub fn reach_until(self, _outputs: usize, _is_noticed: impl Fn() -> bool) {}

    /// Returns the group unchanged without the feature `fail-points`.
    #[cfg(not(feature = "fail-points"))]
    pub fn forget(
        self,
        group: ConsumerGroupMetadata,
        _client: impl FnOnce() -> ClientConfig,
    ) -> Option<ConsumerGroupMetadata> {
        Some(group)
    }
}
