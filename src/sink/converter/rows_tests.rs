//! Rows of whole records, as programs of converters write them.

use std::collections::HashMap;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema::{NamesRef, ResolvedSchema};
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use uuid::Uuid;

use super::oracle;
use super::oracle::Oracle;
use super::*;
use crate::codec;
use crate::codec::program::Unfit;

/// A writer's and a reader's schema, and columns for all that the reader's has.
struct Pair {
    writer: &'static Schema,
    reader: &'static Schema,
    columns: Vec<(Vec<&'static str>, bool, ColumnType)>,
    program: Program<Converter>,
}

/// All that a test needs for as long as it runs.
fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

fn names(schema: &'static Schema) -> &'static NamesRef<'static> {
    leak(ResolvedSchema::new(schema).unwrap()).get_names()
}

impl Pair {
    /// With the columns in an order of their own, which `seed` chooses.
    fn new(writer: &'static Schema, reader: &'static Schema, seed: usize) -> Self {
        let scoped = Scoped::new(reader, names(reader));
        let mut columns = Vec::new();
        add_columns(scoped, &[], seed, &mut columns);
        columns.sort_by_key(|(path, is_kind, _)| codec_order(path, *is_kind, seed));
        let outputs: Vec<_> =
            columns.iter().map(|(path, is_kind, column)| output(path, *is_kind, column)).collect();
        let program = Program::new(Scoped::new(writer, names(writer)), scoped, &outputs).unwrap();
        Self { writer, reader, columns, program }
    }

    /// The row, and nothing left.
    fn row(&self, datum: &[u8]) -> Result<Vec<u8>, String> {
        let (mut row, mut datum) = (b"before".to_vec(), Datum::new(datum));
        let written = self.program.write(&mut datum, &mut row);
        assert!(row.starts_with(b"before"));
        written.map_err(|(_, fault)| fault.to_string())?;
        match datum.left() {
            0 => Ok(row[6..].to_vec()),
            left => Err(format!("{left} bytes left")),
        }
    }

    /// The same by Avro's generic values.
    fn expected(&self, mut datum: &[u8]) -> Result<Vec<u8>, String> {
        let mut value = GenericDatumReader::builder(self.writer)
            .build()
            .and_then(|reader| reader.read_value(&mut datum))
            .map_err(|error| error.to_string())?;
        if !datum.is_empty() {
            return Err("bytes left".into());
        }
        if !std::ptr::eq(self.writer, self.reader) {
            value = value.resolve(self.reader).map_err(|error| error.to_string())?;
        }
        let (mut row, names) = (Vec::new(), names(self.reader));
        for (path, is_kind, column) in &self.columns {
            let (mut schema, mut value) = (self.reader, &value);
            for name in path {
                let (Schema::Record(record), Value::Record(fields)) = (schema, value) else {
                    panic!("{path:?}")
                };
                let position = record.lookup[*name];
                schema = oracle::referenced(&record.fields[position].schema, names).unwrap();
                value = &fields[position].1;
            }
            let oracle = if *is_kind {
                Oracle::kind(schema, column, names)
            } else {
                Oracle::new(schema, column, names)
            };
            oracle.unwrap().write(value, &mut row).map_err(|error| error.to_string())?;
        }
        Ok(row)
    }

    fn datum(&self, value: &Value, block: Option<usize>) -> Vec<u8> {
        let writer = GenericDatumWriter::builder(self.writer).maybe_target_block_size(block).build().unwrap();
        writer.write_value_to_vec(value.clone()).unwrap()
    }

    /// What is read is what Avro reads.
    fn agrees(&self, datum: &[u8]) -> Result<(), TestCaseError> {
        if let Ok(row) = self.row(datum) {
            prop_assert_eq!(Ok(row), self.expected(datum));
        }
        Ok(())
    }
}

fn output<'a>(path: &[&'a str], is_kind: bool, column: &'a ColumnType) -> Output<'a, Form<'a>> {
    let form = if is_kind { Form::Kind(column) } else { Form::Column(column) };
    Output { path: path.to_vec(), form }
}

