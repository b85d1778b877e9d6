//! Plays the month through the API: at once, or slowly enough to watch.

use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;

use super::boston::{self, Step};
use super::sender::Sender;
use super::findings;
use crate::engine::Millis;
use crate::families::demonstration::{Demo, Failure, KEY, say};

const DAY: Millis = 86_400_000;

/// Event time that passes in a second.
#[derive(Debug, Clone, Copy)]
pub(super) struct Speed(Duration);

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let span = text.strip_suffix("/s").ok_or("expected a form like 1d/s or 6h/s")?;
        let span = crate::config::parse_duration(span)?;
        if span.is_zero() { Err("time would stand still".into()) } else { Ok(Self(span)) }
    }
}

/// Sends the month. With a `speed`, July passes at that speed, a line a day; what was closed in the two years after
/// follows at once.
pub(super) async fn send(files: &Path, speed: Option<Speed>, demo: &Demo) -> Result<(), Failure> {
    let requests = boston::requests(&files.join("2011-07_requests.csv"))?;
    let steps = boston::steps(&requests);
    let mut sender = Sender::new(&demo.url, KEY);
    let bar = if speed.is_some() { ProgressBar::hidden() } else { progress_bar(steps.len()) };
    let last_opened = requests.iter().map(|request| request.opened_at).max().unwrap_or(0);
    let mut pace = speed.map(|speed| Pace::new(speed, steps.first().map_or(0, Step::at)));
    for (sent, step) in steps.iter().enumerate() {
        if let Some(pace) = pace.as_mut().filter(|_| step.at() <= last_opened) {
            if pace.is_ahead(step.at()) {
                sender.flush().await?;
                pace.wait(step.at()).await;
            }
            if let Some(day) = pace.next_day(step.at()) {
                sender.flush().await?;
                let breaches = findings::count_breaches(demo, "").await?;
                say(&format!(
                    "  {}  {sent:>6} events sent, {breaches:>5} breaches so far",
                    day.strftime("%F")
                ));
            }
        }
        sender.push(step).await?;
        bar.inc(1);
    }
    sender.flush().await?;
    bar.finish();
    let closings = steps.len() - requests.len();
    say(&format!("Sent {} reports and {closings} closings of July 2011, Boston.", requests.len()));
    Ok(())
}

fn progress_bar(length: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("Sending  {bar:40} {pos}/{len} events  {per_sec}  {eta} left");
    ProgressBar::new(length as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Holds the steps back so that event time passes at the wished speed.
struct Pace {
    speed: Speed,
    first: Millis,
    began: Instant,
    days: Millis,
}

impl Pace {
    fn new(speed: Speed, first: Millis) -> Self {
        Self { speed, first, began: Instant::now(), days: 0 }
    }

    fn left(&self, at: Millis) -> Option<Duration> {
        let Speed(speed) = self.speed;
        let seconds = (at - self.first) as f64 / speed.as_millis() as f64;
        Duration::from_secs_f64(seconds.max(0.0)).checked_sub(self.began.elapsed())
    }

    fn is_ahead(&self, at: Millis) -> bool {
        // In steps of what the eye can follow, so that batches stay batches.
        self.left(at).is_some_and(|left| left > Duration::from_millis(100))
    }

    async fn wait(&self, at: Millis) {
        if let Some(left) = self.left(at) {
            tokio::time::sleep(left).await;
        }
    }

    /// The time reached, once a day of event time.
    fn next_day(&mut self, at: Millis) -> Option<Timestamp> {
        let days = (at - self.first) / DAY;
        let is_new = std::mem::replace(&mut self.days, days) != days;
        is_new.then(|| Timestamp::from_millisecond(at).ok()).flatten()
    }
}
