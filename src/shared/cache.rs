//! A cache in memory that the processes of an instance share (`cache2`).
//!
//! Readers take no lock. They repeat a read if a version counter has changed meanwhile. Writers take one robust lock. A
//! process can be killed at any instruction. Therefore each change becomes visible by one store, and the next owner of
//! the lock repairs everything else (`recovery`). The memory is sized for a full cache, but the kernel provides its
//! pages when they are first used.

mod changes;
mod chunks;
pub mod definition;
mod item;
mod memory;
mod recency;
mod recovery;
mod snapshot;
mod statistics;
mod writer;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use definition::{CacheDefinition, Expiry, Store, WhenFull};
pub use snapshot::LoadError;
pub use statistics::CacheStatistics;
pub use writer::Refused;

use self::definition::Layout;
use self::item::ItemHead;
use self::memory::{Memory, Stripe, hash, index};
use self::writer::{NewItem, Writer};
use super::mapping::Mapping;

const MAGIC: u64 = 0x7275_7773_6763_0001;

/// Number of attempts to read without the lock.
const READ_ATTEMPTS: u32 = 100;

/// Number of slots that a sweep examines each time that it holds the lock.
const SWEPT_AT_ONCE: u32 = 1024;

/// Maximum time that the master waits for the lock.
const MASTER_WAITS: Duration = Duration::from_millis(20);

/// When an item expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// The item never expires.
    Unlimited,
    /// The item expires after this time.
    Seconds(u64),
    /// The item expires at once: it is not stored, and an existing item of the key is removed.
    Over,
}

/// An operation on a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Math {
    /// Addition.
    Add,
    /// Subtraction.
    Subtract,
    /// Multiplication.
    Multiply,
    /// Division; the result of a division by 0 is 0.
    Divide,
}

/// A cache that is mapped into this process.
pub struct Cache {
    definition: CacheDefinition,
    memory: Memory,
    /// The descriptor of the memfd, in the process that has created the cache.
    fd: Option<OwnedFd>,
}

impl Cache {
    /// Creates an empty cache.
    ///
    /// # Errors
    /// `InvalidInput` if the cache is too large; those of memfd_create(2), ftruncate(2), fcntl(2) and mmap(2).
    pub fn create(definition: CacheDefinition, seed: u64) -> io::Result<Self> {
        let layout = Layout::of(&definition).ok_or(io::ErrorKind::InvalidInput)?;
        let (mapping, fd) = Mapping::create(c"ruwsgi-cache", layout.len)?;
        let cache = Self {
            definition,
            memory: Memory::new(mapping, layout),
            fd: Some(fd),
        };
        if let Some(header) = cache.memory.header() {
            header.seed.store(seed, Relaxed);
            header.magic.store(MAGIC, Relaxed);
        }
        Ok(cache)
    }

    /// Maps the cache behind a received descriptor, which has this definition.
    ///
    /// # Errors
    /// `InvalidData` if the file is not a cache of this definition; those of fstat(2) and mmap(2).
    pub fn open(fd: BorrowedFd<'_>, definition: CacheDefinition) -> io::Result<Self> {
        let layout = Layout::of(&definition).ok_or(io::ErrorKind::InvalidInput)?;
        let mapping = Mapping::open(fd, layout.len)?;
        let memory = Memory::new(mapping, layout);
        let magic = memory.header().map(|header| header.magic.load(Relaxed));
        match magic {
            Some(MAGIC) => Ok(Self {
                definition,
                memory,
                fd: None,
            }),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// The descriptor of the memfd, which the master sends to the zygote; `None` in other processes.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }

    /// The definition of the cache.
    pub fn definition(&self) -> &CacheDefinition {
        &self.definition
    }

    /// Whether another process holds the lock, so that a change would wait.
    #[inline]
    pub fn is_busy(&self) -> bool {
        self.memory.header().is_some_and(|it| it.lock.is_taken())
    }

    fn writer(&self, now: u64) -> Option<Writer<'_>> {
        let header = self.memory.header()?;
        let taken = header.lock.lock();
        Some(Writer::new(
            &self.memory,
            header,
            &self.definition,
            taken,
            now,
        ))
    }

    fn writer_within(&self, timeout: Duration) -> Option<Writer<'_>> {
        let header = self.memory.header()?;
        let taken = header.lock.lock_within(timeout)?;
        Some(Writer::new(
            &self.memory,
            header,
            &self.definition,
            taken,
            now(),
        ))
    }

