//! The memory of one item: a chain of chunks that holds a head, the key and the value.
//!
//! A reader may read a chain while the owner of the lock reuses its chunks. The reader then gets a mixture of two
//! items, detects this by the version of the stripe, and repeats the read.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::definition::{CHUNK_WORDS, CacheDefinition, HEAD_WORDS};
use super::memory::{Memory, index};

/// The head of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ItemHead {
    pub(super) hash: u64,
    /// Time at which the item expires, milliseconds since 1970; 0 means never.
    pub(super) expires: u64,
    pub(super) value: u64,
    pub(super) key: u64,
}

impl ItemHead {
    #[inline]
    pub(super) fn read(memory: &Memory, first: u32) -> Option<Self> {
        match memory.chunk(first)? {
            [hash, expires, value, key, ..] => Some(Self {
                hash: hash.load(Relaxed),
                expires: expires.load(Relaxed),
                value: value.load(Relaxed),
                key: key.load(Relaxed),
            }),
            _ => None,
        }
    }

    /// Whether an item can have these sizes. The application can write any sizes into the memory, so nothing is
    /// allocated or searched by sizes that do not fit.
    #[inline]
    pub(super) fn fits(&self, definition: &CacheDefinition) -> bool {
        (1..=u64::from(definition.key_size)).contains(&self.key)
            && (1..=definition.max_value()).contains(&self.value)
    }

    #[inline]
    pub(super) fn is_expired(&self, now: u64) -> bool {
        self.expires != 0 && self.expires <= now
    }

    /// Number of the first word of the value.
    fn value_word(&self) -> usize {
        HEAD_WORDS + (self.key as usize).div_ceil(8)
    }
}

/// Calls `visit` with the words from number `from` on, in pieces, until `visit` returns false. `None` if the chain ends
/// before, or `visit` has returned false. The chain may contain a cycle, so the number of steps is limited.
#[inline]
fn visit(
    memory: &Memory,
    first: u32,
    (from, count): (usize, usize),
    mut visit: impl FnMut(&[AtomicU64]) -> bool,
) -> Option<()> {
    let (mut chunk, mut skip, mut left) = (first, from, count);
    for _ in 0..memory.layout.chunks {
        if left == 0 {
            break;
        }
        let words = memory.chunk(chunk)?;
        if skip < CHUNK_WORDS {
            let piece = words.get(skip..CHUNK_WORDS.min(skip + left))?;
            if !visit(piece) {
                return None;
            }
            left -= piece.len();
        }
        skip = skip.saturating_sub(CHUNK_WORDS);
        if left > 0 {
            chunk = index(memory.link(chunk)?.load(Relaxed))?;
        }
    }
    (left == 0).then_some(())
}

/// Whether the item has this key.
#[inline]
pub(super) fn has_key(memory: &Memory, first: u32, head: &ItemHead, key: &[u8]) -> bool {
    let mut rest = key.chunks(8);
    head.key == key.len() as u64
        && visit(
            memory,
            first,
            (HEAD_WORDS, key.len().div_ceil(8)),
            |words| {
                words.iter().zip(rest.by_ref()).all(|(word, part)| {
                    let mut bytes = [0; 8];
                    bytes[..part.len()].copy_from_slice(part);
                    word.load(Relaxed) == u64::from_ne_bytes(bytes)
                })
            },
        )
        .is_some()
}

fn copy(memory: &Memory, first: u32, from: usize, len: usize) -> Option<Vec<u8>> {
    let count = len.div_ceil(8);
    let mut bytes = Vec::with_capacity(count * 8);
    visit(memory, first, (from, count), |words| {
        bytes.extend(words.iter().flat_map(|it| it.load(Relaxed).to_ne_bytes()));
        true
    })?;
    bytes.truncate(len);
    Some(bytes)
}

/// Copies the value of an item. `None` if the chain is too short.
#[inline]
pub(super) fn value(memory: &Memory, first: u32, head: &ItemHead) -> Option<Vec<u8>> {
    copy(memory, first, head.value_word(), head.value as usize)
}

/// Copies the key of an item. `None` if the chain is too short.
pub(super) fn key(memory: &Memory, first: u32, head: &ItemHead) -> Option<Vec<u8>> {
    copy(memory, first, HEAD_WORDS, head.key as usize)
}

/// Calls `change` with the word of a value of 8 bytes. The word is written by one store, so no process ever sees a part
/// of it. `None` if the value has another size.
pub(super) fn change_number(
    memory: &Memory,
    first: u32,
    head: &ItemHead,
    change: impl FnOnce(i64) -> i64,
) -> Option<()> {
    if head.value != 8 {
        return None;
    }
    let mut change = Some(change);
    visit(memory, first, (head.value_word(), 1), |words| {
        if let (Some(word), Some(change)) = (words.first(), change.take()) {
            let number = word.load(Relaxed).cast_signed();
            word.store(change(number).cast_unsigned(), Relaxed);
        }
        true
    })
}

/// Writes an item into a chain of unused chunks. `None` if the chain is too short.
pub(super) fn write(
    memory: &Memory,
    first: u32,
    head: &ItemHead,
    key: &[u8],
    value: &[u8],
) -> Option<()> {
    if let [hash, expires, value_size, key_size, ..] = memory.chunk(first)? {
        hash.store(head.hash, Relaxed);
        expires.store(head.expires, Relaxed);
        value_size.store(head.value, Relaxed);
        key_size.store(head.key, Relaxed);
    }
    let mut parts = key.chunks(8).chain(value.chunks(8));
    let count = key.len().div_ceil(8) + value.len().div_ceil(8);
    visit(memory, first, (HEAD_WORDS, count), |words| {
        for (word, part) in words.iter().zip(parts.by_ref()) {
            let mut bytes = [0; 8];
            bytes[..part.len()].copy_from_slice(part);
            word.store(u64::from_ne_bytes(bytes), Relaxed);
        }
        true
    })
}
