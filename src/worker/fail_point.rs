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
    /// The offsets are part of the transaction.
    Offsets,
    /// The transaction is committed, and memory does not know it yet.
    Committed,
}

impl FailPoint {
    /// With `TIDEWATCH_FAIL_POINT` naming this step (`outputs`, `changelog` …) and outputs in the transaction: says so, and
    /// stops this thread for good.
    #[cfg(feature = "fail-points")]
    #[allow(clippy::print_stdout, reason = "the test that stops the worker reads it")]
    pub fn reach(self, outputs: usize) {
        use std::sync::LazyLock;
        static WANTED: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("TIDEWATCH_FAIL_POINT").ok());
        let name = format!("{self:?}").to_lowercase();
        if outputs > 0 && WANTED.as_ref() == Some(&name) {
            println!("fail point {name} with {outputs} outputs");
            loop {
                std::thread::park();
            }
        }
    }

    /// Nothing.
    #[cfg(not(feature = "fail-points"))]
    pub fn reach(self, _outputs: usize) {}
}
