#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::*;
use crate::shared::robust_lock::Taken;

fn cache(definition: CacheDefinition) -> Cache {
    Cache::create(definition, 7).unwrap()
}

const ALWAYS: Lifetime = Lifetime::Unlimited;

#[test]
fn values_are_stored_replaced_and_removed() {
    let cache = cache(CacheDefinition::new("c", 100));
    for size in [1, 7, 8, 200, 256, 5000, 65_536] {
        let value: Vec<u8> = (0..size).map(|it| it as u8).collect();
        cache.set(b"key", &value, ALWAYS).unwrap();
        assert_eq!(cache.get(b"key").unwrap(), value);
    }
    assert_eq!(cache.add(b"key", b"x", ALWAYS), Err(Refused::Exists));
    assert!(cache.remove(b"key") && !cache.remove(b"key"));
    assert_eq!(cache.get(b"key"), None);
    assert_eq!(cache.add(b"", b"x", ALWAYS), Err(Refused::Size));
    assert_eq!(cache.add(b"x", b"", ALWAYS), Err(Refused::Size));
    assert_eq!(cache.add(&[b'k'; 2049], b"x", ALWAYS), Err(Refused::Size));
    assert_eq!(cache.add(b"x", &[0; 65_537], ALWAYS), Err(Refused::Size));
    let statistics = cache.statistics();
    assert_eq!(
        (statistics.items, statistics.hits, statistics.misses),
        (0, 7, 1)
    );
}

#[test]
fn a_full_cache_holds_all_its_items_at_full_size() {
    let mut definition = CacheDefinition::new("c", 10);
    definition.block_size = 1000;
    definition.key_size = 50;
    let cache = cache(definition);
    for round in 0..3 {
        for number in 0..10_u8 {
            cache
                .set(&[number + 1; 50], &[round; 1000], ALWAYS)
                .unwrap();
        }
    }
    assert_eq!(cache.set(b"k", b"v", ALWAYS), Err(Refused::Full));
    assert_eq!(cache.statistics().full, 1);
    assert_eq!(cache.keys().len(), 10);
    cache.clear();
    assert_eq!(cache.keys().len(), 0);
    cache.set(b"k", b"v", ALWAYS).unwrap();
    assert_eq!(cache.get(b"k").unwrap(), b"v");
}

#[test]
fn a_value_spans_blocks_within_their_number() {
    let mut definition = CacheDefinition::new("c", 4);
    (
        definition.block_size,
        definition.blocks,
        definition.spans_blocks,
    ) = (100, 8, true);
    let cache = cache(definition);
    cache.set(b"a", &[1; 800], ALWAYS).unwrap();
    assert_eq!(cache.set(b"b", &[1; 1], ALWAYS), Err(Refused::Full));
    cache.set(b"a", &[2; 500], ALWAYS).unwrap();
    cache.set(b"b", &[3; 300], ALWAYS).unwrap();
    assert_eq!(cache.get(b"a").unwrap(), [2; 500]);
    assert_eq!(cache.set(b"c", &[1; 801], ALWAYS), Err(Refused::Size));
}

#[test]
fn the_least_recently_used_item_makes_room() {
    let mut definition = CacheDefinition::new("c", 3);
    definition.when_full = WhenFull::RemoveOldest;
    let cache = cache(definition);
    for key in [b"a", b"b", b"c"] {
        cache.set(key, b"x", ALWAYS).unwrap();
    }
    // the items are removed in the order in which they were read
    for key in [b"c", b"a", b"b"] {
        cache.get(key).unwrap();
    }
    cache.set(b"d", b"x", ALWAYS).unwrap();
    assert_eq!(cache.get(b"c"), None);
    cache.set(b"e", b"x", ALWAYS).unwrap();
    assert_eq!(cache.get(b"a"), None);
    assert!(cache.contains(b"b") && cache.contains(b"d") && cache.contains(b"e"));
}

