//! Pinned files: lists of SHA-256 as `sha256sum` prints them, and folders that have to match them exactly.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256, Sha512};

use crate::Error;

/// The files of a folder, by name, with the SHA-256 that each must have.
#[derive(Debug, PartialEq, Eq)]
pub struct Checksums<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Checksums<'a> {
    /// Reads lines of `<hexadecimal digits>  <name>`; a line of another form is an error that quotes it.
    pub fn parse(list: &'a str) -> Result<Self, String> {
        let lines = list.lines().filter(|line| !line.is_empty());
        let files = lines.map(|line| match line.split_once("  ") {
            Some((digits, name)) if is_sha256(digits) && !name.is_empty() => Ok((name, digits)),
            _ => Err(format!("not a line of a checksum list: {line:?}")),
        });
        files.collect::<Result<_, _>>().map(Self)
    }

    /// Whether the folder holds every file by name. Cheap; [`verify`](Self::verify) reads them.
    pub fn present(&self, folder: &Path) -> bool {
        self.0.keys().all(|name| folder.join(name).is_file())
    }

    /// Reads every file. A missing, a surplus and a different file is an error.
    pub fn verify(&self, folder: &Path) -> Result<(), Error> {
        let fault =
            |name: &str, fault: &str| Error::Checksum { path: folder.join(name), fault: fault.to_owned() };
        let found = names(folder)?;
        if let Some(surplus) = found.iter().find(|name| !self.0.contains_key(name.as_str())) {
            return Err(fault(surplus, "is not in the list of checksums"));
        }
        for (name, expected) in &self.0 {
            if !found.contains(*name) {
                return Err(fault(name, "is missing"));
            }
            if digest::<Sha256>(&folder.join(name))? != *expected {
                return Err(fault(name, "differs from its checksum"));
            }
        }
        Ok(())
    }
}

/// Checks one file against a SHA-512, given in hexadecimal digits.
pub fn verify_sha512(file: &Path, expected: &str) -> Result<(), Error> {
    if digest::<Sha512>(file)? == expected {
        return Ok(());
    }
    Err(Error::Checksum { path: file.to_path_buf(), fault: "differs from its checksum".to_owned() })
}

fn is_sha256(digits: &str) -> bool {
    digits.len() == 64 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn names(folder: &Path) -> Result<BTreeSet<String>, Error> {
    let entries = fs::read_dir(folder).map_err(Error::file("list", folder))?;
    let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    names.collect::<io::Result<_>>().map_err(Error::file("list", folder))
}

fn digest<D: Digest>(path: &Path) -> Result<String, Error> {
    let mut file = File::open(path).map_err(Error::file("open", path))?;
    let mut hasher = D::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer).map_err(Error::file("read", path))? {
            0 => break,
            length => hasher.update(&buffer[..length]),
        }
    }
    Ok(hasher.finalize().iter().fold(String::new(), |mut digits, byte| {
        // Writing to a string can't fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::tests::TestFolder;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_list_has_digits_and_names() {
        let list = format!("{EMPTY}  one.jar\n\n{EMPTY}  two three.jar\n");
        let checksums = Checksums::parse(&list).unwrap();
        assert_eq!(checksums.0.keys().collect::<Vec<_>>(), [&"one.jar", &"two three.jar"]);
    }

    #[test]
    fn a_line_of_another_form_is_refused() {
        for line in ["one.jar", "abc  one.jar", &format!("{EMPTY} one.jar"), &format!("{EMPTY}  ")] {
            assert!(Checksums::parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn the_folder_must_match_exactly() {
        let folder = TestFolder::new("checksums");
        let list = format!("{EMPTY}  one\n");
        let checksums = Checksums::parse(&list).unwrap();
        let fault = || checksums.verify(folder.path()).map_err(|error| error.to_string());

        assert!(!checksums.present(folder.path()));
        assert!(fault().unwrap_err().contains("is missing"));
        fs::write(folder.path().join("one"), "").unwrap();
        assert!(checksums.present(folder.path()));
        assert_eq!(fault(), Ok(()));
        fs::write(folder.path().join("two"), "").unwrap();
        assert!(fault().unwrap_err().contains("not in the list"));
        fs::remove_file(folder.path().join("two")).unwrap();
        fs::write(folder.path().join("one"), "other").unwrap();
        assert!(fault().unwrap_err().contains("differs"));
    }

    #[test]
    fn one_file_is_checked_by_sha512() {
        let folder = TestFolder::new("sha512");
        let file = folder.path().join("file");
        fs::write(&file, "abc").unwrap();
        let expected = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                        2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";
        assert!(verify_sha512(&file, expected).is_ok());
        assert!(verify_sha512(&file, EMPTY).is_err());
    }
}
