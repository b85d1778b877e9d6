//! Writes structs as a datum, by the shape of the schema: a [serde serializer](serde::Serializer). It is the other way round of
//! [`decode`](mod@super::decode), and says so where a struct lacks a field of the schema or has one more.

use std::fmt;

use serde::Serialize;
use serde::ser::{self, Error, Impossible, SerializeMap, SerializeSeq, SerializeStruct};

use super::decode::Unfit;
use super::shape::{RecordShape, Shape};

impl Error for Unfit {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Form(message.to_string())
    }
}

/// Appends a `long`: seven bits a byte, the low ones first, zigzag.
#[inline]
pub(super) fn put_long(value: i64, bytes: &mut Vec<u8>) {
    let mut bits = (value << 1 ^ value >> 63) as u64;
    while bits >= 0x80 {
        bytes.push(bits as u8 | 0x80);
        bits >>= 7;
    }
    bytes.push(bits as u8);
}

fn put_bytes(value: &[u8], bytes: &mut Vec<u8>) {
    put_long(value.len() as i64, bytes);
    bytes.extend_from_slice(value);
}

/// Writes one value.
pub struct Encoder<'s, 'b> {
    shape: &'s Shape,
    bytes: &'b mut Vec<u8>,
}

impl<'s, 'b> Encoder<'s, 'b> {
    /// Appends a value of that shape.
    pub fn new(shape: &'s Shape, bytes: &'b mut Vec<u8>) -> Self {
        Self { shape, bytes }
    }

    #[cold]
    fn unfit<T>(self, found: &str) -> Result<T, Unfit> {
        let expected = match self.shape {
            Shape::Nothing => "null",
            Shape::Boolean => "a boolean",
            Shape::Int => "an int",
            Shape::Long => "a long",
            Shape::Float => "a float",
            Shape::Double => "a double",
            Shape::Fixed(_) => "a fixed",
            Shape::Bytes => "bytes",
            Shape::Text | Shape::Uuid => "a string",
            Shape::Enum(_) => "one of the enum's symbols",
            Shape::Array(_) => "an array",
            Shape::Map(_) => "a map",
            Shape::Union(_) => "one of the union's branches",
            Shape::Record(_) => "a record",
        };
        Err(Unfit::Form(format!("the struct has {found}, the schema {expected}")))
    }

    /// The branch of a union that `is_meant`.
    fn branch(self, found: &str, is_meant: impl Fn(&Shape) -> bool) -> Result<Self, Unfit> {
        let Shape::Union(branches) = self.shape else { return self.unfit(found) };
        let Some(place) = branches.iter().position(is_meant) else { return self.unfit(found) };
        put_long(place as i64, self.bytes);
        Ok(Self { shape: &branches[place], bytes: self.bytes })
    }

    fn record(self, found: &str) -> Result<Fields<'s, 'b>, Unfit> {
        let Shape::Record(record) = self.shape else { return self.unfit(found) };
        Ok(Fields { record, next: 0, ahead: Vec::new(), bytes: self.bytes })
    }

    /// How an array or a map is written: by itself where its length is known.
    fn items(self, items: &'s Shape, length: Option<usize>) -> Items<'s, 'b> {
        let announced = length.inspect(|length| {
            if *length > 0 {
                put_long(*length as i64, self.bytes);
            }
        });
        Items { items, announced, count: 0, own: Vec::new(), bytes: self.bytes }
    }
}

impl<'s, 'b> ser::Serializer for Encoder<'s, 'b> {
    type Ok = ();
    type Error = Unfit;
    type SerializeSeq = Items<'s, 'b>;
    type SerializeMap = Items<'s, 'b>;
    type SerializeStruct = Fields<'s, 'b>;
    type SerializeStructVariant = Impossible<(), Unfit>;
    type SerializeTuple = Impossible<(), Unfit>;
    type SerializeTupleStruct = Impossible<(), Unfit>;
    type SerializeTupleVariant = Impossible<(), Unfit>;

