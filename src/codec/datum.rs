//! Avro's binary encoding, read strictly and without a copy:
//! <https://avro.apache.org/docs/1.12.0/specification/#binary-encoding>.
//!
//! Strict, but no stricter than what folds the record: what a worker can read the sink has to read, too, or a raw event would
//! vanish from its table (I7). So the unused bits of a number's tenth byte and the sizes of blocks are not looked at.

use uuid::Uuid;

/// Bytes that don't follow their schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes end before the value does.
    #[error("it ends too early")]
    Truncated,
    /// A number has more than 64 bits.
    #[error("a number has more than 64 bits")]
    Overlong,
    /// A number of the type `int` has more than 32 bits.
    #[error("{0} is out of the range of an int")]
    NotInt(i64),
    /// A length is negative, or goes beyond the end.
    #[error("a length of {0}, but {1} bytes are left")]
    Length(i64, usize),
    /// A truth value is neither 0 nor 1.
    #[error("{0} is neither true nor false")]
    NotBoolean(u8),
    /// A string is not UTF-8.
    #[error("a string is not UTF-8")]
    NotUtf8,
    /// A string is not a UUID.
    #[error("a string is not a UUID")]
    NotUuid,
    /// There is no such branch of a union, or symbol of an enum.
    #[error("there is no branch or symbol {index}: the schema has {count}")]
    NoSuchIndex {
        /// Its number, counted from 0.
        index: i64,
        /// How many there are.
        count: usize,
    },
}

/// What is left of a datum's bytes: each method reads a value from the front.
#[derive(Debug, Clone)]
pub struct Datum<'a> {
    rest: &'a [u8],
}

impl<'a> Datum<'a> {
    /// All of a datum.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// Takes the next `length` bytes.
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// A `boolean`.
    pub fn boolean(&mut self) -> Result<bool, Malformed> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(Malformed::NotBoolean(other)),
        }
    }

    /// A `long`: seven bits a byte, the low ones first, zigzag.
    #[inline]
    pub fn long(&mut self) -> Result<i64, Malformed> {
        let mut bits = 0_u64;
        for (place, byte) in self.rest.iter().enumerate().take(10) {
            bits |= u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[place + 1..];
                return Ok((bits >> 1) as i64 ^ -((bits & 1) as i64));
            }
        }
        Err(if self.rest.len() < 10 { Malformed::Truncated } else { Malformed::Overlong })
    }

    /// An `int`.
    #[inline]
    pub fn int(&mut self) -> Result<i32, Malformed> {
        let long = self.long()?;
        i32::try_from(long).map_err(|_| Malformed::NotInt(long))
    }

    /// A `float`.
    pub fn float(&mut self) -> Result<f32, Malformed> {
        self.array().map(f32::from_le_bytes)
    }

    /// A `double`.
    pub fn double(&mut self) -> Result<f64, Malformed> {
        self.array().map(f64::from_le_bytes)
    }

    /// `bytes`.
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.long()?;
        let taken = usize::try_from(length).ok().and_then(|length| self.take(length).ok());
        taken.ok_or(Malformed::Length(length, self.left()))
    }

    /// A `string`.
    #[inline]
    pub fn text(&mut self) -> Result<&'a str, Malformed> {
        str::from_utf8(self.bytes()?).map_err(|_| Malformed::NotUtf8)
    }

    /// A `string` that spells a UUID.
    pub fn uuid(&mut self) -> Result<Uuid, Malformed> {
        Uuid::try_parse_ascii(self.bytes()?).map_err(|_| Malformed::NotUuid)
    }

    /// Which of `count` symbols or branches.
    #[inline]
    pub fn index(&mut self, count: usize) -> Result<usize, Malformed> {
        let index = self.long()?;
        match usize::try_from(index) {
            Ok(place) if place < count => Ok(place),
            _ => Err(Malformed::NoSuchIndex { index, count }),
        }
    }

    /// The items of an `array` or the entries of a `map`: `item` reads each, and at least a byte of it. How many they are.
    ///
    /// # Errors
    /// The blocks don't follow the format, or `item` fails.
    pub fn items<E: From<Malformed>>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<usize, E> {
        let (mut blocks, mut total) = (Blocks::default(), 0);
        while blocks.next(self)? {
            item(self)?;
            total += 1;
        }
        Ok(total)
    }
}

/// Where the reader of an `array` or a `map` stands in its blocks.
#[derive(Debug, Default)]
pub struct Blocks {
    left: usize,
}

impl Blocks {
    /// Whether a further item follows; it is to be read before this is asked again, and takes a byte at least.
    ///
    /// # Errors
    /// The blocks don't follow the format.
    #[inline]
    pub fn next(&mut self, datum: &mut Datum<'_>) -> Result<bool, Malformed> {
        if self.left == 0 {
            let count = datum.long()?;
            if count == 0 {
                return Ok(false);
            }
            if count < 0 {
                datum.long()?; // the block's size in bytes: nobody needs it here
            }
            // No item is smaller than a byte: an absurd count is known at once.
            let within = usize::try_from(count.unsigned_abs()).ok().filter(|count| *count <= datum.left());
            self.left = within.ok_or(Malformed::Length(count, datum.left()))?;
        }
        self.left -= 1;
        Ok(true)
    }
}
