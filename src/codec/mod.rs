//! Avro in the Confluent wire format: a zero byte, the schema's id (4 bytes, big endian), the datum.
//!
//! The schemas are pinned in `schemas/avro/`, one file a schema, its id first in the name:
//! `003-incidents.avsc` is schema 3, of the subject `incidents-value`. A schema never changes; a new
//! one of the same subject gets the next free id. What every row carries is included: `{ "include": "row-meta" }` stands for
//! the text of `include/row-meta.avsc`. Source of the format:
//! <https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format>.

pub mod datum;
pub mod decode;
pub mod encode;
pub(crate) mod json;
pub mod json_program;
pub mod path;
pub mod program;
pub mod resolve;
pub mod shape;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema::ResolvedSchema;
use apache_avro::types::Value;
use include_dir::{Dir, include_dir};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use self::datum::Datum;
use self::decode::{Decoder, Unfit};
use self::encode::Encoder;
use self::shape::{Scoped, Shape};

static FILES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/schemas/avro");

static REGISTRY: LazyLock<BTreeMap<u32, PinnedSchema>> = LazyLock::new(load);

/// What stands before the name of what is included.
const INCLUDE: &str = "{ \"include\": \"";

const MAGIC: u8 = 0;
const HEADER: usize = 5;

/// Why a value can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// There is no schema to write with.
    #[error("schemas/avro has no schema for {subject}")]
    NoSchema {
        /// What was to be written.
        subject: &'static str,
    },
    /// There is no value.
    #[error("the record has no value")]
    Missing,
    /// Not the Confluent wire format.
    #[error(
        "{length} bytes that do not begin with a zero byte and a schema id: not the Confluent wire format"
    )]
    NotFramed {
        /// Length of the value in bytes.
        length: usize,
    },
    /// The id is none of ours.
    #[error("schema id {id} is not known here; known are the files of schemas/avro")]
    UnknownSchema {
        /// The id in the value.
        id: u32,
    },
    /// The id is ours, but of another subject.
    #[error("schema id {id} is of the subject {found}, expected was {expected}")]
    WrongSubject {
        /// The id in the value.
        id: u32,
        /// The subject of that id.
        found: &'static str,
        /// The subject that the topic holds.
        expected: &'static str,
    },
    /// The datum does not follow its schema.
    #[error("the value does not follow schema {id}: {source}")]
    Avro {
        /// The schema's id.
        id: u32,
        /// What Avro says.
        source: Box<apache_avro::Error>,
    },
    /// The value is not of the schema's form.
    #[error("the value does not follow schema {id}: {message}")]
    Form {
        /// The schema's id.
        id: u32,
        /// What differs.
        message: String,
    },
    /// The datum does not follow its schema, as the reader of [`datum`] sees it.
    #[error("the value does not follow schema {id}: byte {at}: {source}")]
    Malformed {
        /// The schema's id.
        id: u32,
        /// How many bytes of the datum were read.
        at: usize,
        /// What is wrong.
        source: datum::Malformed,
    },
    /// There are bytes left behind the datum.
    #[error("{left} bytes are left behind the value of schema {id}")]
    Remainder {
        /// The schema's id.
        id: u32,
        /// How many bytes are left.
        left: usize,
    },
}

/// A schema of `schemas/avro`.
pub struct PinnedSchema {
    /// Its id on the wire.
    pub id: u32,
    /// What it is the schema of: the file's name without id and ending.
    pub subject: &'static str,
    /// The file's text, with what it includes.
    pub text: &'static str,
    /// The schema, parsed.
    pub schema: &'static Schema,
    shape: Shape,
    reader: GenericDatumReader<'static>,
}

impl PinnedSchema {
    fn parse(id: u32, subject: &'static str, text: &'static str) -> Result<Self, String> {
        let said = |error: apache_avro::Error| error.to_string();
        // Leaked once: readers and shapes borrow the schema for as long as the program runs.
        let schema: &'static Schema = Box::leak(Box::new(Schema::parse_str(text).map_err(said)?));
        let names = ResolvedSchema::new(schema).map_err(said)?;
        let shape = Shape::new(Scoped::new(schema, names.get_names()));
        let shape = shape.ok_or("it has a type that is not read here, or contains itself")?;
        // Human-readable: ids are strings on the wire, as stock clients expect them.
        let reader = GenericDatumReader::builder(schema).human_readable(true).build().map_err(said)?;
        Ok(Self { id, subject, text, schema, shape, reader })
    }

