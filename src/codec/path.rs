//! What columns, and the fields of answers, are named after.
//!
//! **A name is the path of a field, its names joined by `_`, and the record `meta` may be left out:** `area` is the field
//! `area`, `evidence_first` is `first` in `evidence`, and since no record has a field `evidence` of its own, it is that of
//! `meta`. A field of the record itself wins over one of `meta`, and a whole name over a path.

use apache_avro::Schema;
use apache_avro::schema::{NamesRef, RecordSchema};

/// The record that every derived row has: its name, version and provenance.
pub const META: &str = "meta";

/// The way to a field through the records around it.
#[derive(Debug, Clone)]
pub struct FieldPath<'a> {
    /// The position of a field in each record on the way: by that fields are in the order of the schema.
    pub positions: Vec<usize>,
    /// The same by names.
    pub names: Vec<&'a str>,
    /// Its type; may be a reference.
    pub schema: &'a Schema,
    /// What the schema says of it.
    pub doc: Option<&'a str>,
}

/// The field of that name; `None` where there is none.
pub fn find<'a>(record: &'a RecordSchema, name: &str, names: &NamesRef<'a>) -> Option<FieldPath<'a>> {
    let inside = |position: usize, rest: &str| {
        let field = &record.fields[position];
        let Schema::Record(inner) = referenced(&field.schema, names)? else { return None };
        let mut found = find(inner, rest, names)?;
        found.positions.insert(0, position);
        found.names.insert(0, &field.name);
        Some(found)
    };
    if let Some(position) = record.lookup.get(name) {
        let field = &record.fields[*position];
        let (positions, names) = (vec![*position], vec![field.name.as_str()]);
        return Some(FieldPath { positions, names, schema: &field.schema, doc: field.doc.as_deref() });
    }
    let below = record.fields.iter().enumerate().find_map(|(position, field)| {
        inside(position, name.strip_prefix(field.name.as_str())?.strip_prefix('_')?)
    });
    below.or_else(|| inside(*record.lookup.get(META)?, name))
}

/// The schema that a reference names, or the schema itself.
pub fn referenced<'a>(schema: &'a Schema, names: &NamesRef<'a>) -> Option<&'a Schema> {
    match schema {
        Schema::Ref { name } => names.get(name).copied(),
        schema => Some(schema),
    }
}
