//! Under what rows are counted: the fields that `facets` of a topic's file names, read from a row as it serialises itself.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::LazyLock;

use serde::ser::{Error, Impossible, Serialize, SerializeMap, SerializeStruct, Serializer};

use crate::log::topics::{self, FacetDeclaration};

/// Under what a row is counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facets {
    /// The rule, or what else it is about.
    pub rule: String,
    /// How grave it is, where it says so.
    pub severity: Option<String>,
    /// The area that it is counted under.
    pub area: Option<String>,
    /// Of what can be met: whether it was.
    pub is_met: Option<bool>,
}

static DECLARED: LazyLock<BTreeMap<&'static str, &'static FacetDeclaration>> = LazyLock::new(|| {
    let declared =
        topics::all().iter().filter_map(|topic| Some((topic.name.as_str(), topic.facets.as_ref()?)));
    declared.collect()
});

impl Facets {
    /// Those of a row of that topic. One whose file names none is counted under the topic's name.
    pub fn of<R: Serialize>(topic: &str, row: &R) -> Self {
        let Some(declared) = DECLARED.get(topic) else {
            return Self { rule: topic.to_owned(), ..Self::default() };
        };
        let text = |path: &String| pick(row, path).map(Picked::into_text);
        Self {
            rule: filled(&declared.rule, row),
            severity: declared.severity.as_ref().and_then(text),
            area: declared.area.iter().find_map(text),
            is_met: declared.met.as_ref().and_then(|path| match pick(row, path) {
                Some(Picked::Boolean(is_met)) => Some(is_met),
                _ => None,
            }),
        }
    }
}

/// A template with the row's fields in the place of their names in braces.
fn filled<R: Serialize>(template: &str, row: &R) -> String {
    let mut parts = template.split('{');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (path, rest) = part.split_once('}').unwrap_or((part, ""));
        text += &pick(row, path).map(Picked::into_text).unwrap_or_default();
        text += rest;
    }
    text
}

/// A value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Picked {
    Text(String),
    Boolean(bool),
}

impl Picked {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Boolean(value) => value.to_string(),
        }
    }
}

/// The value at a path, names with dots between; `None` where there is none.
fn pick<R: Serialize + ?Sized>(row: &R, path: &str) -> Option<Picked> {
    row.serialize(Picker { path: Some(path) }).ok().flatten()
}

/// Takes what lies at a path; without one, the value itself.
#[derive(Clone, Copy)]
struct Picker<'a> {
    path: Option<&'a str>,
}

/// There is nothing to take: it lies elsewhere, or is neither a text, a number nor a truth value.
#[derive(Debug, thiserror::Error)]
#[error("not a value")]
struct Nothing;

impl Error for Nothing {
    fn custom<T: Display>(_: T) -> Self {
        Self
    }
}

type Taken = Result<Option<Picked>, Nothing>;

impl Picker<'_> {
    fn take(self, picked: impl FnOnce() -> Picked) -> Taken {
        Ok(self.path.is_none().then(picked))
    }
}

macro_rules! numbers {
    ($($method:ident $number:ty),+) => {
        $(fn $method(self, value: $number) -> Taken {
            self.take(|| Picked::Text(value.to_string()))
        })+
    };
}

impl<'a> Serializer for Picker<'a> {
    type Ok = Option<Picked>;
    type Error = Nothing;
    type SerializeSeq = Impossible<Option<Picked>, Nothing>;
    type SerializeTuple = Impossible<Option<Picked>, Nothing>;
    type SerializeTupleStruct = Impossible<Option<Picked>, Nothing>;
    type SerializeTupleVariant = Impossible<Option<Picked>, Nothing>;
    type SerializeMap = Within<'a>;
    type SerializeStruct = Within<'a>;
    type SerializeStructVariant = Impossible<Option<Picked>, Nothing>;

    numbers!(
        serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64, serialize_u8 u8, serialize_u16 u16,
        serialize_u32 u32, serialize_u64 u64, serialize_f32 f32, serialize_f64 f64, serialize_char char
    );