/// Seed 0 leaves columns where they are.
fn codec_order(path: &[&str], is_kind: bool, seed: usize) -> usize {
    if seed == 0 {
        return 0;
    }
    let text = format!("{path:?}{is_kind}");
    text.bytes().fold(seed, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()))
}

/// Columns for all fields of a record: for those that are records one for the whole, and those for what is in it.
fn add_columns(
    record: Scoped<'static>,
    path: &[&'static str],
    seed: usize,
    columns: &mut Vec<(Vec<&'static str>, bool, ColumnType)>,
) {
    let Schema::Record(fields) = record.schema else { panic!("{:?}", record.schema) };
    for field in &fields.fields {
        let part = record.part(&field.schema).unwrap();
        let path = [path, &[field.name.as_str()]].concat();
        match part.schema {
            Schema::Record(_) => add_columns(part, &path, seed, columns),
            Schema::Union(union) if !union.variants().contains(&Schema::Null) => {
                columns.push((path.clone(), true, ColumnType::String));
            }
            _ => {}
        }
        columns.push((path, false, column(part, seed).parse().unwrap()));
    }
}

fn column(scoped: Scoped<'static>, seed: usize) -> String {
    let inner = |schema| column(scoped.part(schema).unwrap(), seed);
    match scoped.schema {
        Schema::Boolean => "Bool".into(),
        Schema::Int | Schema::Long => ["Int64", "UInt32", "Int8"][seed % 3].into(),
        Schema::TimestampMillis => ["DateTime64(3, 'UTC')", "Int64"][seed % 2].into(),
        Schema::Float => ["Float32", "Float64"][seed % 2].into(),
        Schema::Double => "Float64".into(),
        Schema::Bytes | Schema::String => "String".into(),
        Schema::Uuid(_) => "UUID".into(),
        Schema::Enum(symbols) if seed.is_multiple_of(2) => {
            let values =
                symbols.symbols.iter().zip(200..).map(|(symbol, number)| format!("'{symbol}' = {number}"));
            format!("Enum16({})", values.collect::<Vec<_>>().join(", "))
        }
        Schema::Enum(_) => "String".into(),
        Schema::Array(array) => format!("Array({})", inner(&array.items)),
        Schema::Map(map) => format!("Map(String, {})", inner(&map.types)),
        Schema::Union(union) => match union.variants() {
            [Schema::Null, schema] | [schema, Schema::Null] => format!("Nullable({})", inner(schema)),
            _ => "String".into(),
        },
        Schema::Record(record) => {
            let mut elements: Vec<_> = record
                .fields
                .iter()
                .map(|field| format!("{} {}", field.name, inner(&field.schema)))
                .collect();
            if !seed.is_multiple_of(2) {
                elements.reverse();
            }
            format!("Tuple({})", elements.join(", "))
        }
        other => panic!("{other:?}"),
    }
}

/// Values of a schema.
pub(crate) fn values(scoped: Scoped<'static>) -> BoxedStrategy<Value> {
    let inner = |schema| values(scoped.part(schema).unwrap());
    // Numbers that fit narrow columns, too.
    let long = || prop_oneof![-3..300_i64, any::<i64>()];
    match scoped.schema {
        Schema::Null => Just(Value::Null).boxed(),
        Schema::Boolean => any::<bool>().prop_map(Value::Boolean).boxed(),
        Schema::Int => prop_oneof![-3..300_i32, any::<i32>()].prop_map(Value::Int).boxed(),
        Schema::Long => long().prop_map(Value::Long).boxed(),
        Schema::TimestampMillis => long().prop_map(Value::TimestampMillis).boxed(),
        Schema::Float => any::<f32>().prop_map(Value::Float).boxed(),
        Schema::Double => any::<f64>().prop_map(Value::Double).boxed(),
        Schema::Bytes => vec(any::<u8>(), 0..200).prop_map(Value::Bytes).boxed(),
        Schema::String => any::<String>().prop_map(Value::String).boxed(),
        Schema::Uuid(_) => any::<u128>().prop_map(|id| Value::Uuid(Uuid::from_u128(id))).boxed(),
        Schema::Enum(symbols) => {
            let symbol = |index: usize| Value::Enum(index as u32, symbols.symbols[index].clone());
            (0..symbols.symbols.len()).prop_map(symbol).boxed()
        }
        Schema::Array(array) => vec(inner(&array.items), 0..4).prop_map(Value::Array).boxed(),
        Schema::Map(map) => vec((any::<String>(), inner(&map.types)), 0..4)
            .prop_map(|entries| Value::Map(HashMap::from_iter(entries)))
            .boxed(),
        Schema::Union(union) => {
            let branches = union.variants().iter().enumerate();
            let branch = |(index, schema)| {
                inner(schema).prop_map(move |value| Value::Union(index as u32, Box::new(value))).boxed()
            };
            proptest::strategy::Union::new(branches.map(branch)).boxed()
        }
        Schema::Record(record) => {
            let fields: Vec<_> =
                record.fields.iter().map(|field| (Just(field.name.clone()), inner(&field.schema))).collect();
            fields.prop_map(Value::Record).boxed()
        }
        other => panic!("{other:?}"),
    }
}

/// Two schemas with all that Avro resolves between: fields that come, go, and change places, wider numbers, symbols, unions.
static EVOLVED: [&str; 2] = [
    r#"{ "type": "record", "name": "R", "fields": [
        { "name": "gone", "type": { "type": "record", "name": "Gone", "fields": [
            { "name": "a", "type": "boolean" },
            { "name": "b", "type": { "type": "string", "logicalType": "uuid" } },
            { "name": "c", "type": { "type": "enum", "name": "G", "symbols": ["one"] } },
            { "name": "d", "type": { "type": "array", "items": ["null", "bytes"] } },
            { "name": "e", "type": "double" },
            { "name": "f", "type": { "type": "map", "values": ["null", "string"] } } ] } },
        { "name": "b", "type": "int" },
        { "name": "a", "type": "int" },
        { "name": "c", "type": "long" },
        { "name": "d", "type": "float" },
        { "name": "optional", "type": "string" },
        { "name": "turned", "type": ["string", "null"] },
        { "name": "symbol", "type": { "type": "enum", "name": "S", "symbols": ["x", "y", "z"] } },
        { "name": "inner", "type": { "type": "record", "name": "I", "fields": [
            { "name": "two", "type": "string" }, { "name": "one", "type": "int" } ] } },
        { "name": "many", "type": { "type": "array", "items": "I" } },
        { "name": "body", "type": ["I", { "type": "record", "name": "J", "fields": [
            { "name": "at", "type": { "type": "long", "logicalType": "timestamp-millis" } },
            { "name": "raw", "type": "bytes" },
            { "name": "symbol", "type": "S" },
            { "name": "share", "type": ["null", "double"] },
            { "name": "map", "type": { "type": "map", "values": "float" } } ] } ] }
    ] }"#,
    r#"{ "type": "record", "name": "R", "fields": [
        { "name": "a", "type": "long" },
        { "name": "b", "type": "double" },
        { "name": "new", "type": { "type": "array", "items": "string" }, "default": ["p", "q"] },
        { "name": "c", "type": "float" },
        { "name": "d", "type": "double" },
        { "name": "optional", "type": ["null", "string"] },
        { "name": "turned", "type": ["null", "string"] },
        { "name": "symbol", "type": { "type": "enum", "name": "S", "symbols": ["y", "x", "other"], "default": "other" } },
        { "name": "inner", "type": { "type": "record", "name": "I", "fields": [
            { "name": "one", "type": "long" },
            { "name": "late", "type": ["null", "int"], "default": null },
            { "name": "two", "type": "string" } ] } },
        { "name": "many", "type": { "type": "array", "items": "I" } },
        { "name": "whole", "type": { "type": "record", "name": "W", "fields": [
            { "name": "number", "type": "int" }, { "name": "symbol", "type": "S" } ] }, "default": { "number": 7, "symbol": "x" } },
        { "name": "body", "type": [{ "type": "record", "name": "J", "fields": [
            { "name": "map", "type": { "type": "map", "values": "float" } },
            { "name": "symbol", "type": "S" },
            { "name": "at", "type": { "type": "long", "logicalType": "timestamp-millis" } },
            { "name": "new", "type": "boolean", "default": true },
            { "name": "raw", "type": "bytes" },
            { "name": "share", "type": ["null", "double"] } ] }, "I"] }
    ] }"#,
];