    fn serialize_bool(self, value: bool) -> Result<(), Unfit> {
        match self.shape {
            Shape::Boolean => {
                self.bytes.push(value.into());
                Ok(())
            }
            _ => self.unfit("a boolean"),
        }
    }

    fn serialize_i8(self, value: i8) -> Result<(), Unfit> {
        self.serialize_i64(value.into())
    }

    fn serialize_i16(self, value: i16) -> Result<(), Unfit> {
        self.serialize_i64(value.into())
    }

    fn serialize_i32(self, value: i32) -> Result<(), Unfit> {
        self.serialize_i64(value.into())
    }

    #[inline]
    fn serialize_i64(self, value: i64) -> Result<(), Unfit> {
        match self.shape {
            Shape::Long => {
                put_long(value, self.bytes);
                Ok(())
            }
            Shape::Int if i32::try_from(value).is_ok() => {
                put_long(value, self.bytes);
                Ok(())
            }
            _ => self.unfit(&format!("the integer {value}")),
        }
    }

    fn serialize_u8(self, value: u8) -> Result<(), Unfit> {
        self.serialize_i64(value.into())
    }

    fn serialize_u16(self, value: u16) -> Result<(), Unfit> {
        self.serialize_i64(value.into())
    }

    fn serialize_u32(self, value: u32) -> Result<(), Unfit> {
        self.serialize_i64(value.into())
    }

    fn serialize_u64(self, value: u64) -> Result<(), Unfit> {
        match i64::try_from(value) {
            Ok(value) => self.serialize_i64(value),
            Err(_) => self.unfit(&format!("the integer {value}")),
        }
    }

    fn serialize_f32(self, value: f32) -> Result<(), Unfit> {
        match self.shape {
            Shape::Float => {
                self.bytes.extend_from_slice(&value.to_le_bytes());
                Ok(())
            }
            _ => self.unfit("a float"),
        }
    }

    fn serialize_f64(self, value: f64) -> Result<(), Unfit> {
        match self.shape {
            Shape::Double => {
                self.bytes.extend_from_slice(&value.to_le_bytes());
                Ok(())
            }
            _ => self.unfit("a double"),
        }
    }

