//! Generated sessions as they lie in the log: what the benchmarks of the family interactions fold.

use serde_json::value::RawValue;
use tidewatch::config::{IngestConfig, Secret};
use tidewatch::families::interactions::Interactions;
use tidewatch::families::interactions::event::Interaction;
use tidewatch::families::interactions::generate::{Generator, Plan};
use tidewatch::ingest::Source;
use tidewatch::ingest::body::Shared;
use tidewatch::ingest::item::{Arrival, Item};

/// An event, and when it was appended.
pub type Appended = (i64, Interaction);

/// The events of generated sessions in the order of their arrival, past the checks of ingest.
pub fn events(plan: Plan) -> Vec<Appended> {
    let rules = Interactions::rules(&IngestConfig::default(), &Secret::from("benchmarks"));
    let mut events = Vec::new();
    for batch in Generator::new(plan) {
        let mut lines = Vec::new();
        batch.write(&mut lines, true, b'\n').expect("an event is JSON");
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let json: &RawValue = serde_json::from_slice(line).expect("an event is JSON");
            let item = Item {
                tenant: "shop",
                arrival: Arrival::AsItHappens,
                new_id: &String::new,
                path: "",
                json,
                shared: Shared::default(),
            };
            let submission = Interactions::read(&item, &rules).expect("a generated event is well-formed");
            events.push((batch.arrived_at, submission.event));
        }
    }
    events
}
