//! Named steps of a rebuild at which a test holds it, to kill it there. Compiled for tests only (feature `fail-points`); elsewhere a step is
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
    /// With `FAIL_POINT` naming this step (`filled`, `marked+exchanged` …): says so, and goes on once it is given a line.
    #[cfg(feature = "fail-points")]
    #[allow(clippy::print_stdout, reason = "the test that waits for the step reads it")]
    pub fn reach(self) {
        let name = format!("{self:?}").to_lowercase();
        if std::env::var("FAIL_POINT").is_ok_and(|wanted| wanted.split('+').any(|wanted| wanted == name)) {
            println!("fail point {name}");
            // Without a line it goes on, too: the test is over.
            let _ = std::io::stdin().read_line(&mut String::new());
        }
    }

    /// Does nothing: this build has no fail points.
    #[cfg(not(feature = "fail-points"))]
    pub fn reach(self) {}
}
