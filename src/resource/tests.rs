//! What is declared is sound, what is not is known at start, and both ways to a row's JSON lead to the same.

use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use proptest::prelude::*;

use super::*;
use crate::codec::shape::Scoped;
use crate::sink::converter::rows_tests::values;
use crate::sink::row_binary::{write_bytes, write_length, write_uuid};

#[test]
fn every_resource_is_sound() {
    let resources = all().unwrap_or_else(|error| panic!("{error}"));
    let paths: Vec<_> = resources.iter().map(Resource::path).collect();
    assert!(paths.contains(&"incidents"), "{paths:?}");
    assert_eq!(named("sla-metrics").unwrap().member(), "sla_metrics");
}

/// The topics of incidents and signals, with something else in the file of the first.
fn with(from: &str, to: &str) -> Result<Vec<Resource>, ResourceError> {
    let text = include_str!("../../topics/incidents.yaml");
    assert!(text.contains(from), "{from}");
    let mut topics: Vec<Topic> =
        topics::all().iter().filter(|topic| topic.name == "signals").cloned().collect();
    topics.push(serde_saphyr::from_str(&text.replacen(from, to, 1)).unwrap());
    compile(Box::leak(topics.into_boxed_slice()))
}

#[test]
fn what_can_not_be_answered_is_known_at_start() {
    for (from, to, expected) in [
        (
            "field: subject,",
            "field: topic,",
            "filter subject: there is no field topic among those of an answer: id, version, ",
        ),
        ("field: attributes.route,", "field: title.route,", "filter route: title is no map of texts"),
        (
            "field: attributes.route,",
            "field: \"attributes.it's\",",
            "filter route: the name of the entry it's has other",
        ),
        (
            "field: subject,",
            "field: subject, operator: before,",
            "filter subject: the operator before does not fit the field subject: equals, listed would",
        ),
        (
            "field: subject,",
            "field: version, operator: at_least,",
            "filter subject: the operator at_least does not fit the field version: none does",
        ),
        ("field: severity,", "field: severity, minimum: 1,", "filter severity: only a number has a minimum"),
        (
            "field: attributes.rules, operator: listed",
            "field: severity",
            "filter rule: its second field is of another type",
        ),
        (
            "name: \"attribute.*\"",
            "name: attribute",
            "filter attribute: a name that ends in '.*' needs a field that does",
        ),
        ("name: subject", "name: family", "filter family: the name is another filter's, or the API's own"),
        ("name: subject", "name: cursor", "filter cursor: the name is another filter's, or the API's own"),
    ] {
        let error = with(from, to).err().unwrap().to_string();
        assert!(error.starts_with(&format!("topics/incidents.yaml: {expected}")), "{to}: {error}");
    }
    let file = || "topics/incidents.yaml".to_owned();
    for (from, to, expected) in [
        ("    - title", "    - titel", ResourceError::Field { file: file(), field: "titel".into() }),
        ("    - title", "    - rule", ResourceError::Repeated { file: file(), field: "rule".into() }),
        (
            "  stream: true",
            "  sort: ended_at",
            ResourceError::Sort { file: file(), field: "ended_at".into() },
        ),
        ("table: incidents\n", "", ResourceError::NoTable { file: file() }),
    ] {
        assert_eq!(with(from, to).err(), Some(expected), "{to}");
    }
    assert!(matches!(with("path: incidents", "path: signals"), Err(ResourceError::Taken { .. })));
    assert!(matches!(with("path: incidents", "path: stream"), Err(ResourceError::Path { .. })));
    assert!(matches!(with("path: incidents", "path: findings"), Err(ResourceError::Parent { .. })));
}

