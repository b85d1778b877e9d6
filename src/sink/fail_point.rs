//! Named steps of a batch at which a test stops a sink, to kill it there. Compiled for tests only (feature `fail-points`);
//! elsewhere a step is nothing.

/// The steps, in the order of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailPoint {
    /// All rows of a table are sent, and ClickHouse does not know yet that they are all.
    Sent,
    /// A table has acknowledged its rows; others may not have.
    Inserted,
    /// All tables have, and the dead letters are in their topic.
    Acknowledged,
    /// The offsets have been handed to the client, which sends them.
    Committed,
}

impl FailPoint {
    /// With `FAIL_POINT` naming this step (`sent`, `inserted` …): says so, and holds this task for good.
    #[cfg(feature = "fail-points")]
    pub async fn reach(self) {
        let name = format!("{self:?}").to_lowercase();
        if std::env::var("FAIL_POINT").is_ok_and(|wanted| wanted == name) {
            // The test that waits for the step reads it once; it has no ear for a second table.
            let _ = std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("fail point {name}\n"));
            std::future::pending().await
        }
    }

    /// Does nothing: this build has no fail points.
    #[cfg(not(feature = "fail-points"))]
    pub async fn reach(self) {}
}