#[test]
fn items_expire_and_make_room() {
    let cache = cache(CacheDefinition::new("c", 2));
    cache.set(b"a", b"x", Lifetime::Seconds(0)).unwrap();
    cache.set(b"b", b"x", Lifetime::Seconds(100)).unwrap();
    assert_eq!((cache.get(b"a"), cache.contains(b"b")), (None, true));
    cache.add(b"c", b"x", ALWAYS).unwrap();
    assert_eq!(cache.set(b"d", b"x", ALWAYS), Err(Refused::Full));
    cache.set(b"b", b"x", Lifetime::Over).unwrap();
    assert_eq!(cache.get(b"b"), None);
    cache.set(b"e", b"x", Lifetime::Seconds(0)).unwrap();
    cache.sweep();
    assert_eq!(cache.statistics().items, 1);
}

#[test]
fn numbers_are_calculated_in_place() {
    let mut definition = CacheDefinition::new("c", 4);
    definition.math_initial = 100;
    let cache = cache(definition);
    for (math, result) in [
        ((Math::Add, 1), 101),
        ((Math::Subtract, 2), 99),
        ((Math::Multiply, 2), 198),
        ((Math::Divide, 3), 66),
        ((Math::Divide, 0), 0),
    ] {
        cache.calculate(b"n", math, ALWAYS).unwrap();
        assert_eq!(cache.number(b"n"), Some(result));
    }
    cache.set(b"t", b"text", ALWAYS).unwrap();
    assert_eq!(
        cache.calculate(b"t", (Math::Add, 1), ALWAYS),
        Err(Refused::NotANumber)
    );
    assert_eq!(cache.number(b"t"), None);
}

#[test]
fn recovery_restores_all_items_and_the_order_of_their_use() {
    let mut definition = CacheDefinition::new("c", 50);
    definition.when_full = WhenFull::RemoveOldest;
    let cache = cache(definition.clone());
    for number in 0..50_u8 {
        cache.set(&[number + 1], &[number; 700], ALWAYS).unwrap();
    }
    cache.get(&[1]).unwrap();
    assert!(cache.remove(&[9]));
    let header = cache.memory.header().unwrap();
    // the state that a process can leave when it dies in the middle of a change
    let lost = chunks::take(&cache.memory, header, 20).unwrap();
    chunks::take_slot(&cache.memory, header).unwrap();
    header.items.store(3, Relaxed);
    header.oldest.store(0, Relaxed);
    cache
        .memory
        .bucket(cache.memory.bucket_of(cache.hash(&[5])))
        .unwrap()
        .store(0, Relaxed);
    recovery::rebuild(&cache.memory, header, &definition);
    let _ = lost;
    for number in (0..50_u8).filter(|it| *it != 8) {
        assert!(cache.contains(&[number + 1]), "{number}");
    }
    assert_eq!(cache.statistics().items, 49);
    // `contains` is a use too
    cache.set(b"new", b"x", ALWAYS).unwrap();
    cache.set(b"newer", b"x", ALWAYS).unwrap();
    assert!(!cache.contains(&[1]) && cache.contains(&[2]));
}

#[test]
fn every_content_of_the_memory_is_survived() {
    let definition = CacheDefinition::new("c", 20);
    let cache = cache(definition.clone());
    let mut state = 88172645463325252_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..300_u64 {
        for number in 0..20_u64 {
            let _ = cache.set(
                &number.to_le_bytes(),
                &vec![1; (random() % 3000) as usize + 1],
                ALWAYS,
            );
        }
        let (slot, chunk) = ((random() % 20) as u32, (random() % 300) as u32);
        let garbage = |word: u64| [word, word % 400, 0, u64::MAX][(word % 4) as usize];
        cache
            .memory
            .slot(slot)
            .unwrap()
            .head
            .store(garbage(random()) as u32, Relaxed);
        cache
            .memory
            .slot(slot)
            .unwrap()
            .next
            .store(garbage(random()) as u32, Relaxed);
        cache
            .memory
            .link(chunk)
            .unwrap()
            .store(garbage(random()) as u32, Relaxed);
        for word in &cache.memory.chunk(chunk).unwrap()[..4] {
            word.store(garbage(random()), Relaxed);
        }
        for number in 0..20_u64 {
            let key = number.to_le_bytes();
            let _ = (
                cache.get(&key),
                cache.remove(&key),
                cache.calculate(&key, (Math::Add, 1), ALWAYS),
            );
        }
        let _ = cache.keys();
        cache.memory.header().unwrap().next_expiry.store(1, Relaxed);
        cache.sweep();
        if round % 3 == 0 {
            recovery::rebuild(&cache.memory, cache.memory.header().unwrap(), &definition);
        }
    }
    cache.clear();
    cache.set(b"a", b"b", ALWAYS).unwrap();
    assert_eq!(cache.get(b"a").unwrap(), b"b");
}

