//! Structs are read and written as Avro's own library reads and writes them.

use std::fmt::Debug;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema::ResolvedSchema;
use apache_avro::writer::datum::GenericDatumWriter;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::engine::rows::{Accounting, DeadLetter, LateEvent, Progress};
use crate::families::civic::event::CivicEvent;
use crate::families::civic::sla::rows::SlaMetric;
use crate::families::incident::Incident;
use crate::families::interactions::event::Interaction;
use crate::families::interactions::frustration::rows::{Session, Signal};
use crate::sink::converter::rows_tests::values;

/// The newest schema of a subject, and what reads and writes it in Avro's library.
struct Oracle {
    pinned: &'static PinnedSchema,
    reader: GenericDatumReader<'static>,
    writer: GenericDatumWriter<'static>,
}

impl Oracle {
    fn new(subject: &str) -> Self {
        let pinned = newest(subject).unwrap();
        let reader = GenericDatumReader::builder(pinned.schema).human_readable(true).build().unwrap();
        let writer = GenericDatumWriter::builder(pinned.schema).human_readable(true).build().unwrap();
        Self { pinned, reader, writer }
    }

    /// Values of the schema, as Avro's library writes them.
    fn datums(&'static self) -> impl Strategy<Value = Vec<u8>> {
        let names: &'static ResolvedSchema<'static> =
            Box::leak(Box::new(ResolvedSchema::new(self.pinned.schema).unwrap()));
        let values = values(Scoped::new(self.pinned.schema, names.get_names()));
        values.prop_map(|value| self.writer.write_value_to_vec(value).unwrap())
    }

    /// What its library reads; nothing may be left.
    fn read<T: DeserializeOwned>(&self, mut datum: &[u8]) -> Option<T> {
        let value = self.reader.read_deser(&mut datum).ok()?;
        datum.is_empty().then_some(value)
    }
}

fn agree<T: Serialize + DeserializeOwned + Debug>(subject: &str) {
    let oracle: &Oracle = Box::leak(Box::new(Oracle::new(subject)));
    let mut runner = proptest::test_runner::TestRunner::default();
    let damage = proptest::option::of((any::<Index>(), any::<u8>()));
    let cases = (oracle.datums(), damage, any::<Option<Index>>());
    let run = runner.run(&cases, |(mut datum, damage, cut)| {
        let is_whole = damage.is_none() && cut.is_none();
        if let Some((at, byte)) = damage {
            let at = at.index(datum.len());
            datum[at] = byte;
        }
        if let Some(cut) = cut {
            datum.truncate(cut.index(datum.len()));
        }
        let read = oracle.pinned.decode::<T>(&datum);
        let expected = oracle.read::<T>(&datum);
        prop_assert!(!is_whole || expected.is_some());
        if let Some(expected) = &expected {
            // As texts: what is not a number is not equal to itself.
            let read = read.as_ref().map_err(CodecError::to_string);
            prop_assert_eq!(format!("{:?}", read), format!("Ok({:?})", expected));
        }
        let Ok(value) = read else { return Ok(()) };
        let (mut written, mut expected) = (Vec::new(), Vec::new());
        value.serialize(Encoder::new(&oracle.pinned.shape, &mut written)).unwrap();
        oracle.writer.write_ser(&mut expected, &value).unwrap();
        prop_assert_eq!(written, expected);
        Ok(())
    });
    run.unwrap_or_else(|error| panic!("{subject}: {error}"));
}

#[test]
fn structs_are_read_and_written_as_avro_does() {
    agree::<CivicEvent>("civic");
    agree::<Interaction>("interactions");
    agree::<Incident>("incidents");
    agree::<SlaMetric>("sla-metrics");
    agree::<Signal>("signals");
    agree::<Session>("sessions");
    agree::<DeadLetter>("dead-letters");
    agree::<LateEvent>("late-events");
    agree::<Accounting>("accounting");
    agree::<Progress>("progress");
}

const EXAMPLE: &str = r#"{ "type": "record", "name": "Example", "fields": [
    { "name": "count", "type": "int" },
    { "name": "name", "type": ["null", "string"] },
    { "name": "kind", "type": { "type": "enum", "name": "Kind", "symbols": ["one", "two"] } },
    { "name": "notes", "type": { "type": "map", "values": "long" } }
] }"#;

fn example() -> PinnedSchema {
    PinnedSchema::parse(1_000, "example", EXAMPLE).unwrap()
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    One,
    Two,
    Three,
}

/// The fields of the schema in another order; the datum has them in the schema's.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Shuffled {
    notes: BTreeMap<String, i64>,
    kind: Kind,
    count: i64,
    name: Option<String>,
}

#[test]
fn the_order_of_a_structs_fields_is_free() {
    let notes = BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), -1)]);
    let value = Shuffled { notes, kind: Kind::Two, count: 7, name: Some("x".into()) };
    let bytes = example().encode(&value).unwrap();
    assert_eq!(bytes[HEADER..], [14, 2, 2, b'x', 2, 4, 2, b'a', 2, 2, b'b', 1, 0]);
    assert_eq!(example().decode::<Shuffled>(&bytes[HEADER..]).unwrap(), value);
}

#[test]
fn what_a_struct_lacks_or_has_besides_is_named() {
    #[derive(Serialize, Deserialize)]
    struct Fewer {
        count: i32,
        name: Option<String>,
        kind: Kind,
    }
    #[derive(Serialize)]
    struct More {
        count: i32,
        colour: i32,
    }
    let error = |result: Result<Vec<u8>, CodecError>| result.unwrap_err().to_string();
    let begin = "the value does not follow schema 1000: ";
    let fewer = |count| Fewer { count, name: None, kind: Kind::One };
    assert_eq!(
        error(example().encode(&fewer(1))),
        format!("{begin}the schema's Example has a field notes, the struct has none")
    );
    assert_eq!(
        error(example().encode(&More { count: 1, colour: 2 })),
        format!("{begin}the struct has a field colour, the schema's Example has none")
    );
    let shuffled = |kind, count| Shuffled { notes: BTreeMap::new(), kind, count, name: None };
    assert_eq!(
        error(example().encode(&shuffled(Kind::Three, 1))),
        format!("{begin}kind: the struct has three, the schema one of the enum's symbols")
    );
    assert_eq!(
        error(example().encode(&shuffled(Kind::One, i64::MAX))),
        format!("{begin}count: the struct has the integer {}, the schema an int", i64::MAX)
    );
    // What the struct does not ask for is passed over.
    let datum = [2, 0, 0, 0];
    assert_eq!(example().decode::<Fewer>(&datum).unwrap().count, 1);
    let torn = example().decode::<Fewer>(&datum[..3]).err().unwrap().to_string();
    assert_eq!(torn, format!("{begin}byte 3: it ends too early"));
}

#[test]
fn a_schema_that_is_not_read_is_refused() {
    let nested = r#"{ "type": "record", "name": "R", "fields": [{ "name": "r", "type": ["null", "R"] }] }"#;
    let error = PinnedSchema::parse(1, "r", nested).err().unwrap();
    assert!(error.contains("contains itself"), "{error}");
}
