//! A job that is only an example and a subject of benchmarks: count, sum and maximum of the bids on each auction, in tumbling
//! windows of 10 s (after Nexmark, query 7: <https://github.com/nexmark/nexmark>).

use serde::{Deserialize, Serialize};
use tidewatch::codec::{self, CodecError};
use tidewatch::engine::rows::{DeadLetter, DerivedRow, LateEvent, RowMeta};
use tidewatch::engine::{Aggregate, Emission, FixedWindows, Window, WindowKind, Windowed};
use tidewatch::engine::{Event, Identity, Millis};
use tidewatch::runtime::OutputRow;

/// The tenant of all bids.
pub const TENANT: &str = "bids";
/// Length of a window, in ms.
pub const WINDOW: Millis = 10_000;
/// Bytes of a bid in the log.
pub const SIZE: usize = 75;

/// A bid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bid {
    /// The auction.
    pub auction: u64,
    /// The price, in cents.
    pub price: u64,
    /// When it was made.
    pub at: Millis,
}

impl Bid {
    /// The bid of a place in the log, by a generator without state: 10,000 auctions, a bid every 20 µs.
    pub fn of(place: u64) -> Self {
        let mixed = (place ^ (place >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self {
            auction: (mixed >> 32) % 10_000,
            price: mixed % 1_000_000,
            at: 1_700_000_000_000 + (place / 50) as i64,
        }
    }

    /// The key of its record.
    pub fn key(&self) -> String {
        format!("{TENANT}/{}", self.auction)
    }

    /// As it lies in the log: three integers, and what else a bid would say.
    pub fn encode(&self) -> [u8; SIZE] {
        let mut bytes = [b'.'; SIZE];
        bytes[..8].copy_from_slice(&self.auction.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.price.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.at.to_le_bytes());
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub fn decode(_: &'static str, value: Option<&[u8]>) -> Result<Self, CodecError> {
        let value = value.ok_or(CodecError::Missing)?;
        let number = |place: usize| {
            let bytes = value.get(place..place + 8).and_then(|bytes| bytes.try_into().ok());
            bytes.map(u64::from_le_bytes).ok_or(CodecError::NotFramed { length: value.len() })
        };
        Ok(Self { auction: number(0)?, price: number(8)?, at: number(16)? as i64 })
    }
}

impl Event for Bid {
    fn tenant(&self) -> &str {
        TENANT
    }

    fn identity(&self) -> Identity<'_> {
        Identity::Record
    }

    fn event_time(&self) -> Millis {
        self.at
    }
}

/// What is kept of an auction's bids in a window.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// How many.
    pub count: u64,
    /// Sum of the prices.
    pub sum: u64,
    /// The highest price.
    pub maximum: u64,
}

impl Totals {
    /// Takes a bid in.
    pub fn add(&mut self, bid: &Bid) {
        self.count += 1;
        self.sum += bid.price;
        self.maximum = self.maximum.max(bid.price);
    }

    /// As it lies in a derived topic, behind the beginning of its window.
    pub fn encode(&self, start: Millis, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(&start.to_le_bytes());
        for number in [self.count, self.sum, self.maximum] {
            buffer.extend_from_slice(&number.to_le_bytes());
        }
    }
}

/// The totals of each auction's bids.
#[derive(Debug, Clone, Copy)]
pub struct BidTotals;

/// What the job emits.
#[derive(Debug, Clone, PartialEq)]
pub enum BidRow {
    /// The totals of a window.
    Totals(String, Window, Totals),
    /// A bid that could not be read.
    DeadLetter(DeadLetter),
    /// A bid that came too late.
    LateEvent(LateEvent),
}

impl From<DeadLetter> for BidRow {
    fn from(letter: DeadLetter) -> Self {
        Self::DeadLetter(letter)
    }
}

impl From<LateEvent> for BidRow {
    fn from(event: LateEvent) -> Self {
        Self::LateEvent(event)
    }
}

impl Aggregate for BidTotals {
    type Event = Bid;
    type Value = Totals;
    type Row = BidRow;

    const NAME: &'static str = "bids";
    const VERSION: i32 = 1;
    const HAS_EVIDENCE: bool = false;

    fn add(&self, value: &mut Totals, bid: &Bid) {
        value.add(bid);
    }

    fn merge(&self, value: &mut Totals, other: &Totals) {
        value.count += other.count;
        value.sum += other.sum;
        value.maximum = value.maximum.max(other.maximum);
    }

    fn row(&self, meta: RowMeta, window: Window, value: &Totals) -> BidRow {
        BidRow::Totals(meta.key.into(), window, *value)
    }
}

/// The job.
pub fn operator() -> Windowed<BidTotals> {
    Windowed {
        aggregate: BidTotals,
        kind: WindowKind::Fixed(FixedWindows::tumbling(WINDOW)),
        grace: 0,
        emission: Emission::OnClose,
    }
}

impl OutputRow for BidRow {
    fn topic(&self) -> &'static str {
        match self {
            Self::Totals(..) => "bid-totals",
            Self::DeadLetter(_) => DeadLetter::TOPIC,
            Self::LateEvent(_) => LateEvent::TOPIC,
        }
    }

    fn key(&self) -> &[u8] {
        match self {
            Self::Totals(key, ..) => key.as_bytes(),
            Self::DeadLetter(row) => row.key(),
            Self::LateEvent(row) => row.key(),
        }
    }

    fn encode(&self, buffer: &mut Vec<u8>) -> Result<(), CodecError> {
        match self {
            Self::Totals(_, window, totals) => {
                totals.encode(window.start, buffer);
                Ok(())
            }
            Self::DeadLetter(row) => codec::encode_newest(DeadLetter::TOPIC, row, buffer),
            Self::LateEvent(row) => codec::encode_newest(LateEvent::TOPIC, row, buffer),
        }
    }
}