/// The slot of a key, and the first chunk of its item.
fn place_of(cache: &Cache, key: &[u8]) -> (u32, u32) {
    let writer = cache.writer(now()).unwrap();
    let found = writer.find(key, cache.hash(key)).unwrap();
    (found.slot, found.first)
}

/// Overwrites the expiry and the sizes of an item, and makes the next sweep look at all items.
fn scribble(cache: &Cache, first: u32, [expires, value, key]: [u64; 3]) {
    let words = &cache.memory.chunk(first).unwrap()[1..4];
    for (word, number) in words.iter().zip([expires, value, key]) {
        word.store(number, Relaxed);
    }
    let header = cache.memory.header().unwrap();
    header.next_expiry.store(1, Relaxed);
}

#[test]
fn sizes_that_no_item_can_have_remove_the_item_when_the_master_sweeps() {
    for [value, key] in [
        [1, 1 << 62],
        [1, u64::MAX],
        [1, 2049],
        [1, 0],
        [1 << 62, 1],
        [u64::MAX, u64::MAX],
        [65_537, 1],
    ] {
        let cache = cache(CacheDefinition::new("c", 10));
        cache.set(b"a", b"x", ALWAYS).unwrap();
        cache.set(b"b", b"y", ALWAYS).unwrap();
        let (slot, first) = place_of(&cache, b"a");
        scribble(&cache, first, [1, value, key]);
        cache.sweep();
        assert_eq!(cache.memory.slot(slot).unwrap().head.load(Relaxed), 0);
        assert_eq!(cache.get(b"a"), None);
        assert_eq!(cache.get(b"b").unwrap(), b"y");
        assert_eq!(cache.statistics().items, 1);
        cache.set(b"a", b"z", ALWAYS).unwrap();
        assert_eq!(cache.get(b"a").unwrap(), b"z");
    }
}

#[test]
fn a_change_uses_no_size_that_no_item_can_have() {
    let mut definition = CacheDefinition::new("c", 10);
    // this cache is read with the lock, by `find_valid`
    definition.when_full = WhenFull::RemoveOldest;
    for change in [
        |cache: &Cache| assert_eq!(cache.get(b"a"), None),
        |cache: &Cache| assert!(!cache.extend(b"a", ALWAYS)),
        |cache: &Cache| assert!(!cache.remove(b"a")),
        |cache: &Cache| cache.set(b"a", b"z", ALWAYS).unwrap(),
    ] {
        let cache = cache(definition.clone());
        cache.set(b"a", b"x", ALWAYS).unwrap();
        let (slot, first) = place_of(&cache, b"a");
        scribble(&cache, first, [0, 1 << 62, 1]);
        cache.memory.header().unwrap().next_expiry.store(0, Relaxed);
        change(&cache);
        assert_eq!(cache.memory.slot(slot).unwrap().head.load(Relaxed), 0);
    }
}

#[test]
fn a_cyclic_chain_ends_every_walk() {
    let cache = cache(CacheDefinition::new("c", 10));
    for key in [b"a", b"b"] {
        cache.set(key, &[1; 1000], ALWAYS).unwrap();
    }
    // the chunks of one item and the bucket of the other item become cycles
    let (_, first) = place_of(&cache, b"a");
    cache.memory.link(first).unwrap().store(first + 1, Relaxed);
    scribble(&cache, first, [0, 65_536, 1]);
    assert_eq!(cache.get(b"a").unwrap().len(), 65_536);
    scribble(&cache, first, [1, 65_536, 2048]);
    let (slot, other) = place_of(&cache, b"b");
    let it = cache.memory.slot(slot).unwrap();
    it.next.store(slot + 1, Relaxed);
    it.hash.store(it.hash.load(Relaxed) + 65_536, Relaxed);
    scribble(&cache, other, [1, 1000, 1]);
    // the first sweep repairs the tables, and the second one removes the other item
    cache.sweep();
    cache.sweep();
    assert_eq!((cache.get(b"a"), cache.get(b"b")), (None, None));
    assert_eq!(cache.statistics().items, 0);
    assert_eq!(item::key(&cache.memory, first, &endless()), None);
}