/// As ClickHouse would send it.
fn write(r#type: &FieldType, value: &Value, row: &mut Vec<u8>) {
    match (r#type, value) {
        (FieldType::Nullable(inner), Value::Union(_, value)) => match &**value {
            Value::Null => row.push(1),
            value => {
                row.push(0);
                write(inner, value, row);
            }
        },
        (_, Value::Boolean(value)) => row.push((*value).into()),
        (_, Value::Int(value)) => row.extend_from_slice(&i64::from(*value).to_le_bytes()),
        (_, Value::Long(value) | Value::TimestampMillis(value)) => {
            row.extend_from_slice(&value.to_le_bytes())
        }
        (_, Value::Float(value)) => row.extend_from_slice(&value.to_le_bytes()),
        (_, Value::Double(value)) => row.extend_from_slice(&value.to_le_bytes()),
        (_, Value::String(text) | Value::Enum(_, text)) => write_bytes(text.as_bytes(), row),
        (_, Value::Uuid(id)) => write_bytes(id.to_string().as_bytes(), row),
        (FieldType::Array(items), Value::Array(values)) => {
            write_length(values.len(), row);
            values.iter().for_each(|value| write(items, value, row));
        }
        (FieldType::Map(of), Value::Map(entries)) => {
            write_length(entries.len(), row);
            for (key, value) in entries {
                write_bytes(key.as_bytes(), row);
                write(of, value, row);
            }
        }
        (FieldType::Record(_, fields), Value::Record(values)) => {
            for (field, (_, value)) in fields.iter().zip(values) {
                write(&field.r#type, value, row);
            }
        }
        other => panic!("{other:?}"),
    }
}

fn at<'a>(value: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().fold(value, |value, name| {
        let Value::Record(fields) = value else { panic!("{name}") };
        &fields.iter().find(|(field, _)| field == name).unwrap().1
    })
}

/// A resource, and a row of its newest schema.
fn rows() -> impl Strategy<Value = (usize, Value)> {
    (0..all().unwrap().len()).prop_flat_map(|place| {
        let schema = codec::newest(all().unwrap()[place].topic.schema.as_deref().unwrap()).unwrap().schema;
        let resolved = Box::leak(Box::new(ResolvedSchema::new(schema).unwrap()));
        (Just(place), values(Scoped::new(schema, resolved.get_names())))
    })
}

proptest! {
    #[test]
    fn a_row_of_the_log_and_of_its_table_is_answered_alike((place, value) in rows()) {
        let resource = &all().unwrap()[place];
        let schema = codec::newest(resource.topic.schema.as_deref().unwrap()).unwrap();
        let writer = GenericDatumWriter::builder(schema.schema).build().unwrap();
        let datum = writer.write_value_to_vec(value.clone()).unwrap();
        let record = [&[0], schema.id.to_be_bytes().as_slice(), &datum].concat();
        let record = resource.record(Some(&record));

        let Value::Uuid(id) = at(&value, &["meta", "id"]) else { panic!() };
        let mut row = Vec::new();
        write_uuid(*id, &mut row);
        write(&FieldType::Integer, at(&value, &["meta", "version"]), &mut row);
        write(&FieldType::Time, at(&value, &["meta", "first_arrival"]), &mut row);
        for field in &resource.fields {
            write(&field.r#type, at(&value, &field.path), &mut row);
        }
        let (mut rest, mut json) = (&row[..], Vec::new());
        let stored = resource.stored(&mut rest, &mut json);
        if let Err(StoredError::Time(_)) = stored {
            // What one can't show the other can't, either.
            prop_assert!(matches!(record, Err(RecordError::NoJson(_))), "{:?}", record);
            return Ok(());
        }
        let (stored, record) = (stored.unwrap().unwrap(), record.unwrap());
        prop_assert!(rest.is_empty());
        prop_assert_eq!(&*record.row.json, str::from_utf8(&json).unwrap());
        prop_assert_eq!((stored.id, stored.sort), (record.row.id, record.row.sort));
        let parsed: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let names: Vec<_> = resource.fields.iter().map(|field| field.name.as_str()).collect();
        prop_assert!(names.iter().all(|name| parsed.get(name).is_some()));
        for end in 0..row.len().min(40) {
            prop_assert!(end == 0 || resource.stored(&mut &row[..end], &mut Vec::new()).is_err());
        }
    }
}
