use std::collections::HashMap;

use apache_avro::schema::ResolvedSchema;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;

use super::*;

fn converter(schema: &str, column: &str) -> Option<Converter> {
    let schema = Schema::parse_str(schema).unwrap();
    let names = ResolvedSchema::new(&schema).unwrap();
    let scoped = Scoped::new(&schema, names.get_names());
    Converter::column(scoped, scoped, &column.parse().unwrap())
}

fn bytes(schema: &str, column: &str, value: &Value) -> Result<Vec<u8>, Fault> {
    let parsed = Schema::parse_str(schema).unwrap();
    let datum =
        GenericDatumWriter::builder(&parsed).build().unwrap().write_value_to_vec(value.clone()).unwrap();
    read(schema, column, &datum)
}

/// What a datum becomes, of which nothing may be left.
fn read(schema: &str, column: &str, datum: &[u8]) -> Result<Vec<u8>, Fault> {
    let (mut row, mut datum) = (Vec::new(), Datum::new(datum));
    converter(schema, column).expect("a pair that fits").write(&mut datum, &mut row)?;
    assert_eq!(datum.left(), 0);
    Ok(row)
}

const TIME: &str = r#"{ "type": "long", "logicalType": "timestamp-millis" }"#;
const ID: &str = r#"{ "type": "string", "logicalType": "uuid" }"#;
const SEVERITY: &str = r#"{ "type": "enum", "name": "Severity", "symbols": ["low", "high"] }"#;
const PAIR: &str = r#"{ "type": "record", "name": "Pair", "fields": [
    { "name": "a", "type": "int" }, { "name": "b", "type": "string" } ] }"#;

#[test]
fn values_are_written_as_clickhouse_documents() {
    let text = Value::String("héllo".into());
    assert_eq!(bytes("\"string\"", "String", &text).unwrap(), b"\x06h\xc3\xa9llo");
    assert_eq!(bytes("\"string\"", "LowCardinality(String)", &text).unwrap(), b"\x06h\xc3\xa9llo");
    assert_eq!(bytes("\"bytes\"", "String", &Value::Bytes(vec![0, 255])).unwrap(), [2, 0, 255]);
    assert_eq!(bytes("\"boolean\"", "Bool", &Value::Boolean(true)).unwrap(), [1]);
    assert_eq!(bytes("\"boolean\"", "UInt8", &Value::Boolean(false)).unwrap(), [0]);
    assert_eq!(bytes("\"int\"", "Int32", &Value::Int(-2)).unwrap(), (-2_i32).to_le_bytes());
    assert_eq!(bytes("\"long\"", "UInt64", &Value::Long(i64::MAX)).unwrap(), i64::MAX.to_le_bytes());
    assert_eq!(
        bytes(TIME, "DateTime64(3, 'UTC')", &Value::TimestampMillis(-5)).unwrap(),
        (-5_i64).to_le_bytes()
    );
    for (time, shown) in [(i64::MIN, -62_167_219_200_000), (i64::MAX, 253_402_300_799_000_i64)] {
        assert_eq!(
            bytes(TIME, "DateTime64(3, 'UTC')", &Value::TimestampMillis(time)).unwrap(),
            shown.to_le_bytes()
        );
    }
    assert_eq!(bytes("\"double\"", "Float64", &Value::Double(1.5)).unwrap(), 1.5_f64.to_le_bytes());
    assert_eq!(bytes("\"float\"", "Float64", &Value::Float(1.5)).unwrap(), 1.5_f64.to_le_bytes());
    let uuid = Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
    let halves =
        [0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0, 0xff, 0xee, 0xdd, 0xcc, 0xbb, 0xaa, 0x99, 0x88];
    assert_eq!(bytes(ID, "UUID", &Value::Uuid(uuid)).unwrap(), halves);
    assert_eq!(bytes("\"string\"", "UUID", &Value::String(uuid.to_string())).unwrap(), halves);
}

#[test]
fn symbols_are_found_by_name() {
    let high = Value::Enum(1, "high".into());
    assert_eq!(bytes(SEVERITY, "LowCardinality(String)", &high).unwrap(), b"\x04high");
    assert_eq!(bytes(SEVERITY, "Enum8('high' = -7, 'low' = 3, 'other' = 4)", &high).unwrap(), [0xf9]);
    assert_eq!(bytes(SEVERITY, "Enum16('high' = 300, 'low' = 3)", &high).unwrap(), [0x2c, 1]);
    assert_eq!(converter(SEVERITY, "Enum8('high' = 1)"), None);
}

