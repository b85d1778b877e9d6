//! A document of settings in a file.

use std::path::Path;
use std::{fs, io};

use super::document::{Document, Json, Problem};

/// Why a file of settings can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It can't be read.
    #[error("can't read {file}: {source}")]
    Read {
        /// The file.
        file: String,
        /// The reason.
        source: io::Error,
    },
    /// It is neither JSON nor TOML.
    #[error("{file} is neither a JSON object nor TOML: {reason}")]
    Form {
        /// The file.
        file: String,
        /// The reason.
        reason: String,
    },
    /// It has a value that is not allowed.
    #[error("{file}: {problem}")]
    Impossible {
        /// The file.
        file: String,
        /// What is wrong.
        problem: Problem,
    },
}

/// Reads what is set of a family: a JSON object as the API takes it, or the same as TOML; where that has a section of the
/// family's name, the section.
pub fn from_file<D: Document>(path: &Path) -> Result<Json, FileError> {
    let document = document(path, D::FAMILY)?;
    let impossible = |problem| FileError::Impossible { file: path.display().to_string(), problem };
    D::read(&[&document]).map_err(impossible)?;
    Ok(document)
}

/// As [`from_file`], whatever it says.
pub fn document(path: &Path, family: &str) -> Result<Json, FileError> {
    let file = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|source| FileError::Read { file: file.clone(), source })?;
    if text.trim().is_empty() {
        // A file cut short must not take back all that is set.
        return Err(FileError::Form { file, reason: "it is empty; {} sets nothing".to_owned() });
    }
    let document = if text.trim_start().starts_with('{') {
        serde_json::from_str(&text).map_err(|error| error.to_string())
    } else {
        from_toml(&text, family).map_err(|error| error.to_string())
    };
    document.map_err(|reason| FileError::Form { file, reason })
}

fn from_toml(text: &str, family: &str) -> Result<Json, config::ConfigError> {
    let source = config::File::from_str(text, config::FileFormat::Toml);
    let table: Json = config::Config::builder().add_source(source).build()?.try_deserialize()?;
    Ok(match table.get(family) {
        Some(serde_json::Value::Object(section)) => section.clone(),
        _ => table,
    })
}
