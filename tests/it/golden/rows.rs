//! Rows as JSON, put on their topics as Avro: by the pinned schemas alone, without a struct of the program's.

use std::collections::BTreeMap;
use std::time::Duration;

use apache_avro::Schema;
use apache_avro::schema::{NamesRef, ResolvedSchema};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::{Value, json};
use tidewatch::codec::{self, PinnedSchema};
use tidewatch::log::LogPosition;

use super::TOPICS;
use crate::system::System;

/// The family whose raw events are answered.
const INTERACTIONS: &str = "interactions";

/// `rows.json`: the fields that rows of a topic have in common (`bases`), and each row as what it has besides. One may name
/// its `key`, if it isn't `meta.key`, and its `schema`, if it isn't the newest; or be any `bytes`.
pub struct Rows(Value);

impl Rows {
    /// Reads the file.
    pub fn load() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/golden/rows.json");
        Self(serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
    }

    /// Appends the rows of a stage, then says that both families have been folded so far: `civic` up to `offset`, which stands
    /// for whatever it is. The position that says so.
    pub fn emit(&self, system: &System, stage: &str, offset: i64) -> LogPosition {
        let producer: BaseProducer = system.log.producer().create().unwrap();
        let send = |topic: &str, key: &str, value: &[u8]| {
            producer.send(BaseRecord::to(&system.log.name(topic)).key(key).payload(value)).unwrap();
        };
        for entry in self.0[stage].as_array().unwrap() {
            let topic = entry["topic"].as_str().unwrap();
            if let Some(bytes) = entry["bytes"].as_str() {
                send(topic, entry["key"].as_str().unwrap(), &unhex(bytes));
                continue;
            }
            let row = self.row(topic, &entry["row"]);
            let schema = match entry["schema"].as_u64() {
                Some(id) => &codec::schemas()[&u32::try_from(id).unwrap()],
                None => codec::newest(topic).unwrap(),
            };
            let key = entry["key"].as_str().or_else(|| row["meta"]["key"].as_str()).unwrap();
            send(topic, key, &encode(schema, &row));
        }
        producer.flush(Duration::from_secs(30)).unwrap();

        let ends = |topic: &'static str| {
            let bounds = (0..).zip(system.bounds(topic)).collect::<BTreeMap<i32, _>>();
            bounds.into_iter().map(move |(partition, (_, end))| (topic, partition, end))
        };
        let outputs: Vec<Value> = TOPICS
            .into_iter()
            .flat_map(ends)
            .map(|(topic, partition, offset)| json!({ "topic": topic, "partition": partition, "offset": offset }))
            .collect();
        let mut position = LogPosition::default();
        for (topic, partition, offset) in
            ends(INTERACTIONS).filter(|(_, _, end)| *end > 0).chain([("civic", 3, offset)])
        {
            position.add(topic, partition, offset - 1);
            let row = json!({ "topic": topic, "partition": partition, "offset": offset, "outputs": outputs });
            send("progress", topic, &encode(codec::newest("progress").unwrap(), &self.row("progress", &row)));
        }
        producer.flush(Duration::from_secs(30)).unwrap();
        position
    }

    /// A whole row.
    fn row(&self, topic: &str, given: &Value) -> Value {
        let mut row = self.0["bases"][topic].clone();
        merge(&mut row, given, topic);
        row
    }
}

/// Puts what is given in the place of what all have.
fn merge(base: &mut Value, given: &Value, path: &str) {
    match (base, given) {
        (Value::Object(base), Value::Object(given)) => {
            for (name, given) in given {
                let path = format!("{path}.{name}");
                merge(base.get_mut(name).unwrap_or_else(|| panic!("{path} is no field")), given, &path);
            }
        }
        (base, given) => *base = given.clone(),
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

/// A row in the Confluent wire format. Avro's own generic values would not do: their maps have no order.
fn encode(schema: &PinnedSchema, row: &Value) -> Vec<u8> {
    let resolved = ResolvedSchema::try_from(schema.schema).unwrap();
    let mut bytes = [&[0], schema.id.to_be_bytes().as_slice()].concat();
    write(schema.schema, resolved.get_names(), row, &mut bytes);
    bytes
}

/// Appends a value: <https://avro.apache.org/docs/1.12.0/specification/#binary-encoding>. A map is given as a list of its entries,
/// a union of records as `{NAME: RECORD}`.
fn write(schema: &Schema, names: &NamesRef<'_>, value: &Value, bytes: &mut Vec<u8>) {
    match schema {
        Schema::Ref { name } => write(names[name], names, value, bytes),
        Schema::Null => assert!(value.is_null(), "{value}"),
        Schema::Boolean => bytes.push(value.as_bool().unwrap().into()),
        Schema::Int | Schema::Long | Schema::TimestampMillis => {
            write_long(value.as_i64().unwrap_or_else(|| panic!("{value} is no number")), bytes);
        }
        Schema::String | Schema::Uuid(_) => {
            write_text(value.as_str().unwrap_or_else(|| panic!("{value} is no text")), bytes);
        }
        Schema::Enum(of) => {
            let place = of.symbols.iter().position(|symbol| *value == **symbol);
            write_long(place.unwrap_or_else(|| panic!("{value} is no {}", of.name)) as i64, bytes);
        }
        Schema::Array(of) => write_items(value, bytes, |item, bytes| write(&of.items, names, item, bytes)),
        Schema::Map(of) => write_items(value, bytes, |entry, bytes| {
            write_text(entry[0].as_str().unwrap(), bytes);
            write(&of.types, names, &entry[1], bytes);
        }),
        Schema::Record(of) => {
            for field in &of.fields {
                write(&field.schema, names, &value[&field.name], bytes);
            }
        }
        Schema::Union(of) => {
            let is_null = |branch: &Schema| *branch == Schema::Null;
            let (place, value) = match of.variants() {
                [null, _] if is_null(null) => (i64::from(!value.is_null()), value),
                variants => {
                    let (name, value) = value.as_object().and_then(|body| body.iter().next()).unwrap();
                    let is_named = |branch: &Schema| branch.name().is_some_and(|of| of.name() == name);
                    let place = variants.iter().position(is_named).unwrap_or_else(|| panic!("{name}"));
                    (place as i64, value)
                }
            };
            write_long(place, bytes);
            write(&of.variants()[place as usize], names, value, bytes);
        }
        other => panic!("no row here has {other:?}"),
    }
}

fn write_items(items: &Value, bytes: &mut Vec<u8>, write: impl Fn(&Value, &mut Vec<u8>)) {
    let items = items.as_array().unwrap_or_else(|| panic!("{items} is no list"));
    if !items.is_empty() {
        write_long(items.len() as i64, bytes);
        items.iter().for_each(|item| write(item, bytes));
    }
    write_long(0, bytes);
}

fn write_text(text: &str, bytes: &mut Vec<u8>) {
    write_long(text.len() as i64, bytes);
    bytes.extend_from_slice(text.as_bytes());
}

fn write_long(number: i64, bytes: &mut Vec<u8>) {
    let mut rest = ((number << 1) ^ (number >> 63)) as u64;
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}
