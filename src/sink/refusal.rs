//! Which of ClickHouse's errors are about the rows themselves. Only for these are rows looked at one by one and given up;
//! whatever else it says may pass, and the same rows are sent again.

use clickhouse::error::Error;

/// Errors that name a value, by code: the same rows would be refused for ever. What is not here (too many parts, memory, a
/// table that is missing or read-only, a time-out, a body that was cut short …) says nothing about a row.
/// <https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp>
pub const OF_DATA: [(u16, &str); 22] = [
    (6, "CANNOT_PARSE_TEXT"),
    (26, "CANNOT_PARSE_QUOTED_STRING"),
    (27, "CANNOT_PARSE_INPUT_ASSERTION_FAILED"),
    (38, "CANNOT_PARSE_DATE"),
    (41, "CANNOT_PARSE_DATETIME"),
    (69, "ARGUMENT_OUT_OF_BOUND"),
    (70, "CANNOT_CONVERT_TYPE"),
    (72, "CANNOT_PARSE_NUMBER"),
    (117, "INCORRECT_DATA"),
    (128, "TOO_LARGE_ARRAY_SIZE"),
    (131, "TOO_LARGE_STRING_SIZE"),
    (153, "ILLEGAL_DIVISION"),
    (190, "SIZES_OF_ARRAYS_DONT_MATCH"),
    (321, "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE"),
    (349, "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN"),
    (376, "CANNOT_PARSE_UUID"),
    (395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
    (407, "DECIMAL_OVERFLOW"),
    (441, "CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING"),
    (467, "CANNOT_PARSE_BOOL"),
    (469, "VIOLATED_CONSTRAINT"),
    (691, "UNKNOWN_ELEMENT_OF_ENUM"),
];

/// Whether the rows are at fault, and not their way or their goal.
pub fn is_of_data(error: &Error) -> bool {
    let Error::BadResponse(text) = error else { return false };
    code(text).is_some_and(|code| OF_DATA.iter().any(|(known, _)| *known == code))
}

/// The code that an answer of ClickHouse's begins with: `Code: 469. DB::Exception: …`.
fn code(text: &str) -> Option<u16> {
    let rest = text.trim_start().strip_prefix("Code: ")?;
    let digits = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_of_data_condemn_a_row() {
        let is_of_data = |text: &str| is_of_data(&Error::BadResponse(text.into()));
        assert!(is_of_data("Code: 469. DB::Exception: Constraint `c` for table d.t is violated at row 1."));
        assert!(is_of_data("Code: 469"));
        for other in [
            "Code: 252. DB::Exception: Too many parts. (TOO_MANY_PARTS)",
            "Code: 60. DB::Exception: Table d.t does not exist: Code: 469",
            "502 Bad Gateway",
            "Code: 4690000",
            "Code: ",
            "",
        ] {
            assert!(!is_of_data(other), "{other}");
        }
        assert!(!super::is_of_data(&Error::TimedOut));
        assert!(!super::is_of_data(&Error::Network("Code: 469.".into())));
    }
}
