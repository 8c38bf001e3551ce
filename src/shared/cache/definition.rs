//! The definition of a cache, and the layout of its memory that follows from it.

use serde::{Deserialize, Serialize};

/// Size of a chunk, bytes. The memory of an item consists of chunks.
pub(super) const CHUNK: usize = 256;

/// Number of words of a chunk.
pub(super) const CHUNK_WORDS: usize = CHUNK / 8;

/// Number of words before the key of an item.
pub(super) const HEAD_WORDS: usize = 4;

/// Number of version counters. A bucket belongs to the stripe `bucket % STRIPES`.
pub(super) const STRIPES: usize = 64;

/// The definition of a cache (`cache2`).
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct CacheDefinition {
    /// The name by which the application refers to the cache.
    pub name: String,
    /// Maximum number of items.
    pub items: u32,
    /// Size of a block, bytes. It is the maximum size of a value, unless a value may span several blocks.
    pub block_size: u64,
    /// Number of blocks.
    pub blocks: u32,
    /// Whether a value may span several blocks (`bitmap`).
    pub spans_blocks: bool,
    /// Maximum size of a key, bytes.
    pub key_size: u32,
    /// Number of buckets of the hash table (`hashsize`).
    pub buckets: u32,
    /// The name of the hash function in uWSGI, for statistics.
    pub hash: String,
    /// The value from which `cache_inc` and similar functions start.
    pub math_initial: i64,
    /// What happens if a new item does not fit.
    pub when_full: WhenFull,
    /// Whether it is logged that an item was refused because the cache was full.
    pub logs_full: bool,
    /// When expired items are removed.
    pub expiry: Expiry,
    /// The file in which the items outlive the instance.
    pub store: Option<Store>,
}

/// What happens if a new item does not fit.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// The new item is refused.
    Refuse,
    /// The items that were not used for the longest time are removed (`purge_lru`).
    RemoveOldest,
    /// All items are removed (`clear_on_full`).
    Clear,
}

/// When expired items are removed from memory. An expired item cannot be read, even if it is still in memory.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// Periodically, and when the cache is written to.
    Swept,
    /// Only when an expired item is read, or the cache is written to (`lazy_expire`).
    Lazy,
    /// Items do not expire (`no_expire`).
    Never,
}

/// The file of a cache.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// The path of the file.
    pub path: String,
    /// Interval between two writes of the file, seconds; 0 for the default.
    pub sync: u32,
    /// Whether a file with another content is replaced (`store_delete`).
    pub replaces: bool,
}

impl CacheDefinition {
    /// Creates the definition of a cache with this name and number of items. All other settings have their defaults.
    pub fn new(name: impl Into<String>, items: u32) -> Self {
        Self {
            name: name.into(),
            items,
            block_size: 65_536,
            blocks: items,
            spans_blocks: false,
            key_size: 2048,
            buckets: 65_536,
            hash: "djb33x".to_owned(),
            math_initial: 0,
            when_full: WhenFull::Refuse,
            logs_full: true,
            expiry: Expiry::Swept,
            store: None,
        }
    }

    /// Maximum size of a value, bytes.
    pub fn max_value(&self) -> u64 {
        match self.spans_blocks {
            true => self.block_size.saturating_mul(self.blocks.into()),
            false => self.block_size,
        }
    }

    /// Number of blocks that a value of this size takes.
    pub(super) fn blocks_of(&self, value: u64) -> u32 {
        u32::try_from(value.div_ceil(self.block_size.max(1))).unwrap_or(u32::MAX)
    }

    /// The size of the cache's memory when it is full, bytes. `None` if the cache is too large.
    pub fn memory(&self) -> Option<usize> {
        Layout::of(self).map(|layout| layout.len)
    }
}

/// The offsets and sizes of the tables in a cache's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) items: u32,
    pub(super) chunks: u32,
    pub(super) buckets: u32,
    pub(super) bucket_table: usize,
    pub(super) slot_table: usize,
    pub(super) link_table: usize,
    pub(super) chunk_table: usize,
    pub(super) len: usize,
}

/// Space for the header and the stripes.
const TABLES_START: usize = 4096 + STRIPES * 64;

/// Size of a slot, bytes.
pub(super) const SLOT: usize = 32;

/// Number of words of an item.
pub(super) fn words_of(key: u64, value: u64) -> u64 {
    (key.div_ceil(8))
        .saturating_add(value.div_ceil(8))
        .saturating_add(HEAD_WORDS as u64)
}

/// Number of chunks of an item.
pub(super) fn chunks_of(key: u64, value: u64) -> u64 {
    words_of(key, value).div_ceil(CHUNK_WORDS as u64)
}

impl Layout {
    pub(super) fn of(definition: &CacheDefinition) -> Option<Self> {
        let items = u64::from(definition.items);
        let key = u64::from(definition.key_size);
        let chunks = match definition.spans_blocks {
            false => items.checked_mul(chunks_of(key, definition.block_size))?,
            true => {
                let blocks = definition.block_size.div_ceil(CHUNK as u64);
                let values = blocks.checked_mul(definition.blocks.into())?;
                // the last chunk of each item may be partly unused
                items
                    .checked_mul(chunks_of(key, 0) + 1)?
                    .checked_add(values)?
            }
        };
        let chunks = u32::try_from(chunks).ok().filter(|it| *it < u32::MAX - 1)?;
        let items = u32::try_from(items).ok().filter(|it| *it < u32::MAX - 1)?;
        let buckets = definition.buckets.max(1);
        let bucket_table = TABLES_START;
        let after = |offset: usize, count: u32, size: usize| {
            let end = size.checked_mul(count as usize)?.checked_add(offset)?;
            end.checked_next_multiple_of(4096)
        };
        let slot_table = after(bucket_table, buckets, 4)?;
        let link_table = after(slot_table, items, SLOT)?;
        let chunk_table = after(link_table, chunks, 4)?;
        let len = after(chunk_table, chunks, CHUNK)?;
        i64::try_from(len).ok()?;
        Some(Self {
            items,
            chunks,
            buckets,
            bucket_table,
            slot_table,
            link_table,
            chunk_table,
            len,
        })
    }
}
