//! Saves the items of a cache to a file, and loads them from the file (`store`).

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::item;
use super::writer::NewItem;
use super::{Cache, now};

/// The first bytes of a file: a name and the version of the format.
const MAGIC: &[u8; 16] = b"ruwsgi cache 1\n\0";

/// The number in place of a key size that marks the end of a file.
const END: u64 = u64::MAX;

/// Number of slots that are copied each time that the lock is held.
const AT_ONCE: u32 = 64;

/// Maximum time that a copy waits for the lock.
const WAIT: Duration = Duration::from_secs(2);

/// Why a file could not be loaded.
#[derive(Debug)]
pub enum LoadError {
    /// The file is not the store of a cache, or it is damaged.
    Format,
    /// The file cannot be read.
    Read(io::Error),
}

impl From<io::Error> for LoadError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Format,
            _ => Self::Read(error),
        }
    }
}

impl Cache {
    /// Writes the items to a new file, which replaces the file at `path` when it is complete. If no file can be created
    /// in the directory, the file at `path` is overwritten.
    ///
    /// # Errors
    /// The failed operation on a file; `TimedOut` if a process of the application holds the lock.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let mut part: PathBuf = path.into();
        part.as_mut_os_string().push(".new");
        match File::create(&part) {
            Ok(file) => {
                let written = self
                    .write_items(file)
                    .and_then(|()| fs::rename(&part, path));
                if written.is_err() {
                    // the failed write is reported, not a failure of the removal
                    let _ = fs::remove_file(&part);
                }
                written
            }
            Err(_) => self.write_items(File::create(path)?),
        }
    }

    fn write_items(&self, file: File) -> io::Result<()> {
        let mut out = BufWriter::with_capacity(1 << 16, file);
        out.write_all(MAGIC)?;
        let mut buffer = Vec::new();
        let mut begin = 0;
        while let Some(end) = self.copy_slots(begin, &mut buffer)? {
            out.write_all(&buffer)?;
            buffer.clear();
            begin = end;
        }
        out.write_all(&END.to_le_bytes())?;
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()
    }

    /// Appends the items of some slots to `buffer`, and returns the number of the next slot; `None` at the end.
    fn copy_slots(&self, begin: u32, buffer: &mut Vec<u8>) -> io::Result<Option<u32>> {
        let writer = self.writer_within(WAIT).ok_or(io::ErrorKind::TimedOut)?;
        let used = writer
            .header
            .slots_used
            .load(Relaxed)
            .min(self.memory.layout.items);
        if begin >= used {
            return Ok(None);
        }
        let end = begin.saturating_add(AT_ONCE).min(used);
        for slot in begin..end {
            let Some((first, head)) = writer.item_of(slot) else {
                continue;
            };
            if head.is_expired(writer.now) {
                continue;
            }
            let key = item::key(&self.memory, first, &head);
            let value = item::value(&self.memory, first, &head);
            if let (Some(key), Some(value)) = (key, value) {
                for number in [head.key, head.value, head.expires] {
                    buffer.extend(number.to_le_bytes());
                }
                buffer.extend(key);
                buffer.extend(value);
            }
        }
        Ok(Some(end))
    }

    /// Adds the items of a file that have not expired, until the cache is full.
    ///
    /// # Errors
    /// [`LoadError`]; the items before the error are loaded.
    pub fn load(&self, path: &Path) -> Result<u64, LoadError> {
        let mut file = BufReader::new(File::open(path)?);
        let mut magic = [0; MAGIC.len()];
        file.read_exact(&mut magic)?;
        if &magic != MAGIC {
            return Err(LoadError::Format);
        }
        let mut count = 0;
        loop {
            let key_size = number(&mut file)?;
            if key_size == END {
                return Ok(count);
            }
            let (value_size, expires) = (number(&mut file)?, number(&mut file)?);
            let key = bytes(&mut file, key_size)?;
            let value = bytes(&mut file, value_size)?;
            count += u64::from(self.restore(&key, &value, expires));
        }
    }

    fn restore(&self, key: &[u8], value: &[u8], expires: u64) -> bool {
        let item = NewItem {
            key,
            value,
            hash: self.hash(key),
            expires,
        };
        self.check_sizes(key, value).is_ok()
            && (expires == 0 || expires > now())
            && self
                .writer(now())
                .is_some_and(|writer| self.stored(&writer, item).is_ok())
    }
}

fn number(file: &mut impl Read) -> Result<u64, LoadError> {
    let mut bytes = [0; 8];
    file.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn bytes(file: &mut impl Read, size: u64) -> Result<Vec<u8>, LoadError> {
    // the size in the file may be wrong, so the buffer grows only with the bytes that the file has
    let mut bytes = Vec::new();
    let read = file.by_ref().take(size).read_to_end(&mut bytes)?;
    match read as u64 == size {
        true => Ok(bytes),
        false => Err(LoadError::Format),
    }
}
