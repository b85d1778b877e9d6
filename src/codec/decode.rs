//! Reads structs from a datum, by the shape of the schema that it was written with: a [serde deserializer](serde::Deserializer).
//!
//! Texts and bytes are lent from the datum. Fields have the names of the schema's, in any order; what the schema has and the struct
//! has not is passed over, what the struct has and the schema has not is as serde's `default` says. A union of `null` and
//! another type is an `Option`, a union of records an enum whose variants are in the order of the union, an Avro `enum` one without contents, whose variants
//! have the names of the symbols.

use std::fmt;

use serde::de::value::{StrDeserializer, U64Deserializer};
use serde::de::{
    DeserializeSeed, EnumAccess, Error, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::datum::{Blocks, Datum, Malformed};
use super::shape::{RecordShape, Shape};

/// Why a struct can't be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The bytes don't follow the schema.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The struct is not of the schema's form.
    #[error("{0}")]
    Form(String),
}

impl Unfit {
    /// Says in which field it was.
    #[cold]
    pub(super) fn within(self, field: &str) -> Self {
        match self {
            Self::Malformed(malformed) => malformed.into(),
            Self::Form(message) => Self::Form(format!("{field}: {message}")),
        }
    }
}

impl Error for Unfit {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Form(message.to_string())
    }
}

/// Reads one value.
pub struct Decoder<'s, 'd, 'de> {
    shape: &'s Shape,
    datum: &'d mut Datum<'de>,
}

impl<'s, 'd, 'de> Decoder<'s, 'd, 'de> {
    /// Reads the next value of the datum, which is of that shape.
    pub fn new(shape: &'s Shape, datum: &'d mut Datum<'de>) -> Self {
        Self { shape, datum }
    }

    /// The branch that was written of a union, or the value itself.
    fn branch(self) -> Result<Self, Malformed> {
        let Shape::Union(branches) = self.shape else { return Ok(self) };
        let shape = &branches[self.datum.index(branches.len())?];
        Ok(Self { shape, ..self })
    }

    fn fields(self, record: &'s RecordShape) -> Fields<'s, 'd, 'de> {
        Fields { rest: record.fields.iter(), value: None, datum: self.datum }
    }
}

impl<'de> serde::Deserializer<'de> for Decoder<'_, '_, 'de> {
    type Error = Unfit;

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        match self.shape {
            Shape::Nothing => visitor.visit_unit(),
            Shape::Boolean => visitor.visit_bool(self.datum.boolean()?),
            Shape::Int => visitor.visit_i32(self.datum.int()?),
            Shape::Long => visitor.visit_i64(self.datum.long()?),
            Shape::Float => visitor.visit_f32(self.datum.float()?),
            Shape::Double => visitor.visit_f64(self.datum.double()?),
            Shape::Fixed(length) => visitor.visit_borrowed_bytes(self.datum.take(*length)?),
            Shape::Bytes => visitor.visit_borrowed_bytes(self.datum.bytes()?),
            Shape::Text | Shape::Uuid => visitor.visit_borrowed_str(self.datum.text()?),
            Shape::Enum(symbols) => visitor.visit_str(&symbols[self.datum.index(symbols.len())?]),
            Shape::Array(items) => {
                visitor.visit_seq(Items { items, blocks: Blocks::default(), datum: self.datum })
            }
            Shape::Map(values) => {
                visitor.visit_map(Entries { values, blocks: Blocks::default(), datum: self.datum })
            }
            Shape::Union(_) => self.branch()?.deserialize_any(visitor),
            Shape::Record(record) => visitor.visit_map(self.fields(record)),
        }
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        let branch = self.branch()?;
        match branch.shape {
            Shape::Nothing => visitor.visit_none(),
            _ => visitor.visit_some(branch),
        }
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        match self.shape {
            Shape::Record(record) if record.is_in_order(fields) => visitor.visit_seq(self.fields(record)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        visitor.visit_newtype_struct(self)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        match self.shape {
            Shape::Enum(symbols) => {
                let symbol: StrDeserializer<'_, Unfit> =
                    symbols[self.datum.index(symbols.len())?].as_str().into_deserializer();
                visitor.visit_enum(symbol)
            }
            Shape::Union(branches) => {
                let place = self.datum.index(branches.len())?;
                visitor.visit_enum(Branch { place, content: Decoder::new(&branches[place], self.datum) })
            }
            _ => Err(Unfit::Form("it is neither a symbol nor one of several records".to_owned())),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        self.shape.skip(self.datum)?;
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier
    }
}

/// The items of an array.
struct Items<'s, 'd, 'de> {
    items: &'s Shape,
    blocks: Blocks,
    datum: &'d mut Datum<'de>,
}

impl<'de> SeqAccess<'de> for Items<'_, '_, 'de> {
    type Error = Unfit;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Unfit> {
        if !self.blocks.next(self.datum)? {
            return Ok(None);
        }
        seed.deserialize(Decoder::new(self.items, self.datum)).map(Some)
    }
}

/// The entries of a map.
struct Entries<'s, 'd, 'de> {
    values: &'s Shape,
    blocks: Blocks,
    datum: &'d mut Datum<'de>,
}

impl<'de> MapAccess<'de> for Entries<'_, '_, 'de> {
    type Error = Unfit;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Unfit> {
        if !self.blocks.next(self.datum)? {
            return Ok(None);
        }
        seed.deserialize(Decoder::new(&Shape::Text, self.datum)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Unfit> {
        seed.deserialize(Decoder::new(self.values, self.datum))
    }
}

/// The fields of a record: by their order, or by their names.
struct Fields<'s, 'd, 'de> {
    rest: std::slice::Iter<'s, (String, Shape)>,
    value: Option<&'s (String, Shape)>,
    datum: &'d mut Datum<'de>,
}

impl<'de> SeqAccess<'de> for Fields<'_, '_, 'de> {
    type Error = Unfit;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Unfit> {
        let Some((name, shape)) = self.rest.next() else { return Ok(None) };
        let value = seed.deserialize(Decoder::new(shape, self.datum));
        value.map(Some).map_err(|unfit| unfit.within(name))
    }
}

impl<'de> MapAccess<'de> for Fields<'_, '_, 'de> {
    type Error = Unfit;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Unfit> {
        self.value = self.rest.next();
        let Some((name, _)) = self.value else { return Ok(None) };
        let name: StrDeserializer<'_, Unfit> = name.as_str().into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Unfit> {
        let Some((name, shape)) = self.value.take() else {
            return Err(Unfit::Form("a value was asked for before its key".to_owned()));
        };
        seed.deserialize(Decoder::new(shape, self.datum)).map_err(|unfit| unfit.within(name))
    }
}

/// A branch of a union of records.
struct Branch<'s, 'd, 'de> {
    place: usize,
    content: Decoder<'s, 'd, 'de>,
}

impl<'de> EnumAccess<'de> for Branch<'_, '_, 'de> {
    type Error = Unfit;
    type Variant = Self;

    #[inline]
    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Unfit> {
        let place: U64Deserializer<Unfit> = (self.place as u64).into_deserializer();
        Ok((seed.deserialize(place)?, self))
    }
}

impl<'de> VariantAccess<'de> for Branch<'_, '_, 'de> {
    type Error = Unfit;

    fn unit_variant(self) -> Result<(), Unfit> {
        Ok(self.content.shape.skip(self.content.datum)?)
    }

    #[inline]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Unfit> {
        seed.deserialize(self.content)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Unfit> {
        serde::Deserializer::deserialize_any(self.content, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        serde::Deserializer::deserialize_struct(self.content, "", fields, visitor)
    }
}
