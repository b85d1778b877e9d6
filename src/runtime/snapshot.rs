//! A local copy of a partition's state beside the changelog, so that a restart on the same machine reads only the tail.
//!
//! It is a cache: one that is damaged, foreign, too old or from the future is removed, and the changelog alone is read.
//! The file: a header, the cells, and a checksum over both.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_128;

use crate::engine::{Operator, Task};

/// The changelog forgets that a cell was removed after a day (`delete.retention.ms`): an older copy would bring it back.
const MAXIMUM_AGE: Duration = Duration::from_secs(12 * 3600);
const CHECKSUM: usize = 16;

/// The task whose state a copy holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    pub cluster: String,
    pub changelog: String,
    pub partition: i32,
    pub operator: String,
    pub version: i32,
}

impl Origin {
    pub fn of<O: Operator>(cluster: &str, changelog: &str, partition: i32) -> Self {
        Self {
            cluster: cluster.to_owned(),
            changelog: changelog.to_owned(),
            partition,
            operator: O::NAME.to_owned(),
            version: O::VERSION,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    format: u16,
    origin: Origin,
    /// The changelog's offset up to which the copy holds it.
    changelog_end: i64,
    written_at: i64,
}

const FORMAT: u16 = 1;

/// A copy that was read.
pub(super) struct Snapshot {
    /// The changelog's offset from which on it has to be read.
    pub changelog_end: i64,
    bytes: Vec<u8>,
    cells: usize,
}

/// A folder of copies.
#[derive(Debug, Clone)]
pub(super) struct Snapshots {
    folder: PathBuf,
}

impl Snapshots {
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    fn path(&self, origin: &Origin) -> PathBuf {
        self.folder.join(format!("{}-{}.snapshot", origin.changelog, origin.partition))
    }

    /// Writes a copy of a committed state.
    pub fn write<O: Operator>(&self, origin: &Origin, changelog_end: i64, task: &Task<O>) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let path = self.path(origin);
        // Another worker may write the same one while partitions move: the checksum tells.
        let draft = path.with_extension("draft");
        let written =
            self.write_to(&draft, origin, changelog_end, task).and_then(|()| fs::rename(&draft, &path));
        if written.is_err() {
            // The changelog has all of the state, so the copy is not needed; the error says what was wrong.
            let _ = fs::remove_file(&draft);
        }
        written
    }

    fn write_to<O: Operator>(
        &self,
        draft: &Path,
        origin: &Origin,
        changelog_end: i64,
        task: &Task<O>,
    ) -> io::Result<()> {
        let file = fs::File::create(draft)?;
        let mut out = Hashed { out: BufWriter::with_capacity(1 << 20, file), hasher: XxHash3_128::new() };
        let written_at = Timestamp::now().as_millisecond();
        let header = Header { format: FORMAT, origin: origin.clone(), changelog_end, written_at };
        out.part(&postcard::to_stdvec(&header).map_err(io::Error::other)?)?;
        task.snapshot::<io::Error>(&mut |key, value| {
            out.part(key)?;
            out.part(value.unwrap_or_default())
        })?;
        let checksum = out.hasher.finish_128().to_le_bytes();
        out.out.write_all(&checksum)?;
        let file = out.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()
    }

    /// Reads the copy of a state; `None` if there is none that can be used. `end` is the changelog's. One that can't
    /// be used is removed: what makes it useless now (a changelog that was made anew) may not be seen later.
    pub fn read(&self, origin: &Origin, end: i64) -> Option<Snapshot> {
        let path = self.path(origin);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "reading a local snapshot; the changelog is read instead");
                return None;
            }
        };
        let now = Timestamp::now().as_millisecond();
        let refuse = |reason: &'static str| {
            tracing::warn!(reason, path = %path.display(), "removing a local snapshot; the changelog is read instead");
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(%error, path = %path.display(), "removing a local snapshot");
            }
        };
        check(bytes, origin, end, now).map_err(refuse).ok()
    }
}

fn check(mut bytes: Vec<u8>, origin: &Origin, end: i64, now: i64) -> Result<Snapshot, &'static str> {
    let length = bytes.len().checked_sub(CHECKSUM).ok_or("it is damaged: too short")?;
    let checksum = bytes.split_off(length);
    if XxHash3_128::oneshot(&bytes).to_le_bytes() != *checksum {
        return Err("it is damaged: its checksum is wrong");
    }
    let (header, cells) = part(&bytes).ok_or("it is damaged: no header")?;
    let header: Header = postcard::from_bytes(header).map_err(|_| "its form is not known")?;
    if header.format != FORMAT {
        return Err("its form is not known");
    }
    if header.origin != *origin {
        return Err("it is of another cluster, topic, partition or operator version");
    }
    if header.changelog_end > end {
        return Err("it is from the future: the changelog ends before it");
    }
    if Duration::from_millis(now.abs_diff(header.written_at)) > MAXIMUM_AGE {
        return Err("it is too old");
    }
    let cells = bytes.len() - cells.len();
    Ok(Snapshot { changelog_end: header.changelog_end, bytes, cells })
}

