use std::collections::BTreeMap;

use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use rdkafka::Timestamp;
use rdkafka::message::OwnedMessage;
use uuid::Uuid;

use super::*;
use crate::engine::rows::{Evidence, RowMeta};
use crate::families::civic::event::{Body, CivicEvent, IssueStatus, IssueStatusChanged};
use crate::families::incident::{Incident, Severity};

fn columns(columns: &[(&str, &str, &str)]) -> Vec<TableColumn> {
    let column = |(name, column_type, default): &(&str, &str, &str)| TableColumn {
        name: name.to_string(),
        r#type: column_type.to_string(),
        default_kind: default.to_string(),
    };
    columns.iter().map(column).collect()
}

fn plan(table: &[(&str, &str, &str)]) -> Result<Plan, PlanError> {
    Plan::new(codec::newest("incidents").unwrap(), "t", &columns(table))
}

fn incident() -> Incident {
    let evidence = Evidence { count: 1, topic: "civic".into(), partition: 2, offsets: vec![3] };
    Incident {
        meta: RowMeta {
            id: Uuid::from_u128(1),
            version: 258,
            retracted: true,
            is_final: true,
            merged_into: None,
            tenant: "t".into(),
            key: "t/a".into(),
            operator: "o".into(),
            operator_version: 1,
            settings_version: -1,
            first_arrival: 7,
            evidence,
        },
        family: "civic".into(),
        rule: "sla_breach".into(),
        severity: Severity::High,
        subject: "s".into(),
        title: "T".into(),
        started_at: 5,
        ended_at: None,
        attributes: BTreeMap::new(),
    }
}

/// A record at `t/2/300`, appended at 7.
fn record(value: Option<Vec<u8>>) -> OwnedMessage {
    OwnedMessage::new(value, Some(b"t/a".to_vec()), "t".into(), Timestamp::LogAppendTime(7), 2, 300, None)
}

fn row(plan: &Plan, incident: &Incident) -> Result<Vec<u8>, RowError> {
    let mut rows = b"before".to_vec();
    let value = codec::newest("incidents").unwrap().encode(incident).unwrap();
    let written = plan.write(&record(Some(value)), &mut rows);
    assert!(rows.starts_with(b"before"));
    assert!(written.is_ok() || rows == b"before");
    written.map(|()| rows[6..].to_vec())
}

#[test]
fn columns_find_their_fields() {
    // In the order of the schema, whatever the table's is.
    let plan = plan(&[
        ("rule", "LowCardinality(String)", ""),
        ("version", "UInt16", ""),
        ("retracted", "UInt8", ""),
        ("meta_key", "String", ""),
        ("evidence_count", "UInt8", ""),
        ("evidence_partition", "UInt8", ""),
        ("meta_evidence_offsets", "Array(UInt8)", ""),
        ("ended_at", "Nullable(DateTime64(3, 'UTC'))", ""),
        ("inserted_at", "DateTime64(3, 'UTC')", "DEFAULT"),
        ("month", "UInt32", "MATERIALIZED"),
    ])
    .unwrap();
    assert_eq!(
        plan.insert(),
        "INSERT INTO `t` (`version`, `retracted`, `meta_key`, `evidence_count`, `evidence_partition`, \
         `meta_evidence_offsets`, `rule`, `ended_at`) FORMAT RowBinary"
    );
    assert_eq!(row(&plan, &incident()).unwrap(), b"\x02\x01\x01\x03t/a\x01\x02\x01\x03\x0asla_breach\x01");
}

#[test]
fn what_can_not_fit_is_known_at_start() {
    let error = |table: &[(&str, &str, &str)]| plan(table).err().expect("a plan that fails").to_string();
    assert!(error(&[]).contains("table t does not exist"));
    let missing = error(&[("colour", "String", "")]);
    assert!(missing.contains("table t: column colour String has no field"), "{missing}");
    let mismatch = error(&[("started_at", "UUID", "")]);
    assert!(mismatch.contains("table t: column started_at UUID can't hold"), "{mismatch}");
    assert!(mismatch.contains("timestamp-millis"), "{mismatch}");
    assert!(error(&[("title", "JSON", "")]).contains("column title: the type JSON"));
}

/// A column that a migration forgot, or that somebody dropped.
#[test]
fn what_is_answered_has_a_column() {
    let incidents = crate::resource::named("incidents").unwrap();
    let error =
        plan(&[("id", "UUID", ""), ("tenant", "String", "")]).unwrap().answers(incidents).unwrap_err();
    assert_eq!(error.to_string(), "table t: there is no column version, which /v1/incidents answers");
}