    /// A value, framed.
    pub fn encode<T: Serialize>(&self, value: &T) -> Result<Vec<u8>, CodecError> {
        let mut bytes = Vec::with_capacity(256);
        self.encode_into(value, &mut bytes)?;
        Ok(bytes)
    }

    /// Appends a value, framed.
    pub fn encode_into<T: Serialize>(&self, value: &T, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        bytes.push(MAGIC);
        bytes.extend_from_slice(&self.id.to_be_bytes());
        value.serialize(Encoder::new(&self.shape, bytes)).map_err(|unfit| self.unfit(0, unfit))
    }

    /// Reads a value.
    fn decode<'a, T: Deserialize<'a>>(&self, bytes: &'a [u8]) -> Result<T, CodecError> {
        let mut datum = Datum::new(bytes);
        let value = T::deserialize(Decoder::new(&self.shape, &mut datum));
        let value = value.map_err(|unfit| self.unfit(bytes.len() - datum.left(), unfit))?;
        // A torn or foreign value must not look whole.
        match datum.left() {
            0 => Ok(value),
            left => Err(CodecError::Remainder { id: self.id, left }),
        }
    }

    fn unfit(&self, at: usize, unfit: Unfit) -> CodecError {
        match unfit {
            Unfit::Malformed(source) => CodecError::Malformed { id: self.id, at, source },
            Unfit::Form(message) => CodecError::Form { id: self.id, message },
        }
    }
}

/// Every pinned schema, by id.
pub fn schemas() -> &'static BTreeMap<u32, PinnedSchema> {
    &REGISTRY
}

/// The newest schema of a subject: what writers use. `None` if `schemas/avro` has none.
pub fn newest(subject: &str) -> Option<&'static PinnedSchema> {
    REGISTRY.values().rev().find(|schema| schema.subject == subject)
}

/// Appends a value of `subject`, framed, by the newest of its schemas.
pub fn encode_newest<T: Serialize>(
    subject: &'static str,
    value: &T,
    bytes: &mut Vec<u8>,
) -> Result<(), CodecError> {
    newest(subject).ok_or(CodecError::NoSchema { subject })?.encode_into(value, bytes)
}

/// Reads a value of `subject`, written with any of its schemas. Fields that the writer did not know
/// take their default from `T`.
pub fn decode<T: DeserializeOwned>(subject: &'static str, bytes: Option<&[u8]>) -> Result<T, CodecError> {
    let (schema, datum) = unframe(bytes)?;
    if schema.subject != subject {
        return Err(CodecError::WrongSubject { id: schema.id, found: schema.subject, expected: subject });
    }
    schema.decode(datum)
}

/// Reads a value of any subject as Avro's own generic value, with its schema.
pub fn decode_generic(bytes: Option<&[u8]>) -> Result<(&'static PinnedSchema, Value), CodecError> {
    let (schema, mut datum) = unframe(bytes)?;
    let value = schema.reader.read_value(&mut datum);
    let value = value.map_err(|source| CodecError::Avro { id: schema.id, source: Box::new(source) })?;
    // Avro itself would pass over what is left.
    match datum.len() {
        0 => Ok((schema, value)),
        left => Err(CodecError::Remainder { id: schema.id, left }),
    }
}

/// Takes a value apart: its schema and its datum.
///
/// # Errors
/// It is not framed, or its schema is not known.
pub fn unframe(bytes: Option<&[u8]>) -> Result<(&'static PinnedSchema, &[u8]), CodecError> {
    let bytes = bytes.ok_or(CodecError::Missing)?;
    let Some((&[MAGIC, a, b, c, d], datum)) = bytes.split_first_chunk::<HEADER>() else {
        return Err(CodecError::NotFramed { length: bytes.len() });
    };
    let id = u32::from_be_bytes([a, b, c, d]);
    let schema = REGISTRY.get(&id).ok_or(CodecError::UnknownSchema { id })?;
    Ok((schema, datum))
}

