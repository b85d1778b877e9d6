//! Derived rows as resources of the API: a topic's `resource:` in `topics/*.yaml`, compiled with the newest schema of its
//! subject. Routes, their description, select lists, filters, caches and streams follow from it ([`crate::read`]).
//!
//! All is checked here, once, at the start of whoever has use for it: what can't work is a [`ResourceError`] that names the
//! file.

mod error;
mod field;
mod filter;
mod record;
mod stored;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use apache_avro::Schema;
use apache_avro::schema::ResolvedSchema;
use uuid::Uuid;

pub use self::error::{FilterError, ResourceError};
pub use self::field::{Field, FieldType, RecordField};
pub use self::filter::{Filter, Operand, Test, ValueType};
use self::record::RecordPrograms;
pub use self::record::{Record, RecordError};
pub use self::stored::{StoredError, StoredRow, take, take_text};
use crate::codec;
use crate::codec::path::META;
use crate::engine::Millis;
use crate::log::declaration::ResourceDeclaration;
use crate::log::topics::{self, Topic};

/// What every row carries, before and behind its own fields.
const LEADING: [&str; 5] = ["id", "version", "operator", "operator_version", "settings_version"];
const TRAILING: [&str; 6] =
    ["first_arrival", "final", "evidence_count", "evidence_topic", "evidence_partition", "evidence_offsets"];
/// What the API itself has behind a resource, or in its place.
const RESERVED: [&str; 3] = ["evidence", "stream", "resources"];

static RESOURCES: LazyLock<Result<Vec<Resource>, ResourceError>> = LazyLock::new(|| compile(topics::all()));

/// A row as it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its JSON.
    pub json: Box<str>,
    /// Its id.
    pub id: Uuid,
    /// Its version.
    pub version: u64,
    /// The time that lists are sorted by.
    pub sort: Millis,
}

/// The rows of a topic, as the API answers them.
pub struct Resource {
    /// The topic.
    pub topic: &'static Topic,
    /// Its table.
    pub table: &'static str,
    /// The route of its list: `/v1/{path}`.
    pub route: String,
    /// What its file says.
    pub declaration: &'static ResourceDeclaration,
    /// The name of its schema: `Incident`.
    pub name: &'static str,
    /// What its schema says of it.
    pub doc: Option<&'static str>,
    /// The fields of an answer, in their order.
    pub fields: Vec<Field>,
    /// What lists can be asked for, in the order in which parameters are checked.
    pub filters: Vec<Filter>,
    /// The resources whose rows have lists of this one.
    pub parents: Vec<Parent>,
    programs: RecordPrograms,
}

/// A resource whose rows have lists of another.
pub struct Parent {
    /// Its path.
    pub resource: &'static str,
    /// The path of the list behind the other's id.
    pub path: &'static str,
    /// What leaves the rows that are in the list.
    pub filter: Filter,
}

/// Every resource, in the order of the topics' names.
///
/// # Errors
/// What the files declare does not fit together.
pub fn all() -> Result<&'static [Resource], &'static ResourceError> {
    RESOURCES.as_deref()
}

/// The resource of that path; `None` also where the declarations are not sound.
pub fn named(path: &str) -> Option<&'static Resource> {
    all().ok()?.iter().find(|resource| resource.path() == path)
}

impl Resource {
    /// The path of its list behind `/v1/`.
    pub fn path(&self) -> &'static str {
        &self.declaration.path
    }

    /// What one row is called.
    pub fn noun(&self) -> &'static str {
        &self.declaration.noun
    }

    /// The name of its topic.
    pub fn topic(&self) -> &'static str {
        &self.topic.name
    }

    /// The name of the rows in a list.
    pub fn member(&self) -> String {
        self.path().replace('-', "_")
    }

    /// The view that holds what its rows are now.
    pub fn view(&self) -> String {
        format!("{}_current", self.table)
    }

    /// The columns that its view has to have.
    pub fn needed(&self) -> impl Iterator<Item = &str> {
        let fields = self.fields.iter().map(|field| field.name.as_str());
        ["tenant", "id", "version", self.declaration.sort.as_str()].into_iter().chain(fields)
    }

    /// The filter of that parameter.
    pub fn filter(&self, name: &str) -> Option<&Filter> {
        self.filters.iter().find(|filter| filter.name == name)
    }

    /// A field of an answer.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