#[test]
fn null_has_a_byte_of_its_own() {
    let nullable = r#"["null", "string"]"#;
    let some = Value::Union(1, Box::new(Value::String("a".into())));
    let none = Value::Union(0, Box::new(Value::Null));
    for column in ["Nullable(String)", "LowCardinality(Nullable(String))"] {
        assert_eq!(bytes(nullable, column, &some).unwrap(), [0, 1, b'a']);
        assert_eq!(bytes(nullable, column, &none).unwrap(), [1]);
    }
    assert_eq!(bytes("\"string\"", "Nullable(String)", &Value::String("a".into())).unwrap(), [0, 1, b'a']);
    assert_eq!(converter(nullable, "String"), None);
    assert_eq!(converter(r#"["null", "string", "int"]"#, "Nullable(String)"), None);
}

#[test]
fn nested_values_are_written_in_the_order_of_the_column() {
    let pair = Value::Record(vec![("a".into(), Value::Int(1)), ("b".into(), Value::String("x".into()))]);
    assert_eq!(bytes(PAIR, "Tuple(b String, a Int16)", &pair).unwrap(), [1, b'x', 1, 0]);
    assert_eq!(converter(PAIR, "Tuple(a Int32, c String)"), None);
    let array = format!(r#"{{ "type": "array", "items": {PAIR} }}"#);
    let value = Value::Array(vec![pair.clone(), pair]);
    assert_eq!(bytes(&array, "Array(Tuple(a UInt8))", &value).unwrap(), [2, 1, 1]);
    let map = Value::Map(HashMap::from([("b".into(), Value::Int(2)), ("a".into(), Value::Int(1))]));
    let schema = r#"{ "type": "map", "values": "int" }"#;
    assert_eq!(
        bytes(schema, "Map(LowCardinality(String), Int8)", &map).unwrap(),
        [2, 1, b'a', 1, 1, b'b', 2]
    );
    assert_eq!(converter(schema, "Map(UInt8, Int8)"), None);
}

#[test]
fn pairs_that_do_not_fit_are_refused() {
    for (schema, column) in [
        ("\"string\"", "Int64"),
        ("\"string\"", "Enum8('a' = 1)"),
        ("\"long\"", "DateTime64(3)"), // not said to be milliseconds
        (TIME, "DateTime64(6)"),
        (TIME, "String"),
        ("\"double\"", "Float32"),
        ("\"boolean\"", "Int8"),
        (ID, "String"),
        ("\"null\"", "String"),
    ] {
        assert_eq!(converter(schema, column), None, "{schema} to {column}");
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    assert_eq!(
        bytes("\"long\"", "UInt64", &Value::Long(-1)),
        Err(ValueError::Range { value: -1, bytes: 8, signed: false }.into())
    );
    assert_eq!(
        bytes("\"string\"", "UUID", &Value::String("x".into())),
        Err(ValueError::NotUuid("x".into()).into())
    );
}

#[test]
fn bytes_that_do_not_follow_their_schema_are_errors() {
    let fault = |schema: &str, column: &str, datum: &[u8]| match read(schema, column, datum) {
        Err(Fault::Malformed(fault)) => fault,
        other => panic!("{schema} of {datum:?}: {other:?}"),
    };
    let array = r#"{ "type": "array", "items": "int" }"#;
    assert_eq!(fault("\"string\"", "String", &[]), Malformed::Truncated);
    assert_eq!(fault("\"string\"", "String", &[4, b'a']), Malformed::Length(2, 1));
    assert_eq!(fault("\"string\"", "String", &[1, b'a']), Malformed::Length(-1, 1));
    assert_eq!(fault("\"string\"", "String", &[2, 0xff]), Malformed::NotUtf8);
    assert_eq!(fault("\"boolean\"", "Bool", &[2]), Malformed::NotBoolean(2));
    assert_eq!(fault("\"int\"", "Int64", &[0x80, 0x80, 0x80, 0x80, 0x10]), Malformed::NotInt(1 << 31));
    assert_eq!(fault("\"long\"", "Int64", &[0xff; 10]), Malformed::Overlong);
    assert_eq!(fault("\"long\"", "Int64", &[0xff; 9]), Malformed::Truncated);
    assert_eq!(fault("\"double\"", "Float64", &[0; 7]), Malformed::Truncated);
    assert_eq!(fault(ID, "UUID", &[2, b'x']), Malformed::NotUuid);
    assert_eq!(fault(SEVERITY, "String", &[4]), Malformed::NoSuchIndex { index: 2, count: 2 });
    assert_eq!(fault(SEVERITY, "String", &[1]), Malformed::NoSuchIndex { index: -1, count: 2 });
    // As many items as a long can count, in two bytes.
    let most = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 0];
    assert_eq!(fault(array, "Array(Int32)", &most), Malformed::Length(i64::MAX, 2));
    assert_eq!(read(array, "Array(Int32)", &[1, 2, 2, 0]).unwrap(), [1, 1, 0, 0, 0]);
}

/// Avro's maps have no order, and nothing forbids a key to come twice.
#[test]
fn the_entries_of_a_map_are_sorted_and_the_last_of_a_key_counts() {
    let schema = r#"{ "type": "map", "values": "int" }"#;
    let blocks = [4, 2, b'b', 2, 2, b'a', 4, 2, 2, b'b', 6, 0];
    assert_eq!(read(schema, "Map(String, Int8)", &blocks).unwrap(), [2, 1, b'a', 2, 1, b'b', 3]);
}

/// No column of ours holds so many, but a length takes more bytes then.
#[test]
fn long_arrays_are_counted() {
    let values = Value::Array(vec![Value::Boolean(true); 300]);
    let row = bytes(r#"{ "type": "array", "items": "boolean" }"#, "Array(Bool)", &values).unwrap();
    assert_eq!((&row[..3], row.len()), (&[0xac, 2, 1][..], 302));
}