/// The text of a schema with what it includes.
fn expanded(text: &'static str) -> Result<&'static str, String> {
    let Some((before, rest)) = text.split_once(INCLUDE) else { return Ok(text) };
    let (name, after) = rest.split_once("\" }").ok_or("an include has no end")?;
    let file = FILES.get_file(format!("include/{name}.avsc")).and_then(|file| file.contents_utf8());
    let included = file.ok_or_else(|| format!("there is no include/{name}.avsc"))?;
    // Leaked once, as the schema is.
    expanded(Box::leak([before, included.trim_end(), after].concat().into_boxed_str()))
}

/// The files are part of the program, so a fault in them is a fault of the build: it panics, and the
/// test `every_schema_loads` shows it.
fn load() -> BTreeMap<u32, PinnedSchema> {
    let mut schemas = BTreeMap::new();
    for file in FILES.files() {
        let name = file.path().to_str().unwrap_or_default();
        let (id, subject) = name
            .strip_suffix(".avsc")
            .and_then(|stem| stem.split_once('-'))
            .and_then(|(id, subject)| Some((id.parse::<u32>().ok()?, subject)))
            .unwrap_or_else(|| panic!("schemas/avro/{name}: expected a name like 007-subject.avsc"));
        let text = file.contents_utf8().unwrap_or_else(|| panic!("schemas/avro/{name}: not UTF-8"));
        let text = expanded(text).unwrap_or_else(|error| panic!("schemas/avro/{name}: {error}"));
        // Avro says only that it is no JSON; serde says at which line.
        let json = serde_json::from_str::<serde::de::IgnoredAny>(text);
        json.unwrap_or_else(|error| panic!("schemas/avro/{name}, with what it includes: {error}"));
        let schema = PinnedSchema::parse(id, subject, text)
            .unwrap_or_else(|error| panic!("schemas/avro/{name}: {error}"));
        if let Some(former) = schemas.insert(id, schema) {
            panic!("schemas/avro/{name}: the id {id} is that of the subject {}", former.subject);
        }
    }
    schemas
}

#[cfg(test)]
mod struct_tests;

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};
    use uuid::Uuid;

    use super::*;
    use crate::families::civic::event::{Body, CivicEvent, IssueStatus, IssueStatusChanged, ReportSubmitted};

    fn events() -> Vec<CivicEvent> {
        let event = |body| CivicEvent { tenant: "t".into(), event_id: "1".into(), occurred_at: 7, body };
        vec![
            event(Body::ReportSubmitted(ReportSubmitted {
                area: "a".into(),
                description: "d".into(),
                due_at: Some(9),
                department: None,
                address: Some("x".into()),
                latitude: Some(1.5),
                longitude: None,
                source: None,
            })),
            event(Body::IssueStatusChanged(IssueStatusChanged {
                issue_id: Uuid::from_u128(5),
                status: IssueStatus::Resolved,
            })),
        ]
    }

    #[test]
    fn every_schema_loads() {
        assert!(schemas().len() >= 4);
    }

    /// SHA-256 of each schema's JSON without its descriptions. Whoever has an id has the schema: a new one gets a new id.
    const DIGESTS: [(u32, &str); 19] = [
        (1, "0e3e61bdf75c0bdf1819c90eb452438b3bac876fc72116e41119ccdff11b66e4"),
        (2, "563cb6c552c8e920d5f4a66cb7e1af6c2d84681b4a529784892ff9e6c4ca276c"),
        (3, "ed6dcf916ffae9df3272318b67c0774510af854add63c1d8fdffe20707e7e647"),
        (4, "0adddba415602a8873dccfb7c4204c2bd573836cd19a1c96aefd0e230008b76d"),
        (5, "1a06b1a03a13ab8c5d036951784cee1a312a4a33547e9c80a8d46e9daceedc9f"),
        (6, "9ed5c19ac1130860fcf618fcba7314087733f7998a323112b40ab85b3619fd32"),
        (7, "f7f27916629a536fec4b2a5f04ec2ab51804f7e8149559176cd1bac797063886"),
        (8, "078b0509f12740deb7e9a31b03eedea44facc296cf97bee364b5857352a86712"),
        (9, "293a1ad3de160a9b8a3ae6781cf178e3cdfa4974d534b125af77b863d5df6cc4"),
        (10, "32a67d01402fa6b477fcd7fd75dba96feb111b45c3e3f725bd8f553721c8417c"),
        (11, "c37bb61f8cc6b0fd0a0d9d1e0e66a8f08411dab8962742c6929f6546e4cb6ecb"),
        (12, "149146131ac749c96d7860030ea0c94129e88b681d0cd27c8a6b5fabf7abc0ea"),
        (13, "09df7217b051f79fd93ba0af36b8ac2ac7ad60fd3133defc0709ad6a156863c1"),
        (14, "8258ea2af362a87cadc99a31d41ee87de40e600a7c6e16738ccc5b892b78d2fd"),
        (15, "e3380fdf591e37f5eb009588f2d53b805ea08573428fddfb7440ef64e23ca608"),
        (16, "4cdecfae0f154ee330b0401c393053c8a9679ebee053122260f854de2e246830"),
        (17, "3c4b9a77527d70a1cfdf1adf0eaa3f477f4b03f7ac7b04eb27839f19e41f8565"),
        (18, "efebf6eb66f7c5b86f0069106a3d51994405d3dd2244e91ab35c32761b54db2b"),
        (19, "24d32960c30a23a6838a6969570d18c2543522b436e176ece884f5d68625e726"),
    ];

    fn without_docs(value: serde_json::Value) -> serde_json::Value {
        use serde_json::Value;
        match value {
            Value::Object(members) => {
                let others = members.into_iter().filter(|(name, _)| name != "doc");
                // In the order of the names.
                let others: BTreeMap<_, _> =
                    others.map(|(name, value)| (name, without_docs(value))).collect();
                Value::Object(others.into_iter().collect())
            }
            Value::Array(items) => Value::Array(items.into_iter().map(without_docs).collect()),
            value => value,
        }
    }

    #[test]
    fn no_schema_has_changed() {
        let pinned = BTreeMap::from(DIGESTS);
        for (id, schema) in schemas() {
            let json = without_docs(serde_json::from_str(schema.text).unwrap()).to_string();
            let digest: String = Sha256::digest(json).iter().map(|byte| format!("{byte:02x}")).collect();
            let found = pinned.get(id).copied();
            assert_eq!(found, Some(digest.as_str()), "schema {id}; a new one is added to DIGESTS");
        }
        assert_eq!(pinned.len(), schemas().len());
    }

    #[test]
    fn what_is_not_there_is_not_included() {
        assert!(expanded("{ \"include\": \"nothing\" }").unwrap_err().contains("include/nothing.avsc"));
        assert!(expanded("{ \"include\": \"row-meta").unwrap_err().contains("no end"));
    }

    #[test]
    fn what_is_written_is_read() {
        let schema = newest("civic").unwrap();
        for event in events() {
            let bytes = schema.encode(&event).unwrap();
            assert_eq!(&bytes[..5], &[0, 0, 0, 0, 1]);
            assert_eq!(decode::<CivicEvent>("civic", Some(&bytes)).unwrap(), event);
            decode_generic(Some(&bytes)).unwrap();
        }
    }

    #[test]
    fn bad_values_are_refused() {
        let bytes = newest("civic").unwrap().encode(&events()[0]).unwrap();
        let decode = |bytes: &[u8]| decode::<CivicEvent>("civic", Some(bytes)).unwrap_err();
        for end in 0..bytes.len() {
            decode(&bytes[..end]);
        }
        let surplus = [bytes.as_slice(), &[0]].concat();
        assert!(matches!(decode(&surplus), CodecError::Remainder { left: 1, .. }));
        assert!(matches!(decode(b"{\"a\":1}"), CodecError::NotFramed { length: 7 }));
        assert!(matches!(decode(&[0, 0, 0, 9, 9]), CodecError::UnknownSchema { id: 0x909 }));
        assert!(matches!(decode(&[0, 0, 0, 0, 3]), CodecError::WrongSubject { .. }));
        assert!(matches!(super::decode::<CivicEvent>("civic", None).unwrap_err(), CodecError::Missing));
    }
}
