//! The structs of events and rows have the fields of their schemas: each reads every value that its schema allows, and writes
//! the same value again.

use std::collections::HashMap;

use apache_avro::Schema;
use apache_avro::schema::{NamesRef, ResolvedSchema};
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use tidewatch::codec;
use tidewatch::codec::PinnedSchema;
use tidewatch::engine::Operator;
use tidewatch::engine::rows::OperatorRow;
use tidewatch::families::{self, Family, JobVisitor, Visitor};
use tidewatch::runtime;
use tidewatch::runtime::Job;
use uuid::Uuid;

/// So many values of each schema: more than a union has members or an enum symbols.
const VARIANTS: usize = 16;

/// A value of a schema. Of what has several forms it has the one that `variant` chooses.
fn value(schema: &Schema, names: &NamesRef<'_>, variant: usize) -> Value {
    let of = |schema: &Schema| value(schema, names, variant);
    match schema {
        Schema::Null => Value::Null,
        Schema::Boolean => Value::Boolean(variant % 2 == 1),
        Schema::Int => Value::Int(variant as i32),
        Schema::Long => Value::Long(variant as i64),
        Schema::Double => Value::Double(variant as f64 / 2.0),
        Schema::TimestampMillis => Value::TimestampMillis(variant as i64),
        Schema::Bytes => Value::Bytes(vec![variant as u8]),
        Schema::String => Value::String(format!("text {variant}")),
        Schema::Uuid(_) => Value::Uuid(Uuid::from_u128(variant as u128)),
        Schema::Enum(schema) => {
            let symbol = variant % schema.symbols.len();
            Value::Enum(symbol as u32, schema.symbols[symbol].clone())
        }
        Schema::Array(schema) => Value::Array((0..variant % 3).map(|_| of(&schema.items)).collect()),
        // One entry at most: maps have no order.
        Schema::Map(schema) => {
            let entry = (variant % 2 == 1).then(|| ("name".to_owned(), of(&schema.types)));
            Value::Map(HashMap::from_iter(entry))
        }
        Schema::Union(schema) => {
            let member = variant % schema.variants().len();
            Value::Union(member as u32, Box::new(of(&schema.variants()[member])))
        }
        Schema::Record(schema) => {
            // Neighbours differ, also in which member of a union they have.
            let field = |(place, field): (usize, &apache_avro::schema::RecordField)| {
                (field.name.clone(), value(&field.schema, names, variant + place))
            };
            Value::Record(schema.fields.iter().enumerate().map(field).collect())
        }
        Schema::Ref { name } => of(names[name]),
        other => panic!("{other:?} is in no schema yet: add it here"),
    }
}

/// Values of a schema, written as Avro alone writes them.
fn values_of(pinned: &PinnedSchema) -> impl Iterator<Item = Vec<u8>> {
    let resolved = ResolvedSchema::new(pinned.schema).unwrap();
    let values: Vec<Value> =
        (0..VARIANTS).map(|variant| value(pinned.schema, resolved.get_names(), variant)).collect();
    let writer = GenericDatumWriter::builder(pinned.schema).human_readable(true).build().unwrap();
    values.into_iter().map(move |value| {
        let datum = writer.write_value_to_vec(value).unwrap();
        [&[0][..], &pinned.id.to_be_bytes(), &datum].concat()
    })
}

/// Values of the newest schema of a subject.
fn values(subject: &str) -> impl Iterator<Item = Vec<u8>> {
    values_of(codec::newest(subject).unwrap_or_else(|| panic!("no schema of {subject}")))
}

/// Values of the former schemas of a subject: what was written once is read for ever.
fn former_values(subject: &str) -> impl Iterator<Item = Vec<u8>> {
    let of_subject = codec::schemas().values().filter(move |schema| schema.subject == subject);
    of_subject.flat_map(values_of)
}

/// What was written by the struct is what it was read from.
fn assert_same(subject: &str, read: &[u8], written: &[u8]) {
    let [read, written] = [read, written].map(|value| codec::decode_generic(Some(value)).unwrap().1);
    assert_eq!(read, written, "the struct of {subject} does not have the fields of its schema");
}

/// The families' events, and the rows of their operators.
struct Check;

impl Visitor for Check {
    type Output = ();

    fn family<F: Family>(mut self) {
        for value in values(F::NAME) {
            let event: F::Event = codec::decode(F::NAME, Some(&value)).unwrap_or_else(|error| {
                panic!("the struct of {} lacks what its schema has, or has more: {error}", F::NAME)
            });
            assert_same(F::NAME, &value, &codec::newest(F::NAME).unwrap().encode(&event).unwrap());
        }
        for value in former_values(F::NAME) {
            let read = codec::decode::<F::Event>(F::NAME, Some(&value));
            read.unwrap_or_else(|error| {
                panic!("the struct of {} does not read a former schema: {error}", F::NAME)
            });
        }
        F::jobs(&mut self);
    }
}

impl<F: Family> JobVisitor<F> for Check {
    fn job<O>(&mut self, _: Job<O>)
    where
        O: Operator<Event = F::Event, Row: OperatorRow, Settings: Send + Sync> + Send + Sync,
    {
        for topic in O::Row::TOPICS {
            for value in values(topic) {
                let row = O::Row::read(topic, runtime::Value(Some(&value))).unwrap();
                let row =
                    row.unwrap_or_else(|error| panic!("the struct of {topic} is not its schema's: {error}"));
                let mut written = Vec::new();
                codec::encode_newest(topic, &row, &mut written).unwrap_or_else(|error| {
                    panic!("the struct of {topic} lacks a field of its schema: {error}")
                });
                assert_same(topic, &value, &written);
            }
            for value in former_values(topic) {
                let read = O::Row::read(topic, runtime::Value(Some(&value))).unwrap();
                assert!(
                    read.is_ok(),
                    "the struct of {topic} does not read a former schema: {:?}",
                    read.err()
                );
            }
        }
    }
}

#[test]
fn every_event_and_row_has_the_fields_of_its_schema() {
    let checked = families::each(|| Check);
    assert_eq!(checked.len(), families::NAMES.len());
}
