//! The file: lines of bounded length, and the times that they name themselves.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};

use serde_json::value::RawValue;

use crate::engine::Millis;
use crate::http::ApiError;
use crate::ingest::{body, fields};

/// A line of the file that isn't blank.
pub(super) enum Line<'a> {
    Text(&'a [u8]),
    /// More than a request may have; it is passed over, not held.
    TooLong,
}

/// The lines of a file, with their numbers.
pub(super) struct Lines<R> {
    reader: R,
    buffer: Vec<u8>,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, buffer: Vec::new(), number: 0 }
    }

    /// The next line that isn't blank.
    pub(super) fn next(&mut self) -> io::Result<Option<(u64, Line<'_>)>> {
        loop {
            self.buffer.clear();
            let most = crate::http::body::LIMIT as u64 + 1;
            if self.reader.by_ref().take(most).read_until(b'\n', &mut self.buffer)? == 0 {
                return Ok(None);
            }
            self.number += 1;
            if self.buffer.len() > crate::http::body::LIMIT && self.buffer.last() != Some(&b'\n') {
                self.reader.skip_until(b'\n')?;
                return Ok(Some((self.number, Line::TooLong)));
            }
            if !self.text().is_empty() {
                return Ok(Some((self.number, Line::Text(self.text()))));
            }
        }
    }

    /// The line without what editors put around it: a byte order mark before the first, CR LF behind each.
    fn text(&self) -> &[u8] {
        let mark = (self.number == 1).then(|| self.buffer.strip_prefix(b"\xef\xbb\xbf")).flatten();
        mark.unwrap_or(&self.buffer).trim_ascii()
    }
}

/// The time in a top-level field of a line, and the line without it.
pub(super) fn take_time(line: &[u8], name: &str) -> Result<(Millis, Vec<u8>), ApiError> {
    let mut fields: BTreeMap<String, &RawValue> = body::parse(body::json(line)?, "")?;
    let json = fields
        .remove(name)
        .ok_or_else(|| ApiError::invalid(name, "missing: it says when the line arrives"))?;
    let text: String =
        serde_json::from_str(json.get()).map_err(|_| ApiError::invalid(name, "expected a time as text"))?;
    let rest = serde_json::to_vec(&fields).map_err(|error| ApiError::malformed_json(error.to_string()))?;
    Ok((fields::time(&text, name)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<(u64, Option<Vec<u8>>)> {
        let (mut lines, mut found) = (Lines::new(bytes), Vec::new());
        while let Some((number, line)) = lines.next().unwrap() {
            found.push(match line {
                Line::Text(text) => (number, Some(text.to_vec())),
                Line::TooLong => (number, None),
            });
        }
        found
    }

    #[test]
    fn blank_lines_count_and_are_passed_over() {
        let found = lines(b"\xef\xbb\xbf{}\r\n\n  \t\r\n 1 \n2");
        let text = |text: &[u8]| Some(text.to_vec());
        assert_eq!(found, [(1, text(b"{}")), (4, text(b"1")), (5, text(b"2"))]);
        assert!(lines(b"").is_empty() && lines(b"\xef\xbb\xbf\n").is_empty());
    }

    #[test]
    fn a_long_line_is_named_and_the_next_is_read() {
        let longest = vec![b'x'; crate::http::body::LIMIT];
        let bytes = [&longest[..], b"\n", &longest, b"y\nz\n", &longest, b"y"].concat();
        assert_eq!(lines(&bytes), [(1, Some(longest)), (2, None), (3, Some(vec![b'z'])), (4, None)]);
    }

    #[test]
    fn a_time_is_taken_out_of_its_line() {
        let line = br#"{"at": "1970-01-01T00:00:01Z", "report": {"at": 7}}"#;
        assert_eq!(take_time(line, "at").unwrap(), (1_000, br#"{"report":{"at": 7}}"#.to_vec()));
        for (line, expected) in [
            ("{", "EOF while parsing an object at line 1 column 1"),
            ("[]", "body: expected an object"),
            ("{}", "at: missing: it says when the line arrives"),
            (r#"{"at": 7}"#, "at: expected a time as text"),
            (r#"{"at": "7"}"#, "at: \"7\" expected RFC 3339, such as 2011-07-01T09:30:00-04:00"),
        ] {
            assert_eq!(take_time(line.as_bytes(), "at").unwrap_err().to_string(), expected);
        }
    }
}