    fn hash(&self, key: &[u8]) -> u64 {
        let seed = self.memory.header().map_or(0, |it| it.seed.load(Relaxed));
        hash(seed, key)
    }

    /// Returns the value of a key.
    pub fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let found = self.read(key, |first, head| item::value(&self.memory, first, head));
        let stripe = self.memory.stripe(self.memory.bucket_of(self.hash(key)))?;
        match found {
            Some(_) => stripe.hits.fetch_add(1, Relaxed),
            None => stripe.misses.fetch_add(1, Relaxed),
        };
        found
    }

    /// Whether the key has a value.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.read(key, |_, _| Some(())).is_some()
    }

    /// Reads the item of a key. If a writer changes the chain at the same time, the result of `copy` is dropped.
    fn read<T>(&self, key: &[u8], copy: impl Fn(u32, &ItemHead) -> Option<T>) -> Option<T> {
        let (hash, now) = (self.hash(key), now());
        if self.definition.when_full != WhenFull::RemoveOldest {
            let stripe = self.memory.stripe(self.memory.bucket_of(hash))?;
            for _ in 0..READ_ATTEMPTS {
                if let Some(version) = stripe.begin_read() {
                    let found = self.find(key, hash, now, (stripe, version));
                    let copied = found.and_then(|(first, head)| copy(first, &head));
                    if stripe.is_still(version) {
                        return copied;
                    }
                }
                std::hint::spin_loop();
            }
        }
        let writer = self.writer(now)?;
        let found = writer.find_valid(key, hash)?;
        writer.touch(&found);
        copy(found.first, &found.head)
    }

    /// Finds the chain of a key without the lock. The result is valid if the version of the stripe has not changed.
    fn find(
        &self,
        key: &[u8],
        hash: u64,
        now: u64,
        (stripe, version): (&Stripe, u64),
    ) -> Option<(u32, ItemHead)> {
        let bucket = self.memory.bucket(self.memory.bucket_of(hash))?;
        let mut next = bucket.load(Relaxed);
        for step in 0..self.memory.layout.items {
            let it = self.memory.slot(index(next)?)?;
            if it.hash.load(Relaxed) == hash
                && let Some(first) = index(it.head.load(Relaxed))
                && let Some(head) = ItemHead::read(&self.memory, first)
                && item::has_key(&self.memory, first, &head, key)
            {
                // the version is checked first, because the size is not reliable while a value is being written
                let valid = stripe.is_still(version)
                    && head.fits(&self.definition)
                    && !head.is_expired(now);
                return valid.then_some((first, head));
            }
            next = it.next.load(Relaxed);
            if step % 64 == 63 && !stripe.is_still(version) {
                return None;
            }
        }
        None
    }

    /// Stores a value for a key that has no value.
    ///
    /// # Errors
    /// Why the item was not stored.
    pub fn add(&self, key: &[u8], value: &[u8], lifetime: Lifetime) -> Result<(), Refused> {
        self.put(key, value, lifetime, false)
    }

    /// Stores a value. An existing value of the key is replaced.
    ///
    /// # Errors
    /// Why the item was not stored.
    pub fn set(&self, key: &[u8], value: &[u8], lifetime: Lifetime) -> Result<(), Refused> {
        self.put(key, value, lifetime, true)
    }

    fn put(
        &self,
        key: &[u8],
        value: &[u8],
        lifetime: Lifetime,
        replaces: bool,
    ) -> Result<(), Refused> {
        self.check_sizes(key, value)?;
        let now = now();
        let writer = self.writer(now).ok_or(Refused::Damaged)?;
        writer.sweep_a_little();
        let item = NewItem {
            key,
            value,
            hash: self.hash(key),
            expires: self.expiry(lifetime, now),
        };
        if !replaces && writer.find_valid(key, item.hash).is_some() {
            return Err(Refused::Exists);
        }
        if lifetime == Lifetime::Over {
            if let Some(found) = writer.find(key, item.hash) {
                writer.remove(&found);
            }
            return Ok(());
        }
        self.stored(&writer, item)
    }

    fn check_sizes(&self, key: &[u8], value: &[u8]) -> Result<(), Refused> {
        let sizes = [
            (key.len() as u64, u64::from(self.definition.key_size)),
            (value.len() as u64, self.definition.max_value()),
        ];
        match sizes.iter().all(|(size, most)| (1..=*most).contains(size)) {
            true => Ok(()),
            false => Err(Refused::Size),
        }
    }

    /// Stores an item. Repairs the tables if they are damaged.
    fn stored(&self, writer: &Writer<'_>, item: NewItem<'_>) -> Result<(), Refused> {
        let result = writer.store(item);
        if result == Err(Refused::Damaged) {
            recovery::rebuild(&self.memory, writer.header, &self.definition);
        }
        result
    }

    fn expiry(&self, lifetime: Lifetime, now: u64) -> u64 {
        match lifetime {
            Lifetime::Seconds(seconds) if self.definition.expiry != Expiry::Never => {
                now.saturating_add(seconds.saturating_mul(1000))
            }
            _ => 0,
        }
    }

    /// Removes the value of a key. Returns whether there was one.
    pub fn remove(&self, key: &[u8]) -> bool {
        let Some(writer) = self.writer(now()) else {
            return false;
        };
        let Some(found) = writer.find(key, self.hash(key)) else {
            return false;
        };
        writer.remove(&found);
        !found.head.is_expired(writer.now)
    }

    /// Removes all values.
    pub fn clear(&self) {
        if let Some(writer) = self.writer(now()) {
            writer.clear();
        }
    }

    /// Calculates with the number of a key, a value of 8 bytes. If the key has no value, the calculation starts from
    /// `math_initial`, and the new item gets `lifetime`.
    ///
    /// # Errors
    /// Why the number was not changed.
    pub fn calculate(
        &self,
        key: &[u8],
        (math, operand): (Math, i64),
        lifetime: Lifetime,
    ) -> Result<(), Refused> {
        self.check_sizes(key, &[0; 8])?;
        let now = now();
        let writer = self.writer(now).ok_or(Refused::Damaged)?;
        let hash = self.hash(key);
        let result = |number| math.apply(number, operand);
        if let Some(found) = writer.find_valid(key, hash) {
            item::change_number(&self.memory, found.first, &found.head, result)
                .ok_or(Refused::NotANumber)?;
            writer.touch(&found);
            writer.changed();
            return Ok(());
        }
        if lifetime == Lifetime::Over {
            return Ok(());
        }
        let value = result(self.definition.math_initial).to_ne_bytes();
        let item = NewItem {
            key,
            value: &value,
            hash,
            expires: self.expiry(lifetime, now),
        };
        self.stored(&writer, item)
    }

    /// Returns the number of a key. `None` if the key has no value, or a value whose size is not 8 bytes.
    pub fn number(&self, key: &[u8]) -> Option<i64> {
        let value = self.read(key, |first, head| {
            (head.value == 8).then(|| item::value(&self.memory, first, head))?
        })?;
        Some(i64::from_ne_bytes(value.try_into().ok()?))
    }

    /// Returns the keys of all values.
    pub fn keys(&self) -> Vec<Vec<u8>> {
        let mut keys = Vec::new();
        let Some(writer) = self.writer(now()) else {
            return keys;
        };
        for slot in 0..writer
            .header
            .slots_used
            .load(Relaxed)
            .min(self.memory.layout.items)
        {
            if let Some((first, head)) = writer.item_of(slot)
                && !head.is_expired(writer.now)
            {
                keys.extend(item::key(&self.memory, first, &head));
            }
        }
        keys
    }

    /// Removes expired items. Returns early if another process holds the lock for long, because the master, which calls
    /// this function, must not wait.
    pub fn sweep(&self) {
        if self.definition.expiry != Expiry::Swept {
            return;
        }
        for _ in 0..=self.definition.items / SWEPT_AT_ONCE {
            match self.writer_within(MASTER_WAITS) {
                Some(writer) if !writer.sweep(SWEPT_AT_ONCE) => {}
                _ => return,
            }
        }
    }

    /// The time at which the next item expires; `None` if no item expires.
    pub fn next_expiry(&self) -> Option<SystemTime> {
        let due = self.memory.header()?.next_expiry.load(Relaxed);
        UNIX_EPOCH.checked_add(Duration::from_millis(Some(due).filter(|due| *due != 0)?))
    }

    /// Number of changes so far.
    pub fn changes(&self) -> u64 {
        self.memory
            .header()
            .map_or(0, |it| it.changes.load(Relaxed))
    }
}

impl Math {
    fn apply(self, number: i64, operand: i64) -> i64 {
        match self {
            Self::Add => number.wrapping_add(operand),
            Self::Subtract => number.wrapping_sub(operand),
            Self::Multiply => number.wrapping_mul(operand),
            Self::Divide if operand == 0 => 0,
            Self::Divide => number.wrapping_div(operand),
        }
    }
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests;