/// Every schema with the newest of its subject, and those that have evolved more.
fn pairs(seed: usize) -> Vec<Pair> {
    let pinned = codec::schemas()
        .values()
        .map(|writer| (writer.schema, codec::newest(writer.subject).unwrap().schema));
    let [old, new] = EVOLVED.map(|text| leak(Schema::parse_str(text).unwrap()) as &'static Schema);
    pinned
        .chain([(old, new), (old, old), (new, new)])
        .map(|(writer, reader)| Pair::new(writer, reader, seed))
        .collect()
}

/// A pair, a value of its writer, and how long its blocks are.
fn written() -> impl Strategy<Value = (&'static Pair, Value, Option<usize>)> {
    let pairs: &'static [Pair] = leak((0..6).flat_map(pairs).collect::<Vec<_>>());
    (0..pairs.len()).prop_flat_map(move |place| {
        let pair = &pairs[place];
        let values = values(Scoped::new(pair.writer, names(pair.writer)));
        (Just(pair), values, proptest::option::of(1..40_usize))
    })
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:?} as {:?}", self.writer, self.columns)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn rows_are_those_of_the_generic_values((pair, value, block) in written()) {
        let datum = pair.datum(&value, block);
        let (row, expected) = (pair.row(&datum), pair.expected(&datum));
        prop_assert_eq!(row.as_ref().ok(), expected.as_ref().ok(), "{:?}, {:?}", row, expected);
        let mut whole = Datum::new(&datum);
        prop_assert_eq!(pair.program.skip(&mut whole), Ok(()));
        prop_assert_eq!(whole.left(), 0);
    }

    #[test]
    fn what_is_cut_short_is_an_error((pair, value, block) in written(), cut: Index) {
        let datum = pair.datum(&value, block);
        prop_assert!(pair.row(&datum[..cut.index(datum.len())]).is_err());
    }

    #[test]
    fn what_is_left_behind_is_an_error((pair, value, block) in written(), more in vec(any::<u8>(), 1..9)) {
        let datum = [pair.datum(&value, block), more].concat();
        prop_assert!(pair.row(&datum).is_err());
    }

    #[test]
    fn a_byte_that_flips_is_an_error_or_another_value(
        (pair, value, block) in written(), place: Index, bits in 1..=255_u8,
    ) {
        let mut datum = pair.datum(&value, block);
        let place = place.index(datum.len());
        datum[place] ^= bits;
        pair.agrees(&datum)?;
    }

    #[test]
    fn any_bytes_are_an_error_or_a_value((pair, ..) in written(), datum in vec(any::<u8>(), 0..200)) {
        pair.agrees(&datum)?;
    }

    /// Small bytes are lengths, counts and branches that exist: these go further.
    #[test]
    fn any_small_bytes_are_an_error_or_a_value((pair, ..) in written(), datum in vec(0..8_u8, 0..200)) {
        pair.agrees(&datum)?;
    }
}

