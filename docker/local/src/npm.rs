//! Packages of npm's registry, pinned by version and checksum, fetched without running anything of them.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use tar::{Archive, Entry};

use crate::Error;
use crate::checksums::verify_sha512;
use crate::{process, tools};

/// Has npm put the tarball of `package` (`name@version`) into the scratch folder, and verifies it. The checksum is what
/// npm calls the integrity, in hexadecimal digits.
pub(crate) fn pack(scratch: &Path, package: &str, sha512: &str) -> Result<PathBuf, Error> {
    let npm = tools::NPM.find()?;
    let mut command = process::bound(npm);
    command.current_dir(scratch).args(["pack", package, "--ignore-scripts", "--no-update-notifier"]);
    command.arg("--cache").arg(scratch.join("npm-cache"));
    process::run(&mut command, &format!("`npm pack {package}`"))?;

    let tarball = fs::read_dir(scratch).into_iter().flatten().flatten().map(|entry| entry.path());
    let tarball =
        tarball.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "tgz"));
    let tarball = tarball.ok_or_else(|| Error::Checksum {
        path: scratch.to_path_buf(),
        fault: "holds no tarball after `npm pack`".to_owned(),
    })?;
    verify_sha512(&tarball, sha512)?;
    Ok(tarball)
}

/// Unpacks the wanted files of a tarball into a folder, all side by side.
pub(crate) fn unpack(tarball: &Path, wanted: &[&str], folder: &Path) -> Result<(), Error> {
    let unpack = || unpack_flat(GzDecoder::new(File::open(tarball)?), folder, |name| wanted.contains(&name));
    unpack().map_err(Error::file("unpack", tarball))
}

/// Unpacks the files of a tar archive that are wanted by their name, wherever they are in it, side by side.
pub(crate) fn unpack_flat(
    archive: impl Read,
    folder: &Path,
    wanted: impl Fn(&str) -> bool,
) -> io::Result<()> {
    for entry in Archive::new(archive).entries()? {
        let mut entry = entry?;
        if let Some(name) = file_name(&entry)?.filter(|name| wanted(name)) {
            io::copy(&mut entry, &mut File::create(folder.join(name))?)?;
        }
    }
    Ok(())
}

fn file_name(entry: &Entry<'_, impl Read>) -> io::Result<Option<String>> {
    if !entry.header().entry_type().is_file() {
        return Ok(None);
    }
    Ok(entry.path()?.file_name().and_then(|name| name.to_str()).map(str::to_owned))
}