/// A head whose key is longer than the memory.
fn endless() -> item::ItemHead {
    item::ItemHead {
        hash: 0,
        expires: 0,
        value: 1,
        key: 1 << 24,
    }
}

#[test]
fn another_process_sees_the_items() {
    let ours = cache(CacheDefinition::new("c", 10));
    ours.set(b"a", b"1", ALWAYS).unwrap();
    let theirs = Cache::open(ours.fd().unwrap(), ours.definition().clone()).unwrap();
    assert_eq!(theirs.get(b"a").unwrap(), b"1");
    assert!(Cache::open(ours.fd().unwrap(), CacheDefinition::new("c", 20_000)).is_err());
}

#[test]
fn a_file_keeps_the_items() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let old = cache(CacheDefinition::new("c", 200));
    for number in 0..150_u8 {
        let lifetime =
            [ALWAYS, Lifetime::Seconds(0), Lifetime::Seconds(60)][usize::from(number % 3)];
        old.set(&[number], &[number; 300], lifetime).unwrap();
    }
    old.save(&path).unwrap();
    let new = cache(CacheDefinition::new("c", 200));
    assert_eq!(new.load(&path).unwrap(), 100);
    assert_eq!(new.get(&[2]).unwrap(), [2; 300]);
    assert_eq!(new.get(&[1]), None);
    assert!(new.next_expiry().is_some());
    let bytes = std::fs::read(&path).unwrap();
    for len in [0, 10, 16, 50, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..len]).unwrap();
        assert!(matches!(new.load(&path), Err(LoadError::Format)), "{len}");
    }
}

#[test]
fn threads_never_see_a_torn_value() {
    let mut definition = CacheDefinition::new("c", 30);
    definition.buckets = 4;
    let cache = Arc::new(cache(definition));
    let threads: Vec<_> = (0..4_u64)
        .map(|thread| {
            let cache = Arc::clone(&cache);
            std::thread::spawn(move || {
                for round in 0..2000_u64 {
                    let key = (round * (thread + 3)) % 40;
                    let size = 20 + (round % 1500) as usize;
                    match round % 5 {
                        0 | 1 => {
                            let value = vec![key as u8; size];
                            let _ = cache.set(&key.to_le_bytes(), &value, ALWAYS);
                        }
                        2 => {
                            cache.remove(&key.to_le_bytes());
                        }
                        _ => {
                            let value = cache.get(&key.to_le_bytes()).unwrap_or_default();
                            assert!(value.iter().all(|byte| *byte == key as u8));
                        }
                    }
                }
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    let header = cache.memory.header().unwrap();
    assert_eq!(cache.keys().len(), header.items.load(Relaxed) as usize);
    assert_eq!(header.lock.lock(), Taken::Released);
    header.lock.unlock();
}

#[test]
fn a_model_agrees() {
    let cache = cache(CacheDefinition::new("c", 500));
    let mut model: HashMap<u64, Vec<u8>> = HashMap::new();
    let begun = Instant::now();
    for round in 0..20_000_u64 {
        let key = (round.wrapping_mul(0x9e37_79b9) >> 3) % 300;
        match round % 4 {
            0 | 1 => {
                let value = vec![round as u8; 1 + (round % 900) as usize];
                cache.set(&key.to_le_bytes(), &value, ALWAYS).unwrap();
                model.insert(key, value);
            }
            2 => assert_eq!(
                cache.remove(&key.to_le_bytes()),
                model.remove(&key).is_some()
            ),
            _ => assert_eq!(cache.get(&key.to_le_bytes()), model.get(&key).cloned()),
        }
    }
    assert_eq!(cache.keys().len(), model.len());
    assert!(begun.elapsed().as_secs() < 60);
}
