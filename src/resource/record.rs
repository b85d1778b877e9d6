//! A row as it lies on its topic, to the JSON that answers it: from bytes to bytes, compiled for each schema of the subject.

use apache_avro::schema::ResolvedSchema;
use serde::Deserialize;
use uuid::Uuid;

use super::{Field, Resource, Row};
use crate::codec;
use crate::codec::datum::{Datum, Malformed};
use crate::codec::json_program::{JsonFault, Member, MemberForm, Times};
use crate::codec::program::{Output, Program};
use crate::codec::shape::Scoped;
use crate::codec::{CodecError, PinnedSchema};
use crate::engine::Millis;

/// A record of a resource's topic: a version of a row.
#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    /// The row.
    pub row: Row,
    /// The tenant that it belongs to.
    pub tenant: String,
    /// It no longer holds.
    pub retracted: bool,
    /// Of a retracted row: the one that has absorbed it.
    pub merged_into: Option<Uuid>,
}

/// Why a record is no row.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It can't be decoded.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A value has no JSON, or not that of a row.
    #[error("a value can't be written as JSON: {0}")]
    NoJson(String),
}

/// What a record says of itself, in front of the row.
#[derive(Deserialize)]
struct Head {
    id: Uuid,
    version: i64,
    tenant: String,
    retracted: bool,
    merged_into: Option<Uuid>,
    sort: Millis,
}

/// A program for each schema of a subject: the JSON of a [`Head`], and then that of the row.
pub(super) struct RecordPrograms {
    schema: &'static PinnedSchema,
    programs: Vec<(u32, Program<Member>)>,
}

impl RecordPrograms {
    pub(super) fn new(schema: &'static PinnedSchema, fields: &[Field], sort: &Field) -> Option<Self> {
        let resolved = ResolvedSchema::new(schema.schema).ok()?;
        let reader = Scoped::new(schema.schema, resolved.get_names());
        let mut outputs = Vec::new();
        for (place, name) in ["id", "version", "tenant", "retracted", "merged_into"].into_iter().enumerate() {
            let before = format!("{}\"{name}\":", if place == 0 { '{' } else { ',' });
            outputs.push(Output {
                path: vec!["meta", name],
                form: MemberForm { before, ..MemberForm::default() },
            });
        }
        let form = MemberForm { before: ",\"sort\":".to_owned(), after: "}", times: Times::Millis };
        outputs.push(Output { path: sort.path.clone(), form });
        for (place, field) in fields.iter().enumerate() {
            let (is_last, quote) = (place + 1 == fields.len(), if field.is_version() { "\"" } else { "" });
            let before = format!("{}\"{}\":{quote}", if place == 0 { '{' } else { ',' }, field.name);
            let after = match (is_last, quote) {
                (true, "") => "}",
                (true, _) => "\"}",
                (false, quote) => quote,
            };
            outputs.push(Output {
                path: field.path.clone(),
                form: MemberForm { before, after, times: Times::Calendar },
            });
        }
        let mut programs = Vec::new();
        for writer in codec::schemas().values().rev().filter(|writer| writer.subject == schema.subject) {
            let resolved = ResolvedSchema::new(writer.schema).ok()?;
            let writer_schema = Scoped::new(writer.schema, resolved.get_names());
            programs.push((writer.id, Program::new(writer_schema, reader, &outputs).ok()?));
        }
        Some(Self { schema, programs })
    }

    fn text(&self, value: Option<&[u8]>) -> Result<Vec<u8>, RecordError> {
        let (written, bytes) = codec::unframe(value)?;
        let id = written.id;
        let Some((_, program)) = self.programs.iter().find(|(known, _)| *known == id) else {
            let (found, expected) = (written.subject, self.schema.subject);
            return Err(CodecError::WrongSubject { id, found, expected }.into());
        };
        let (mut datum, mut text) = (Datum::new(bytes), Vec::with_capacity(1024));
        let malformed =
            |left: usize, source: Malformed| CodecError::Malformed { id, at: bytes.len() - left, source };
        match program.write(&mut datum, &mut text) {
            Ok(()) => {}
            Err((_, JsonFault::Malformed(source))) => return Err(malformed(datum.left(), source).into()),
            Err((_, JsonFault::NoJson(why))) => return Err(RecordError::NoJson(why)),
        }
        match datum.left() {
            0 => Ok(text),
            left => Err(CodecError::Remainder { id, left }.into()),
        }
    }
}

impl Resource {
    /// The version of a row that a record of the topic is.
    ///
    /// # Errors
    /// It is none.
    pub fn record(&self, value: Option<&[u8]>) -> Result<Record, RecordError> {
        let mut text = self.programs.text(value)?;
        let no_json = |error: serde_json::Error| RecordError::NoJson(error.to_string());
        let mut parts = serde_json::Deserializer::from_slice(&text).into_iter::<Head>();
        let head =
            parts.next().ok_or_else(|| RecordError::NoJson("it is empty".to_owned()))?.map_err(no_json)?;
        let end = parts.byte_offset();
        text.drain(..end);
        let json = String::from_utf8(text).map_err(|error| RecordError::NoJson(error.to_string()))?;
        let Head { id, version, tenant, retracted, merged_into, sort } = head;
        // Versions are never negative.
        let row = Row { json: json.into(), id, version: version.unsigned_abs(), sort };
        Ok(Record { row, tenant, retracted, merged_into })
    }
}
