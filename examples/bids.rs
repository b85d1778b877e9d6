//! Runs the job of `benches/bids.rs` over a minute of bids, in memory: `cargo run --example bids`.

#[path = "../benches/bids.rs"]
#[allow(dead_code, reason = "the benchmarks use the rest")]
mod bids;

use bids::{Bid, BidRow};
use tidewatch::engine::{FamilySettings, TestDriver};

fn main() {
    let mut driver = TestDriver::new(bids::operator, FamilySettings::default());
    let mut bid = Bid::of(0);
    for place in 0..3_000_000 {
        bid = Bid::of(place);
        driver.append(&bid.key(), bid.at, bid);
    }
    driver.advance_to(bid.at + bids::WINDOW);
    let mut totals: Vec<_> = driver
        .take()
        .into_iter()
        .filter_map(|row| match row {
            BidRow::Totals(key, window, totals) => Some((totals.sum, key, window, totals)),
            BidRow::DeadLetter(_) | BidRow::LateEvent(_) => None,
        })
        .collect();
    totals.sort_by_key(|(sum, ..)| std::cmp::Reverse(*sum));
    println!(
        "{} windows of {} auctions; the five with the highest sums:",
        totals.len(),
        driver.task().keys()
    );
    for (_, key, window, totals) in totals.iter().take(5) {
        println!("{key} from {}: {totals:?}", window.start);
    }
}
