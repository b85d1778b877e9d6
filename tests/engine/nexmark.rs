//! Nexmark's queries 2, 3 and 7 as small operators, and RisingWave's windows that emit on close.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidewatch::engine::rows::{DeadLetter, LateEvent, RowMeta};
use tidewatch::engine::{
    Aggregate, Context, Emission, FamilySettings, FixedWindows, Operator, Rejection, TestDriver, Window,
    WindowKind, Windowed,
};
use tidewatch::engine::{Event, Identity, Millis};

use crate::streaming::{json, json_lines, millis};

/// A person, an auction or a bid.
#[derive(Debug, Clone)]
enum Market {
    Person { id: i64, name: String, city: String, state: String, time: Millis },
    Auction { id: i64, seller: i64, category: i64, time: Millis },
    Bid { auction: i64, bidder: i64, price: i64, time: Millis },
}

impl Event for Market {
    fn tenant(&self) -> &str {
        "n"
    }

    fn identity(&self) -> Identity<'_> {
        Identity::Record
    }

    fn event_time(&self) -> Millis {
        match self {
            Self::Person { time, .. } | Self::Auction { time, .. } | Self::Bid { time, .. } => *time,
        }
    }
}

/// What the queries emit.
#[derive(Debug, Clone, PartialEq)]
enum Row {
    Bid { auction: i64, price: i64 },
    Sale { name: String, city: String, state: String, auction: i64 },
    Highest { window: Window, is_final: bool, bids: Vec<(i64, i64, i64, Millis)> },
    Other,
}

impl From<DeadLetter> for Row {
    fn from(_: DeadLetter) -> Self {
        Self::Other
    }
}

impl From<LateEvent> for Row {
    fn from(_: LateEvent) -> Self {
        Self::Other
    }
}

/// Query 2: the bids on some auctions.
struct SomeBids;

impl Operator for SomeBids {
    type Event = Market;
    type Name = ();
    type Entry = ();
    type Timer = ();
    type Settings = ();
    type Row = Row;

    const NAME: &'static str = "some-bids";
    const VERSION: i32 = 1;

    fn record(&self, context: &mut Context<'_, Self>, event: &Market) -> Result<(), Rejection> {
        if let Market::Bid { auction: auction @ (1007 | 1020 | 2001 | 2019 | 2087), price, .. } = *event {
            context.emit(Row::Bid { auction, price });
        }
        Ok(())
    }

    fn timer(&self, _: &mut Context<'_, Self>, (): &(), _: Millis) {}
}

/// Query 3: who sells what in category 10, in three states; the key is the person. Whichever comes first waits.
struct Sales;

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Side {
    Person { name: String, city: String, state: String },
    Auction,
}

impl Operator for Sales {
    type Event = Market;
    /// An auction's id; 0 is the person.
    type Name = i64;
    type Entry = Side;
    type Timer = ();
    type Settings = ();
    type Row = Row;

    const NAME: &'static str = "sales";
    const VERSION: i32 = 1;

    fn record(&self, context: &mut Context<'_, Self>, event: &Market) -> Result<(), Rejection> {
        match event {
            Market::Person { name, city, state, .. } if ["or", "id", "ca"].contains(&&**state) => {
                let (name, city, state) = (name.clone(), city.clone(), state.clone());
                context.put(&0, Side::Person { name, city, state });
                let waiting: Vec<i64> = context.entries().map(|(id, _)| *id).filter(|id| *id != 0).collect();
                waiting.into_iter().for_each(|id| sell(context, id));
            }
            Market::Auction { id, category: 10, .. } => {
                context.put(id, Side::Auction);
                sell(context, *id);
            }
            _ => {}
        }
        Ok(())
    }

    fn timer(&self, _: &mut Context<'_, Self>, (): &(), _: Millis) {}
}

fn sell(context: &mut Context<'_, Sales>, auction: i64) {
    if let Some(Side::Person { name, city, state }) = context.get(&0).cloned() {
        context.emit(Row::Sale { name, city, state, auction });
    }
}

/// Query 7: the highest bids of a window.
struct HighestBids;

impl Aggregate for HighestBids {
    type Event = Market;
    /// (auction, price, bidder, time) of each bid of the highest price.
    type Value = Vec<(i64, i64, i64, Millis)>;
    type Row = Row;

    const NAME: &'static str = "highest-bids";
    const VERSION: i32 = 1;

    fn accepts(&self, event: &Market) -> bool {
        matches!(event, Market::Bid { .. })
    }

    fn add(&self, value: &mut Self::Value, event: &Market) {
        if let Market::Bid { auction, bidder, price, time } = *event {
            self.merge(value, &vec![(auction, price, bidder, time)]);
        }
    }

    fn merge(&self, value: &mut Self::Value, other: &Self::Value) {
        value.extend(other);
        let highest = value.iter().map(|(_, price, ..)| *price).max();
        value.retain(|(_, price, ..)| Some(*price) == highest);
    }