#[test]
fn a_value_out_of_range_leaves_no_trace() {
    let plan = plan(&[("rule", "String", ""), ("settings_version", "UInt64", "")]).unwrap();
    let error = row(&plan, &incident()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "column settings_version: -1 is out of the range of an integer of 8 bytes, signed: false"
    );
}

#[test]
fn values_of_other_subjects_are_refused() {
    let other =
        Plan::new(codec::newest("sla-metrics").unwrap(), "t", &columns(&[("area", "String", "")])).unwrap();
    let error = row(&other, &incident()).unwrap_err();
    assert!(matches!(error, RowError::Codec(CodecError::WrongSubject { .. })), "{error}");
    assert!(matches!(other.write(&record(None), &mut vec![]), Err(RowError::Codec(CodecError::Missing))));
}

/// What was written before a field was added has the field's default.
#[test]
fn values_of_an_older_schema_are_read_as_the_newest() {
    let plan = plan(&[("rule", "String", ""), ("final", "UInt8", ""), ("merged_into", "Nullable(UUID)", "")])
        .unwrap();
    assert_eq!(row(&plan, &incident()).unwrap(), b"\x01\x01\x0asla_breach");
    let new = codec::newest("incidents").unwrap().encode(&incident()).unwrap();
    let (_, value) = codec::decode_generic(Some(&new)).unwrap();
    let Value::Record(mut fields) = value else { panic!("{value:?}") };
    let Value::Record(meta) = &mut fields[0].1 else { panic!("{fields:?}") };
    meta.retain(|(name, _)| name != "final" && name != "merged_into");
    let Some((_, Value::Record(evidence))) = meta.iter_mut().find(|(name, _)| name == "evidence") else {
        panic!("{meta:?}")
    };
    evidence.truncate(1);
    evidence.extend(["first", "last"].map(|name| (name.to_owned(), Value::Array(Vec::new()))));
    let old = codec::schemas().get(&3).unwrap();
    let mut bytes = vec![0, 0, 0, 0, 3];
    let writer = GenericDatumWriter::builder(old.schema).human_readable(true).build().unwrap();
    writer.write_value(&mut bytes, Value::Record(fields)).unwrap();
    let mut rows = Vec::new();
    plan.write(&record(Some(bytes)), &mut rows).unwrap();
    assert_eq!(rows, b"\x00\x01\x0asla_breach");
}

#[test]
fn a_record_has_columns_of_its_own_and_a_union_has_two() {
    let table = [
        ("log_partition", "UInt8", ""),
        ("log_offset", "UInt16", ""),
        ("log_append_time", "DateTime64(3, 'UTC')", ""),
        ("log_key", "Nullable(String)", ""),
        ("event_id", "String", ""),
        ("body_kind", "LowCardinality(String)", ""),
        ("body", "String", ""),
    ];
    let plan = Plan::new(codec::newest("civic").unwrap(), "t", &columns(&table)).unwrap();
    let body = Body::IssueStatusChanged(IssueStatusChanged {
        issue_id: Uuid::from_u128(5),
        status: IssueStatus::InProgress,
    });
    let event = CivicEvent { tenant: "t".into(), event_id: "e".into(), occurred_at: 3, body };
    let value = codec::newest("civic").unwrap().encode(&event).unwrap();
    let mut row = Vec::new();
    plan.write(&record(Some(value)), &mut row).unwrap();
    let mut expected = b"\x02\x2c\x01\x07\0\0\0\0\0\0\0\0\x03t/a\x01e\x12IssueStatusChanged".to_vec();
    let json = br#"{"issue_id":"00000000-0000-0000-0000-000000000005","status":"in_progress"}"#;
    expected.push(json.len() as u8);
    expected.extend_from_slice(json);
    assert_eq!(row, expected);

    let error = |column| {
        let columns = columns(&[column]);
        Plan::new(codec::newest("civic").unwrap(), "t", &columns)
            .err()
            .expect("a plan that fails")
            .to_string()
    };
    // A key may be missing, and only a union of records has kinds.
    assert!(error(("log_key", "String", "")).contains("log_key String can't hold"));
    assert!(error(("tenant_kind", "String", "")).contains("tenant_kind String can't hold"));
    assert!(error(("body", "UUID", "")).contains("body UUID can't hold"));
}

/// What is a record's own goes before a field of that name: none may have it.
#[test]
fn no_field_is_named_like_a_part_of_the_record() {
    for schema in codec::schemas().values() {
        let Schema::Record(record) = schema.schema else { panic!("{} is no record", schema.subject) };
        assert!(
            record.fields.iter().all(|field| RecordPart::named(&field.name).is_none()),
            "{}",
            schema.subject
        );
    }
}
