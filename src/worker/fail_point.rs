//! Named steps of a commit at which a test stops a worker, to kill it there. Compiled for tests only (feature
//! `fail-points`); elsewhere a step is nothing.

/// The steps, in the order of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailPoint {
    /// Outputs have been handed to the producer.
    Outputs,
    /// The changes of the state, too.
    Changelog,
    /// The broker has acknowledged all of them.
    Drained,
    /// Stopped there for longer than its session, and awake again: the client has noticed that it is nobody's member.
    Lost,
    /// The offsets are part of the transaction.
    Offsets,
    /// The transaction is committed, and memory does not know it yet.
    Committed,
}

impl FailPoint {
    /// With `FAIL_POINT` naming this step (`outputs`, `changelog` …) and outputs in the transaction: says so, and holds
    /// this thread for good; or, with `=stop` behind the name, stops the process once, until somebody continues it.
    #[cfg(feature = "fail-points")]
    #[allow(clippy::print_stdout, reason = "the test that waits for the step reads it")]
    pub fn reach(self, outputs: usize) {
        use std::sync::LazyLock;
        use std::sync::atomic::{AtomicBool, Ordering};
        static WANTED: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("FAIL_POINT").ok());
        static HAS_STOPPED: AtomicBool = AtomicBool::new(false);
        let Some(wanted) = WANTED.as_deref().filter(|_| outputs > 0) else { return };
        let (name, action) = wanted.split_once('=').unwrap_or((wanted, "hold"));
        if name != format!("{self:?}").to_lowercase() {
            return;
        }
        let is_first = !HAS_STOPPED.swap(true, Ordering::SeqCst);
        if is_first {
            println!("fail point {name} with {outputs} outputs");
        }
        match action {
            "stop" if is_first => {
                let own = std::process::id().to_string();
                let stopped = std::process::Command::new("kill").args(["-STOP", &own]).status();
                assert!(stopped.is_ok_and(|status| status.success()), "kill -STOP failed");
            }
            "stop" => {}
            _ => loop {
                std::thread::park();
            },
        }
    }

    /// As [`reach`](Self::reach) with `=stop`; then waits for what is to be noticed.
    #[cfg(feature = "fail-points")]
    pub fn reach_until(self, outputs: usize, is_noticed: impl Fn() -> bool) {
        use std::time::{Duration, Instant};
        let began = Instant::now();
        self.reach(outputs);
        // Only who was stopped has anything to wait for.
        let until = Instant::now() + Duration::from_secs(10);
        while began.elapsed() > Duration::from_millis(100) && !is_noticed() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Nothing.
    #[cfg(not(feature = "fail-points"))]
    pub fn reach(self, _outputs: usize) {}

    /// Nothing.
    #[cfg(not(feature = "fail-points"))]
    pub fn reach_until(self, _outputs: usize, _is_noticed: impl Fn() -> bool) {}
}
