//! ClickHouse's RowBinary: <https://clickhouse.com/docs/interfaces/formats/RowBinary>.

use uuid::Uuid;

/// The first and the last second of ClickHouse's calendar: of the years 0 and 9999. What lies beyond (the clock of a partition that
/// holds nothing yet) is moved there: ClickHouse would take it, and show a time of its own choosing.
const CALENDAR: [i64; 2] = [-62_167_219_200, 253_402_300_799];

/// A value that its column can't hold.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// A number is out of the column's range.
    #[error("{value} is out of the range of an integer of {bytes} bytes, signed: {signed}")]
    Range {
        /// The number.
        value: i64,
        /// Width in bytes.
        bytes: usize,
        /// Whether it may be negative.
        signed: bool,
    },
    /// A text is not a UUID.
    #[error("{0:?} is not a UUID")]
    NotUuid(String),
    /// There is no JSON for it.
    #[error("it can't be written as JSON: {0}")]
    NoJson(String),
}

/// An integer of so many bytes.
///
/// # Errors
/// It is out of the range.
pub fn write_integer(value: i64, bytes: usize, signed: bool, row: &mut Vec<u8>) -> Result<(), ValueError> {
    let bits = 8 * bytes as u32 - u32::from(signed);
    let fits = match (bits, signed) {
        (63.., true) => true,
        (63.., false) => value >= 0,
        (_, true) => (-(1_i64 << bits)..1_i64 << bits).contains(&value),
        (_, false) => (0..1_i64 << bits).contains(&value),
    };
    if !fits {
        return Err(ValueError::Range { value, bytes, signed });
    }
    // Two's complement, little endian: what is in range has all its meaning in the lower bytes.
    row.extend_from_slice(&value.to_le_bytes()[..bytes]);
    Ok(())
}

/// A `DateTime64` of so many ticks a second.
pub fn write_time(value: i64, ticks: i64, row: &mut Vec<u8>) {
    let [first, last] = CALENDAR.map(|second| second.saturating_mul(ticks));
    row.extend_from_slice(&value.clamp(first, last).to_le_bytes());
}

/// Two 64-bit halves, the high one first, each little endian.
pub fn write_uuid(uuid: Uuid, row: &mut Vec<u8>) {
    let (high, low) = uuid.as_u64_pair();
    row.extend_from_slice(&high.to_le_bytes());
    row.extend_from_slice(&low.to_le_bytes());
}

/// A `String`.
pub fn write_bytes(bytes: &[u8], row: &mut Vec<u8>) {
    write_length(bytes.len(), row);
    row.extend_from_slice(bytes);
}

/// A length that is known only behind what it is the length of: `write` appends that, and returns it.
///
/// # Errors
/// Those of `write`.
pub fn write_counted<E>(
    row: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<usize, E>,
) -> Result<(), E> {
    let start = row.len();
    let length = write(row)?;
    let end = row.len();
    write_length(length, row);
    let written = row.len() - end;
    row[start..].rotate_right(written);
    Ok(())
}

/// LEB128, unsigned.
pub fn write_length(mut length: usize, row: &mut Vec<u8>) {
    while length >= 0x80 {
        row.push(length as u8 | 0x80);
        length >>= 7;
    }
    row.push(length as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads back what `write_length` writes.
    fn read_length(bytes: &[u8]) -> (usize, &[u8]) {
        let end = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
        let length = bytes[..end].iter().rev().fold(0, |length, byte| length << 7 | usize::from(byte & 0x7f));
        (length, &bytes[end..])
    }

    proptest! {
        #[test]
        fn lengths_are_read_back(length: usize) {
            let mut row = Vec::new();
            write_length(length, &mut row);
            prop_assert_eq!(read_length(&row), (length, &[][..]));
        }

        #[test]
        fn integers_are_read_back_or_refused(value: i64, width in 0_usize..4, signed: bool) {
            let bytes = 1 << width;
            let mut row = Vec::new();
            let written = write_integer(value, bytes, signed, &mut row);
            let mut wide = [if signed && value < 0 { 0xff } else { 0 }; 8];
            if written.is_ok() {
                wide[..bytes].copy_from_slice(&row);
            }
            let fits = match (bytes, signed) {
                (1, true) => i8::try_from(value).is_ok(),
                (1, false) => u8::try_from(value).is_ok(),
                (2, true) => i16::try_from(value).is_ok(),
                (2, false) => u16::try_from(value).is_ok(),
                (4, true) => i32::try_from(value).is_ok(),
                (4, false) => u32::try_from(value).is_ok(),
                (_, true) => true,
                (_, false) => value >= 0,
            };
            prop_assert_eq!(written.is_ok(), fits);
            prop_assert!(!fits || i64::from_le_bytes(wide) == value);
        }

        #[test]
        fn texts_are_read_back(text: Vec<u8>, rest: Vec<u8>) {
            let mut row = Vec::new();
            write_bytes(&text, &mut row);
            row.extend(&rest);
            let (length, tail) = read_length(&row);
            prop_assert_eq!((&tail[..length], &tail[length..]), (text.as_slice(), rest.as_slice()));
        }

        #[test]
        fn counts_are_read_back(before: Vec<u8>, count: usize, counted: Vec<u8>) {
            let mut row = before.clone();
            let written = write_counted(&mut row, |row| {
                row.extend(&counted);
                Ok::<_, ()>(count)
            });
            prop_assert!(written.is_ok() && row.starts_with(&before));
            prop_assert_eq!(read_length(&row[before.len()..]), (count, counted.as_slice()));
        }
    }
}