    fn row(&self, meta: RowMeta, window: Window, value: &Self::Value) -> Row {
        Row::Highest { window, is_final: meta.is_final, bids: value.clone() }
    }
}

fn highest(size: Millis, allowance: Millis) -> TestDriver<Windowed<HighestBids>> {
    let operator = move || Windowed {
        aggregate: HighestBids,
        kind: WindowKind::Fixed(FixedWindows::tumbling(size)),
        grace: 0,
        emission: Emission::OnClose,
    };
    TestDriver::new(operator, FamilySettings::new(allowance, 0))
}

/// All of them, by event time.
fn market() -> Vec<Market> {
    let number = |line: &Value, name: &str| line[name].as_i64().unwrap();
    let text = |line: &Value, name: &str| line[name].as_str().unwrap().to_owned();
    let person = |line: Value| Market::Person {
        id: number(&line, "id"),
        name: text(&line, "name"),
        city: text(&line, "city"),
        state: text(&line, "state"),
        time: millis(&line["date_time"]),
    };
    let auction = |line: Value| Market::Auction {
        id: number(&line, "id"),
        seller: number(&line, "seller"),
        category: number(&line, "category"),
        time: millis(&line["date_time"]),
    };
    let bid = |line: Value| Market::Bid {
        auction: number(&line, "auction"),
        bidder: number(&line, "bidder"),
        price: number(&line, "price"),
        time: millis(&line["date_time"]),
    };
    let mut market: Vec<Market> = json_lines("person.jsonl").into_iter().map(person).collect();
    market.extend(json_lines("auction.jsonl").into_iter().map(auction));
    market.extend(json_lines("bid.jsonl").into_iter().map(bid));
    market.sort_by_key(Event::event_time);
    market
}

fn run<O: Operator<Event = Market>>(
    mut driver: TestDriver<O>,
    market: &[Market],
    key: impl Fn(&Market) -> String,
) -> Vec<O::Row> {
    let start = market.iter().map(Event::event_time).max().unwrap();
    for event in market {
        driver.append(&key(event), start, event.clone());
    }
    driver.advance_to(start + 3_600_000);
    driver.take()
}

#[test]
fn nexmark_query_2_filters() {
    let driver = TestDriver::new(|| SomeBids, FamilySettings::default());
    let found = run(driver, &market(), |_| "n/bids".into());
    let tuple =
        |tuple: &Value| Row::Bid { auction: tuple[0].as_i64().unwrap(), price: tuple[1].as_i64().unwrap() };
    let expected: Vec<Row> =
        json("nexmark_expected.json")["q2_bid_filter"].as_array().unwrap().iter().map(tuple).collect();
    assert_eq!(found, expected);
}

#[test]
fn nexmark_query_3_joins_whichever_side_comes_first() {
    let key = |event: &Market| match event {
        Market::Person { id, .. } => format!("n/{id}"),
        Market::Auction { seller, .. } => format!("n/{seller}"),
        Market::Bid { bidder, .. } => format!("n/{bidder}"),
    };
    let tuple = |tuple: &Value| {
        let text = |index: usize| tuple[index].as_str().unwrap().to_owned();
        format!(
            "{:?}",
            Row::Sale { name: text(0), city: text(1), state: text(2), auction: tuple[3].as_i64().unwrap() }
        )
    };
    let mut expected: Vec<String> =
        json("nexmark_expected.json")["q3_join"].as_array().unwrap().iter().map(tuple).collect();
    expected.sort();
    let mut market = market();
    for _ in 0..2 {
        let driver = TestDriver::new(|| Sales, FamilySettings::default());
        let mut found: Vec<String> = run(driver, &market, key).iter().map(|row| format!("{row:?}")).collect();
        found.sort();
        assert_eq!(found, expected);
        market.reverse();
    }
}

#[test]
fn nexmark_query_7_finds_the_highest_bids_of_each_window() {
    let found = run(highest(10_000, 0), &market(), |_| "n/all".into());
    let mut bids = Vec::new();
    for row in found {
        let Row::Highest { is_final: true, bids: highest, .. } = row else {
            panic!("on close alone: {row:?}")
        };
        bids.extend(highest);
    }
    bids.sort_unstable();
    let tuple = |tuple: &Value| {
        let number = |index: usize| tuple[index].as_i64().unwrap();
        (number(0), number(1), number(2), millis(&tuple[3]))
    };
    let expected = &json("nexmark_expected.json")["q7_highest_bid_tumble_10s"];
    let mut expected: Vec<_> = expected.as_array().unwrap().iter().map(tuple).collect();
    expected.sort_unstable();
    assert_eq!(bids, expected);
}

#[test]
fn i9_windows_that_emit_on_close_agree_with_risingwave() {
    let cases = json("window_semantics.json");
    let [case] = &cases["risingwave_eowc"].as_array().unwrap()[..] else { panic!("one case") };
    let mut driver = highest(3_600_000, 5 * 60_000);
    let mut found = Vec::new();
    for step in case["steps"].as_array().unwrap() {
        for insert in step["insert"].as_array().unwrap() {
            let (time, price) = (millis(&insert[0]), insert[1].as_i64().unwrap());
            // Appended at once: no time passes but the key's own.
            let append = millis(&Value::from("2023-05-07 00:00:00"));
            driver.append("n/all", append, Market::Bid { auction: 0, bidder: 0, price, time });
        }
        for row in driver.take() {
            let Row::Highest { window, is_final: true, bids } = row else {
                panic!("on close alone: {row:?}")
            };
            found.push((window.start, bids[0].1));
        }
        let tuple = |tuple: &Value| (millis(&tuple[0]), tuple[1].as_i64().unwrap());
        let expected = step["expect_max_by_window_start"].as_array().unwrap();
        assert_eq!(found, expected.iter().map(tuple).collect::<Vec<_>>());
    }
}
