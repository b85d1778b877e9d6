//! A duration as people write it.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::{duration_schema, parse_duration};
use crate::engine::Millis;

/// A duration in whole ms, written like `100ms`, `10s`, `5min`, `72h` or `30d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Millis);

impl fmt::Display for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)];
        match units.iter().find(|(_, millis)| self.0 % millis == 0 && self.0 >= *millis) {
            Some((unit, millis)) => write!(formatter, "{}{unit}", self.0 / millis),
            None if self.0 == 0 => formatter.write_str("0s"),
            None => write!(formatter, "{}ms", self.0),
        }
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let duration =
            parse_duration(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)?;
        let millis = Millis::try_from(duration.as_millis());
        millis.map(Self).map_err(|_| serde::de::Error::custom("a duration of more than 292 million years"))
    }
}

impl JsonSchema for Span {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        duration_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(millis in prop_oneof![0_i64..10_000, 0_i64..10_000_000_000, Just(3 * 86_400_000)]) {
            let text = serde_json::to_string(&Span(millis)).unwrap();
            prop_assert_eq!(serde_json::from_str::<Span>(&text).unwrap(), Span(millis));
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "\"-1h\"",
            "\"1.5h\"",
            "\"soon\"",
            "\"\"",
            "5",
            "null",
            "\"99999999999999999999d\"",
            "\"18446744073709551615ms\"",
        ] {
            assert!(serde_json::from_str::<Span>(text).is_err(), "{text}");
        }
    }
}