fn unfit(writer: &str, reader: &str, path: &[&str], column: &str) -> Result<Program<Converter>, Unfit> {
    let [writer, reader] = [writer, reader].map(|text| {
        let schema = format!(r#"{{ "type": "record", "name": "R", "fields": [{text}] }}"#);
        leak(Schema::parse_str(&schema).unwrap())
    });
    let outputs = [output(path, false, leak(column.parse().unwrap()))];
    Program::new(Scoped::new(writer, names(writer)), Scoped::new(reader, names(reader)), &outputs)
}

#[test]
fn what_avro_does_not_resolve_is_known_before_the_first_record() {
    let long = r#"{ "name": "a", "type": "long" }"#;
    let int = r#"{ "name": "a", "type": "int" }"#;
    let optional = r#"{ "name": "a", "type": ["null", "long"] }"#;
    let late = r#"{ "name": "b", "type": "int" }"#;
    let refused = Err(Unfit::Output(0));
    assert!(unfit(int, long, &["a"], "Int64").is_ok());
    assert_eq!(unfit(long, int, &["a"], "Int64"), refused);
    assert!(unfit(long, optional, &["a"], "Nullable(Int64)").is_ok());
    assert_eq!(unfit(optional, long, &["a"], "Int64"), refused);
    assert_eq!(unfit(optional, long, &["a"], "Nullable(Int64)"), refused);
    assert_eq!(unfit(long, late, &["b"], "Int32"), refused); // no default
}

#[test]
fn schemas_that_are_not_read_are_known_before_the_first_record() {
    let field = r#"{ "name": "a", "type": "int" }"#;
    for other in [
        r#"{ "type": "array", "items": "null" }"#,
        r#"["null", "R"]"#,
        r#"{ "type": "bytes", "logicalType": "decimal", "precision": 4 }"#,
    ] {
        let fields = format!(r#"{field}, {{ "name": "b", "type": {other} }}"#);
        assert_eq!(unfit(&fields, field, &["a"], "Int32"), Err(Unfit::Schema), "{other}");
    }
}

/// What nobody takes is read all the same: a worker, which takes it, would not have folded the record.
#[test]
fn what_is_passed_over_follows_its_schema() {
    let field = r#"{ "name": "a", "type": "int" }"#;
    let read = |gone: &str, bytes: &[u8]| {
        let program =
            unfit(&format!(r#"{{ "name": "gone", "type": {gone} }}, {field}"#), field, &["a"], "Int8")
                .unwrap();
        let (datum, mut row) = ([bytes, &[2]].concat(), Vec::new());
        program.write(&mut Datum::new(&datum), &mut row).map(|()| row)
    };
    let symbols = r#"{ "type": "enum", "name": "E", "symbols": ["x"] }"#;
    let id = r#"{ "type": "string", "logicalType": "uuid" }"#;
    for (gone, good, bad) in [
        ("\"boolean\"", &[1][..], &[2][..]),
        ("\"int\"", &[0x80, 0x80, 0x80, 0x80, 8], &[0x80, 0x80, 0x80, 0x80, 0x10]),
        ("\"string\"", &[2, b'x'], &[2, 0xff]),
        ("\"bytes\"", &[2, 0xff], &[1, 0xff]),
        (symbols, &[0], &[2]),
        (id, b"\x4800000000-0000-0000-0000-000000000005", b"\x48x0000000-0000-0000-0000-000000000005"),
        (r#"["null", "int"]"#, &[0], &[4]),
        (r#"{ "type": "array", "items": "boolean" }"#, &[2, 1, 0], &[2, 2, 0]),
        (r#"{ "type": "map", "values": "null" }"#, &[2, 2, b'k', 0], &[2, 2, 0xff, 0]),
    ] {
        assert_eq!(read(gone, good), Ok(vec![1]), "{gone}");
        assert!(matches!(read(gone, bad), Err((_, Fault::Malformed(_)))), "{gone}");
    }
}
