//! How far downloads are: a bar for each on a terminal, else a line every quarter.

use std::io::{self, IsTerminal};
use std::sync::Mutex;

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};

/// The progress of all downloads, on standard error.
pub(crate) struct Progress(Option<MultiProgress>);

impl Progress {
    pub(crate) fn new() -> Self {
        Self(io::stderr().is_terminal().then(MultiProgress::new))
    }

    /// A meter for one download of so many bytes.
    pub(crate) fn meter(&self, name: &'static str, total: u64) -> Meter {
        let Some(bars) = &self.0 else {
            eprintln!("fetching {name} ({} on disk on the way)", HumanBytes(total));
            return Meter::Lines { name, total, quarters: Mutex::new(0) };
        };
        let bar = bars.add(ProgressBar::new(total).with_message(name));
        let template = "{msg:16} {bar:32} {bytes:>10} of {total_bytes:10} {elapsed}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Meter::Bar(bar)
    }

    /// A line that doesn't disturb the bars.
    pub(crate) fn say(&self, line: &str) {
        match &self.0 {
            // A line that can't be printed on a terminal that went away is no reason to stop.
            Some(bars) => bars.println(line).unwrap_or_default(),
            None => eprintln!("{line}"),
        }
    }
}

pub(crate) enum Meter {
    Bar(ProgressBar),
    Lines { name: &'static str, total: u64, quarters: Mutex<u64> },
}

impl Meter {
    pub(crate) fn set(&self, bytes: u64) {
        match self {
            // The known total is a round figure.
            Self::Bar(bar) => bar.set_position(bytes.min(bar.length().unwrap_or(bytes))),
            Self::Lines { name, total, quarters } => {
                let reached = (bytes * 4 / total).min(3);
                let mut said = quarters.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                if reached > *said {
                    *said = reached;
                    eprintln!("fetching {name}: {} %", reached * 25);
                }
            }
        }
    }

    pub(crate) fn finish(&self) {
        match self {
            Self::Bar(bar) => {
                bar.set_position(bar.length().unwrap_or_default());
                bar.finish();
            }
            Self::Lines { name, .. } => eprintln!("fetching {name}: 100 %, verified"),
        }
    }
}
