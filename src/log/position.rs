//! A position in the log: the token that a producer gets and a reader can wait for.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// The offset of the last record that counts, by family and partition. As text `civic:0@123,3@7`, several families with `;`
/// between; the empty text is the beginning of everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogPosition(BTreeMap<String, BTreeMap<i32, i64>>);

/// A text that is no [`LogPosition`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no position of the log: expected FAMILY:PARTITION@OFFSET, for example civic:0@123,3@7")]
pub struct NotAPosition(String);

impl LogPosition {
    /// Adds a record; of one partition the highest offset counts.
    pub fn add(&mut self, family: &str, partition: i32, offset: i64) {
        let partitions = match self.0.get_mut(family) {
            Some(partitions) => partitions,
            None => self.0.entry(family.to_owned()).or_default(),
        };
        let highest = partitions.entry(partition).or_insert(offset);
        *highest = offset.max(*highest);
    }

    /// The offset of a partition, where it names one.
    pub fn offset(&self, family: &str, partition: i32) -> Option<i64> {
        self.0.get(family)?.get(&partition).copied()
    }

    /// Family, partition and offset of each of its partitions.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i32, i64)> {
        self.0.iter().flat_map(|(family, partitions)| {
            partitions.iter().map(|(partition, offset)| (family.as_str(), *partition, *offset))
        })
    }

    /// Whether it is as far as `other` in each partition that `other` names.
    pub fn covers(&self, other: &Self) -> bool {
        other.iter().all(|(family, partition, offset)| {
            self.offset(family, partition).is_some_and(|reached| reached >= offset)
        })
    }
}

impl fmt::Display for LogPosition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (family, partitions)) in self.0.iter().enumerate() {
            let between = if index == 0 { "" } else { ";" };
            write!(formatter, "{between}{family}:")?;
            for (index, (partition, offset)) in partitions.iter().enumerate() {
                let between = if index == 0 { "" } else { "," };
                write!(formatter, "{between}{partition}@{offset}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for LogPosition {
    type Err = NotAPosition;

    fn from_str(text: &str) -> Result<Self, NotAPosition> {
        let mut position = Self::default();
        for part in text.split(';').filter(|part| !part.is_empty()) {
            let (family, partitions) = part.split_once(':').ok_or_else(|| NotAPosition(text.to_owned()))?;
            for record in partitions.split(',') {
                let parsed = record.split_once('@').and_then(|(partition, offset)| {
                    Some((partition.parse().ok().filter(|partition| *partition >= 0)?, offset.parse().ok()?))
                });
                let (partition, offset) = parsed.ok_or_else(|| NotAPosition(text.to_owned()))?;
                position.add(family, partition, offset);
            }
        }
        Ok(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_is_written() {
        for text in ["", "civic:0@123", "civic:0@123,3@7;logs:1@-1"] {
            assert_eq!(text.parse::<LogPosition>().unwrap().to_string(), text);
        }
        let repeated: LogPosition = "civic:0@5,0@9,0@7".parse().unwrap();
        assert_eq!(repeated.offset("civic", 0), Some(9));
        for text in ["civic", "civic:", "civic:0", "civic:0@", "civic:-1@5", "civic:0@5,", "civic:x@5"] {
            assert!(text.parse::<LogPosition>().is_err(), "{text}");
        }
    }

    #[test]
    fn it_covers_what_lies_before_it() {
        let position = |text: &str| text.parse::<LogPosition>().unwrap();
        let reached = position("civic:0@10,1@3");
        for (text, is_covered) in [
            ("", true),
            ("civic:0@10", true),
            ("civic:0@11", false),
            ("civic:0@10,1@4", false),
            ("civic:2@0", false),
            ("logs:0@0", false),
        ] {
            assert_eq!(reached.covers(&position(text)), is_covered, "{text}");
        }
    }
}