    fn serialize_char(self, value: char) -> Result<(), Unfit> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), Unfit> {
        match self.shape {
            Shape::Text | Shape::Uuid => {
                put_bytes(value.as_bytes(), self.bytes);
                Ok(())
            }
            _ => self.unfit("a string"),
        }
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Unfit> {
        match self.shape {
            Shape::Bytes => {
                put_bytes(value, self.bytes);
                Ok(())
            }
            Shape::Fixed(length) if *length == value.len() => {
                self.bytes.extend_from_slice(value);
                Ok(())
            }
            _ => self.unfit("bytes"),
        }
    }

    #[inline]
    fn serialize_none(self) -> Result<(), Unfit> {
        self.serialize_unit()
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Unfit> {
        value.serialize(self.branch("a value that may be missing", |shape| *shape != Shape::Nothing)?)
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), Unfit> {
        match self.shape {
            Shape::Nothing => Ok(()),
            _ => self.branch("nothing", |shape| *shape == Shape::Nothing).map(drop),
        }
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Unfit> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Unfit> {
        let Shape::Enum(symbols) = self.shape else { return self.unfit(variant) };
        match symbols.iter().position(|symbol| symbol == variant) {
            Some(place) => {
                put_long(place as i64, self.bytes);
                Ok(())
            }
            None => self.unfit(variant),
        }
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Unfit> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        place: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Unfit> {
        let Shape::Union(branches) = self.shape else { return self.unfit(variant) };
        let Some(shape) = branches.get(place as usize) else { return self.unfit(variant) };
        put_long(place.into(), self.bytes);
        value.serialize(Encoder { shape, bytes: self.bytes })
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Items<'s, 'b>, Unfit> {
        match self.shape {
            Shape::Array(items) => Ok(self.items(items, length)),
            _ => self.unfit("a sequence"),
        }
    }

    fn serialize_map(self, length: Option<usize>) -> Result<Items<'s, 'b>, Unfit> {
        match self.shape {
            Shape::Map(values) => Ok(self.items(values, length)),
            _ => self.unfit("a map"),
        }
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Fields<'s, 'b>, Unfit> {
        self.record("a struct")
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Unfit> {
        self.unfit(variant)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Unfit> {
        self.unfit("a tuple")
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, Unfit> {
        self.unfit(name)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Unfit> {
        self.unfit(variant)
    }
}

/// The items of an array, or the entries of a map: one block of them.
pub struct Items<'s, 'b> {
    items: &'s Shape,
    /// How many were announced; where none were, they are kept until that is known.
    announced: Option<usize>,
    count: usize,
    own: Vec<u8>,
    bytes: &'b mut Vec<u8>,
}

impl Items<'_, '_> {
    fn put<T: Serialize + ?Sized>(&mut self, shape: &Shape, value: &T) -> Result<(), Unfit> {
        let bytes = if self.announced.is_some() { &mut *self.bytes } else { &mut self.own };
        value.serialize(Encoder { shape, bytes })
    }

    fn close(self) -> Result<(), Unfit> {
        match self.announced {
            Some(announced) if announced != self.count => {
                return Err(Unfit::Form(format!(
                    "{announced} items were announced, there are {}",
                    self.count
                )));
            }
            None if self.count > 0 => {
                put_long(self.count as i64, self.bytes);
                self.bytes.extend_from_slice(&self.own);
            }
            _ => {}
        }
        self.bytes.push(0);
        Ok(())
    }
}

impl SerializeSeq for Items<'_, '_> {
    type Ok = ();
    type Error = Unfit;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unfit> {
        self.count += 1;
        self.put(self.items, value)
    }

    fn end(self) -> Result<(), Unfit> {
        self.close()
    }
}

impl SerializeMap for Items<'_, '_> {
    type Ok = ();
    type Error = Unfit;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Unfit> {
        self.count += 1;
        self.put(&Shape::Text, key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unfit> {
        self.put(self.items, value)
    }

    fn end(self) -> Result<(), Unfit> {
        self.close()
    }
}

/// The fields of a record.
pub struct Fields<'s, 'b> {
    record: &'s RecordShape,
    /// The field that the datum takes next.
    next: usize,
    /// Fields that came ahead of their turn, by their places.
    ahead: Vec<(usize, Vec<u8>)>,
    bytes: &'b mut Vec<u8>,
}

impl Fields<'_, '_> {
    /// Appends what has come before its turn and whose turn it is now.
    fn catch_up(&mut self) {
        while let Some(found) = self.ahead.iter().position(|(place, _)| *place == self.next) {
            self.bytes.extend_from_slice(&self.ahead.swap_remove(found).1);
            self.next += 1;
        }
    }
}

impl SerializeStruct for Fields<'_, '_> {
    type Ok = ();
    type Error = Unfit;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Unfit> {
        let fields = &self.record.fields;
        if let Some((name, shape)) = fields.get(self.next).filter(|(name, _)| name == key) {
            value.serialize(Encoder::new(shape, self.bytes)).map_err(|unfit| unfit.within(name))?;
            self.next += 1;
            if !self.ahead.is_empty() {
                self.catch_up();
            }
            return Ok(());
        }
        let Some(place) = fields.iter().position(|(name, _)| name == key) else {
            let record = &self.record.name;
            return Err(Unfit::Form(format!("the struct has a field {key}, the schema's {record} has none")));
        };
        let mut bytes = Vec::new();
        value.serialize(Encoder::new(&fields[place].1, &mut bytes)).map_err(|unfit| unfit.within(key))?;
        self.ahead.push((place, bytes));
        Ok(())
    }

    fn end(self) -> Result<(), Unfit> {
        match self.record.fields.get(self.next) {
            None => Ok(()),
            Some((name, _)) => {
                let record = &self.record.name;
                Err(Unfit::Form(format!("the schema's {record} has a field {name}, the struct has none")))
            }
        }
    }
}
