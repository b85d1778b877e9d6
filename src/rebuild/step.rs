//! Named steps of a rebuild at which a test kills it. Compiled for tests only (feature `fail-points`); elsewhere a step is
//! nothing.

/// The steps, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The shadow holds what the sinks have committed.
    Filled,
    /// It bears its mark, and is not live yet.
    Marked,
    /// It is live.
    Exchanged,
    /// It holds what was written meanwhile, and still bears its mark.
    Completed,
}

impl Step {
    /// With `FAIL_POINT` naming this step (`filled`, `marked` …): says so, and holds this thread for good.
    #[cfg(feature = "fail-points")]
    #[allow(clippy::print_stdout, reason = "the test that waits for the step reads it")]
    pub fn reach(self) {
        let name = format!("{self:?}").to_lowercase();
        if std::env::var("FAIL_POINT").is_ok_and(|wanted| wanted == name) {
            println!("fail point {name}");
            loop {
                std::thread::park();
            }
        }
    }

    /// Nothing.
    #[cfg(not(feature = "fail-points"))]
    pub fn reach(self) {}
}