impl Snapshot {
    /// Its cells: keys and values.
    pub fn cells(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = &self.bytes[self.cells..];
        std::iter::from_fn(move || {
            let (key, after) = part(rest)?;
            let (value, after) = part(after)?;
            rest = after;
            Some((key, value))
        })
    }
}

/// A part: its length (4 bytes, little endian), and what it holds.
fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

struct Hashed {
    out: BufWriter<fs::File>,
    hasher: XxHash3_128,
}

impl Hashed {
    fn part(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?.to_le_bytes();
        for bytes in [&length, bytes] {
            self.hasher.write(bytes);
            self.out.write_all(bytes)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::FamilySettings;
    use crate::families::civic::sla::Sla;

    const END: i64 = 40;

    fn origin() -> Origin {
        Origin::of::<Sla>("cluster", "changelog-sla", 1)
    }

    /// A folder with the copy of a task that has folded nothing, and the copy's bytes.
    fn copy() -> (tempfile::TempDir, Snapshots, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::new(folder.path());
        let task = Task::new(Sla::default(), Arc::new(FamilySettings::default()), "civic", 1, 0);
        snapshots.write(&origin(), END, &task).unwrap();
        let bytes = fs::read(snapshots.path(&origin())).unwrap();
        (folder, snapshots, bytes)
    }

    fn now() -> i64 {
        Timestamp::now().as_millisecond()
    }

    fn refusal(bytes: Vec<u8>, origin: &Origin, end: i64, now: i64) -> &'static str {
        check(bytes, origin, end, now).err().expect("it is refused")
    }

    #[test]
    fn i5_a_copy_is_read_as_it_was_written() {
        let (_folder, snapshots, _) = copy();
        let snapshot = snapshots.read(&origin(), END).unwrap();
        assert_eq!(snapshot.changelog_end, END);
        let task = Task::new(Sla::default(), Arc::new(FamilySettings::default()), "civic", 1, 0);
        let mut cells = Vec::new();
        task.snapshot::<()>(&mut |key, value| {
            cells.push((key.to_vec(), value.unwrap_or_default().to_vec()));
            Ok(())
        })
        .unwrap();
        assert!(!cells.is_empty());
        assert!(snapshot.cells().eq(cells.iter().map(|(key, value)| (&**key, &**value))));
    }

    #[test]
    fn i5_a_damaged_copy_is_refused_wherever_a_bit_has_flipped() {
        let (_folder, _, bytes) = copy();
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1 << (place % 8);
            assert!(refusal(damaged, &origin(), END, now()).starts_with("it is damaged"), "byte {place}");
            assert!(refusal(bytes[..place].to_vec(), &origin(), END, now()).starts_with("it is damaged"));
        }
    }

    #[test]
    fn i5_a_foreign_copy_is_refused() {
        let (_folder, _, bytes) = copy();
        let others = [
            Origin { cluster: "another".to_owned(), ..origin() },
            Origin { changelog: "another".to_owned(), ..origin() },
            Origin { partition: 2, ..origin() },
            Origin { operator: "another".to_owned(), ..origin() },
            Origin { version: origin().version + 1, ..origin() },
        ];
        for other in others {
            assert!(refusal(bytes.clone(), &other, END, now()).contains("another cluster"), "{other:?}");
        }
    }

    #[test]
    fn i5_a_copy_from_the_future_is_refused_and_removed() {
        let (_folder, snapshots, bytes) = copy();
        assert!(refusal(bytes, &origin(), END - 1, now()).contains("from the future"));
        assert!(snapshots.read(&origin(), END - 1).is_none());
        assert!(snapshots.read(&origin(), END).is_none(), "the changelog has grown since, but is another");
    }

    #[test]
    fn i5_a_copy_older_than_tombstones_is_refused() {
        let (_folder, _, bytes) = copy();
        let age = MAXIMUM_AGE.as_millis() as i64;
        assert!(check(bytes.clone(), &origin(), END, now() + age - 60_000).is_ok());
        assert!(refusal(bytes, &origin(), END, now() + age + 60_000).contains("too old"));
    }
}