    fn serialize_bool(self, value: bool) -> Taken {
        self.take(|| Picked::Boolean(value))
    }

    fn serialize_str(self, value: &str) -> Taken {
        self.take(|| Picked::Text(value.to_owned()))
    }

    fn serialize_bytes(self, _: &[u8]) -> Taken {
        Err(Nothing)
    }

    fn serialize_none(self) -> Taken {
        Ok(None)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Taken {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Taken {
        Ok(None)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Taken {
        Ok(None)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Taken {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Taken {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Taken {
        Err(Nothing)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, Nothing> {
        Err(Nothing)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Nothing> {
        Err(Nothing)
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, Nothing> {
        Err(Nothing)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Nothing> {
        Err(Nothing)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Within<'a>, Nothing> {
        let path = self.path.ok_or(Nothing)?;
        let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
        Ok(Within { name, rest, is_next: false, found: None })
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Within<'a>, Nothing> {
        self.serialize_map(None)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Nothing> {
        Err(Nothing)
    }
}

/// Looks for a name among those of a struct or map.
struct Within<'a> {
    name: &'a str,
    rest: Option<&'a str>,
    /// Of a map: the value that comes next is the one.
    is_next: bool,
    found: Option<Picked>,
}

impl SerializeStruct for Within<'_> {
    type Ok = Option<Picked>;
    type Error = Nothing;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Nothing> {
        if name == self.name {
            self.found = value.serialize(Picker { path: self.rest })?;
        }
        Ok(())
    }

    fn end(self) -> Taken {
        Ok(self.found)
    }
}

impl SerializeMap for Within<'_> {
    type Ok = Option<Picked>;
    type Error = Nothing;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Nothing> {
        let key = key.serialize(Picker { path: None })?;
        self.is_next = matches!(key, Some(Picked::Text(key)) if key == self.name);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Nothing> {
        if self.is_next {
            self.found = value.serialize(Picker { path: self.rest })?;
        }
        Ok(())
    }

    fn end(self) -> Taken {
        Ok(self.found)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_leads_to_a_value_or_to_nothing() {
        let row = json!({"rule": "x", "met": true, "count": 3, "attributes": {"area": "a"}, "list": [1], "none": null});
        for (path, expected) in [
            ("rule", Some("x")),
            ("met", Some("true")),
            ("count", Some("3")),
            ("attributes.area", Some("a")),
            ("attributes.route", None),
            ("attributes", None),
            ("rule.deeper", None),
            ("list", None),
            ("none", None),
            ("other", None),
        ] {
            assert_eq!(pick(&row, path).map(Picked::into_text).as_deref(), expected, "{path}");
        }
        assert_eq!(filled("signals, {rule} of {attributes.area}", &row), "signals, x of a");
    }

    /// A facet that names no field would count everything as one.
    #[test]
    fn facets_name_fields_of_their_topics() {
        use apache_avro::Schema;
        let mut count = 0;
        for topic in topics::all() {
            let (Some(facets), Some(schema)) = (&topic.facets, &topic.schema) else { continue };
            let Some(Schema::Record(record)) = crate::codec::newest(schema).map(|pinned| pinned.schema)
            else {
                panic!("{}", topic.name)
            };
            let named = facets.rule.split('{').skip(1).filter_map(|part| part.split('}').next());
            let others = facets.severity.iter().chain(&facets.area).chain(&facets.met).map(String::as_str);
            for path in named.chain(others) {
                let mut parts = path.split('.');
                let place = record.lookup.get(parts.next().unwrap_or_default());
                let place = place.unwrap_or_else(|| panic!("{}: facets name {path}", topic.name));
                let schema = &record.fields[*place].schema;
                // Behind a field there are the entries of a map; what it is met by is true or not.
                let is_map = matches!(schema, Schema::Map(_));
                assert_eq!(parts.next().is_some(), is_map, "{}: facets name {path}", topic.name);
                let is_met = facets.met.as_deref() == Some(path);
                assert_eq!(is_met, *schema == Schema::Boolean, "{}: facets name {path}", topic.name);
                count += 1;
            }
        }
        assert!(count > 5);
    }
}