fn compile(topics: &'static [Topic]) -> Result<Vec<Resource>, ResourceError> {
    let declared = topics.iter().filter_map(|topic| Some((topic, topic.resource.as_ref()?)));
    let resources: Vec<Resource> =
        declared.map(|(topic, declaration)| Resource::new(topic, declaration)).collect::<Result<_, _>>()?;
    let mut paths = BTreeMap::new();
    for resource in &resources {
        let lists =
            resource.parents.iter().map(|parent| format!("{}/{{id}}/{}", parent.resource, parent.path));
        for path in std::iter::once(resource.path().to_owned()).chain(lists) {
            if let Some(other) = paths.insert(path.clone(), resource.topic) {
                let [file, other] = [resource.topic, other].map(error::file);
                return Err(ResourceError::Taken { file, other, path });
            }
        }
    }
    for resource in &resources {
        let is_missing = |parent: &&Parent| !resources.iter().any(|other| other.path() == parent.resource);
        if let Some(parent) = resource.parents.iter().find(is_missing) {
            let parent = parent.resource.to_owned();
            return Err(ResourceError::Parent { file: error::file(resource.topic), parent });
        }
    }
    Ok(resources)
}

impl Resource {
    fn new(topic: &'static Topic, declaration: &'static ResourceDeclaration) -> Result<Self, ResourceError> {
        let file = error::file(topic);
        let is_path = |path: &str| {
            !path.is_empty() && path.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        };
        let paths = [&declaration.path].into_iter().chain(declaration.of.iter().map(|parent| &parent.path));
        if let Some(path) = paths.into_iter().find(|path| !is_path(path) || RESERVED.contains(&path.as_str()))
        {
            return Err(ResourceError::Path { file, path: path.clone() });
        }
        let table = topic.table.as_deref().ok_or_else(|| ResourceError::NoTable { file: file.clone() })?;
        let no_schema = || ResourceError::NoSchema { file: file.clone() };
        let schema = topic.schema.as_deref().and_then(codec::newest).ok_or_else(no_schema)?;
        let Schema::Record(record) = schema.schema else { return Err(no_schema()) };
        let resolved = ResolvedSchema::new(schema.schema).map_err(|_| no_schema())?;
        let names = resolved.get_names();
        let field = |name: &str| Field::new(record, name, names, &file);
        let fields: Vec<Field> = match &declaration.fields {
            Some(fields) => fields.iter().map(|name| field(name)).collect::<Result<_, _>>()?,
            None => {
                let own = record.fields.iter().map(|field| field.name.as_str()).filter(|name| *name != META);
                LEADING.into_iter().chain(own).chain(TRAILING).map(field).collect::<Result<_, _>>()?
            }
        };
        let mut seen = BTreeSet::new();
        if let Some(twice) = fields.iter().find(|field| !seen.insert(&field.name)) {
            return Err(ResourceError::Repeated { file, field: twice.name.clone() });
        }
        let sort = field(&declaration.sort)?;
        if sort.r#type != FieldType::Time {
            return Err(ResourceError::Sort { file, field: sort.name });
        }
        let filters = filter::compile(&declaration.filters, &fields)
            .map_err(|(filter, source)| ResourceError::Filter { file: file.clone(), filter, source })?;
        let parent = |parent: &'static crate::log::declaration::ParentDeclaration| {
            let filter = Filter::of_parent(parent, &fields).map_err(|source| ResourceError::Filter {
                file: file.clone(),
                filter: format!("of {}", parent.resource),
                source,
            })?;
            Ok(Parent { resource: &parent.resource, path: &parent.path, filter })
        };
        let parents = declaration.of.iter().map(parent).collect::<Result<_, _>>()?;
        let programs = RecordPrograms::new(schema, &fields, &sort)
            .ok_or_else(|| ResourceError::Unresolved { file: file.clone(), subject: schema.subject })?;
        let (name, doc) = (record.name.name(), record.doc.as_deref());
        let route = format!("/v1/{}", declaration.path);
        Ok(Self { topic, table, route, declaration, name, doc, fields, filters, parents, programs })
    }
}

#[cfg(test)]
mod tests;
