//! The state of a cache, for statistics.

use std::sync::atomic::Ordering::Relaxed;

use super::Cache;
use super::memory::{Header, Stripe};

/// The state of a cache, for statistics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheStatistics {
    /// The name of the cache.
    pub name: String,
    /// The name of the hash function (`hash`).
    pub hash: String,
    /// Number of buckets of the hash table.
    pub hash_size: u32,
    /// Maximum size of a key, bytes.
    pub key_size: u32,
    /// Maximum number of items.
    pub max_items: u32,
    /// Number of blocks.
    pub blocks: u32,
    /// Size of a block, bytes.
    pub block_size: u64,
    /// Number of items.
    pub items: u32,
    /// Number of reads that found an item.
    pub hits: u64,
    /// Number of reads that found no item.
    pub misses: u64,
    /// Number of items that were refused because the cache was full.
    pub full: u64,
    /// Time of the last change, seconds since 1970; 0 if there was no change.
    pub last_modified_at: u64,
}

impl Cache {
    /// The state of the cache. Takes no lock.
    pub fn statistics(&self) -> CacheStatistics {
        let count = |counter: fn(&Stripe) -> u64| {
            let stripes = self.memory.stripes().into_iter().flatten();
            stripes.map(counter).fold(0, u64::wrapping_add)
        };
        let number = |counter: fn(&Header) -> u64| self.memory.header().map_or(0, counter);
        let definition = &self.definition;
        CacheStatistics {
            name: definition.name.clone(),
            hash: definition.hash.clone(),
            hash_size: definition.buckets,
            key_size: definition.key_size,
            max_items: definition.items,
            blocks: definition.blocks,
            block_size: definition.block_size,
            items: number(|it| it.items.load(Relaxed).into()) as u32,
            hits: count(|it| it.hits.load(Relaxed)),
            misses: count(|it| it.misses.load(Relaxed)),
            full: number(|it| it.full.load(Relaxed)),
            last_modified_at: number(|it| it.modified.load(Relaxed)),
        }
    }
}
