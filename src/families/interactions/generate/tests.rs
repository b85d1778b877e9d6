mod oracle;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::evaluate::evaluate;
use super::event::SDK;
use super::{Batch, Generator, Label, Plan, Rule, Sign};
use crate::engine::Millis;

fn plan(seed: u64, sessions: u64) -> Plan {
    Plan { seed, sessions, ..Plan::default() }
}

fn generate(plan: Plan) -> (Vec<Batch>, Vec<Sign>) {
    let mut generator = Generator::new(plan);
    let batches = generator.by_ref().collect();
    (batches, generator.take_signs())
}

fn lines(batches: &[Batch], is_bare: bool) -> String {
    let mut bytes = Vec::new();
    for batch in batches {
        batch.write(&mut bytes, is_bare, b'\n').unwrap();
    }
    String::from_utf8(bytes).unwrap()
}

fn values(batches: &[Batch]) -> Vec<Value> {
    lines(batches, false).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn time(value: &Value) -> Millis {
    value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

#[test]
fn a_seed_gives_the_same_bytes_and_another_one_others() {
    let told = |plan| {
        let (batches, signs) = generate(plan);
        (lines(&batches, false), serde_json::to_string(&signs).unwrap())
    };
    let first = told(plan(7, 40));
    assert_eq!(first, told(plan(7, 40)));
    let other = told(plan(8, 40));
    assert!(first.0 != other.0 && first.1 != other.1);
    // How many sessions are asked for changes none of them.
    let few = told(plan(7, 20)).1;
    assert_eq!(first.1.trim_end_matches(']').get(..few.len() - 1), Some(few.trim_end_matches(']')));
}

/// What each type may have beside the common fields; all that is not marked by `?` it must have.
const TYPES: [(&str, &str); 20] = [
    ("click", "x y viewport target selected_text?"),
    ("double_click", "x y viewport target selected_text?"),
    ("context_click", "x y viewport target selected_text?"),
    ("key", "target form?"),
    ("input", "target form?"),
    ("change", "target form?"),
    ("focus", "target form?"),
    ("blur", "target form?"),
    ("submit", "form failed"),
    ("validation_error", "form target code"),
    ("scroll", "x y"),
    ("move", "points"),
    ("navigation", "navigation"),
    ("page_show", ""),
    ("page_hide", ""),
    ("page_unload", ""),
    ("mutation", "added removed attributes texts"),
    ("request", "method request_route status duration_ms"),
    ("error", "error message name? source"),
    ("custom", "name fields"),
];

const COMMON: &str =
    "arrived_at type session_id tab_id window_id page_view_id seq occurred_at url user device browser os sdk";

#[test]
fn every_type_appears_with_the_fields_of_the_format() {
    let (batches, _) = generate(plan(3, 300));
    let types: HashMap<&str, &str> = TYPES.into();
    let (mut seen, mut navigations, mut tags) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for event in values(&batches) {
        let fields = event.as_object().unwrap();
        let kind = event["type"].as_str().unwrap();
        let expected = COMMON.split(' ').chain(types[kind].split_whitespace());
        let mut left: BTreeSet<&str> = fields.keys().map(String::as_str).collect();
        for name in expected {
            let is_there = left.remove(name.trim_end_matches('?'));
            assert!(is_there || name.ends_with('?'), "{name} is missing in {event}");
        }
        assert!(left.is_empty(), "{left:?} in {event}");
        assert_eq!(event["sdk"], SDK);
        assert!(event["session_id"].as_str().unwrap().starts_with("generated-"));
        if let Some(points) = event["points"].as_array() {
            let point = |point: &Value| <[i64; 3]>::deserialize(point).unwrap();
            let after: Vec<i64> = points.iter().map(|value| point(value)[0]).collect();
            assert!((2..=500).contains(&points.len()) && after.is_sorted() && after[0] == 0, "{event}");
        }
        if let Some(navigation) = event["navigation"].as_str() {
            navigations.insert(navigation.to_owned());
        }
        if kind == "click" {
            tags.insert(event["target"]["tag"].as_str().unwrap().to_owned());
        }
        seen.insert(kind.to_owned());
    }
    assert_eq!(seen.len(), TYPES.len(), "{seen:?}");
    assert_eq!(navigations.len(), 6, "{navigations:?}");
    assert!(["a", "button", "input", "img"].iter().all(|tag| tags.contains(*tag)), "{tags:?}");
    assert!(!lines(&batches, true).contains("arrived_at"));
}

#[test]
fn batches_come_in_the_order_of_arrival_some_out_of_order_and_some_twice() {
    for late in [0.0, 0.05] {
        let (batches, _) = generate(Plan { late, ..plan(5, 200) });
        assert!(batches.is_sorted_by_key(|batch| batch.arrived_at));
        type Producer = (String, u32);
        let mut seen: BTreeMap<Producer, BTreeSet<u32>> = BTreeMap::new();
        let mut newest: HashMap<Producer, Millis> = HashMap::new();
        let (mut repeated, mut swapped, mut far) = (0, 0, 0);
        for batch in &batches {
            let producer = (batch.visitor.session_id.to_string(), batch.events[0].tab);
            assert!(batch.events.iter().all(|event| event.tab == producer.1));
            let last = batch.events.last().unwrap().occurred_at;
            assert!(batch.arrived_at > last, "nothing arrives before it happens");
            let numbers = seen.entry(producer.clone()).or_default();
            if numbers.contains(&batch.events[0].seq) {
                assert!(batch.events.iter().all(|event| numbers.contains(&event.seq)));
                repeated += 1;
                continue;
            }
            numbers.extend(batch.events.iter().map(|event| event.seq));
            let newest = newest.entry(producer).or_insert(last);
            let behind = *newest - batch.events[0].occurred_at;
            if last < *newest {
                swapped += 1;
                far += usize::from(behind > 12_000);
            }
            *newest = last.max(*newest);
        }
        assert!(repeated > 10 && swapped > 10, "{repeated} repeated, {swapped} swapped");
        assert_eq!(far > 0, late > 0.0, "{far} far behind");
        for (producer, numbers) in &seen {
            assert!(numbers.iter().copied().eq(0..numbers.len() as u32), "{producer:?} has a gap");
        }
    }
}

#[test]
fn the_rate_holds_on_the_average_and_says_how_many_sessions_overlap() {
    let begun = |rate| {
        let mut generator = Generator::new(Plan { rate, ..plan(11, 400) });
        let events: usize = generator.by_ref().map(|batch| batch.events.len()).sum();
        events as f64 / (generator.next / 1_000_000.0)
    };
    for rate in [50, 5_000] {
        let rate = f64::from(rate);
        let measured = begun(rate as u32);
        assert!((measured - rate).abs() < rate * 0.2, "{measured} at {rate}");
    }
}

#[test]
fn a_request_has_the_devices_own_time_and_a_line_the_true_one() {
    let (batches, _) = generate(plan(2, 200));
    let batch = batches.iter().find(|batch| batch.visitor.skew != 0).unwrap();
    let skew = batch.visitor.skew;
    assert!((180_000..=7_200_000).contains(&skew.abs()));
    let request = serde_json::to_value(batch.request(batch.arrived_at)).unwrap();
    assert_eq!(time(&request["sent_at"]), batch.arrived_at + skew);
    let events = request["events"].as_array().unwrap();
    assert_eq!(events.len(), batch.events.len());
    for ((event, sent), line) in batch.events.iter().zip(events).zip(values(std::slice::from_ref(batch))) {
        assert_eq!(time(&sent["occurred_at"]), event.occurred_at + skew);
        assert_eq!(time(&line["occurred_at"]), event.occurred_at);
        // Together with the context, it is the same event.
        let mut whole = request["context"].as_object().unwrap().clone();
        whole.extend(sent.as_object().unwrap().clone());
        whole.insert("occurred_at".to_owned(), line["occurred_at"].clone());
        whole.insert("arrived_at".to_owned(), line["arrived_at"].clone());
        assert_eq!(Value::Object(whole), line);
    }
}

/// The rules as the documents tell them, told once more in [`oracle`], find in the events what the truth says, and nothing
/// else; whichever way what the documents leave open is read.
#[test]
fn the_events_hold_what_the_truth_says_and_nothing_else() {
    for seed in [1, 2, 3] {
        let (batches, signs) = generate(plan(seed, 1_000));
        let events = oracle::events(&values(&batches));
        for reading in [oracle::Reading::Narrow, oracle::Reading::Wide] {
            let report = evaluate(&signs, &oracle::signals(&events, reading));
            assert!(report.missed.is_empty() && report.wrong.is_empty(), "{seed} {reading:?}:\n{report}");
            for rule in Rule::ALL {
                let score = report.scores[&rule];
                assert!(score.planted > 20 && score.near_misses > 20, "{}: {score:?}", rule.name());
            }
        }
        assert!(signs.iter().any(|sign| sign.planted == Label::NearMiss));
    }
}

/// A generator that asked the rules what they look for would find that they are right.
#[test]
fn nothing_here_knows_the_rules() {
    fn look(folder: &Path, files: &mut usize) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                look(&path, files);
                continue;
            }
            *files += 1;
            let source = std::fs::read_to_string(&path).unwrap();
            for (number, line) in source.lines().enumerate() {
                let known = [
                    "crate::engine",
                    "crate::codec",
                    "crate::families::client",
                    "crate::families::generator",
                    "crate::families::interactions::generate",
                ];
                let mut roots = line.match_indices("crate::").map(|(at, _)| &line[at..]);
                let is_known = |path: &str| known.iter().any(|root| path.starts_with(root));
                let is_text = line.contains("\"crate::");
                assert!(is_text || roots.all(is_known), "{}:{}: {line}", path.display(), number + 1);
            }
        }
    }
    let mut files = 0;
    look(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/families/interactions/generate"), &mut files);
    assert!(files > 12, "the sources are there");
}
