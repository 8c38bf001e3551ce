//! The memory that the processes of an instance share, in addition to the scoreboard: caches, locks, the queue, and
//! shared areas.
//!
//! This memory outlives the generations. A reload keeps each part whose definition has not changed.

use std::hash::{BuildHasher, Hasher};
use std::io::ErrorKind;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::config::Config;
use crate::ipc::SharedMemorySpec;
use crate::shared::area::SharedArea;
use crate::shared::cache::{Cache, CacheDefinition, CacheStatistics, Expiry, LoadError, Store};
use crate::shared::locks::Locks;
use crate::shared::queue::{Queue, QueueDefinition};

/// The default interval between two writes of a cache's file.
const SAVE_INTERVAL: Duration = Duration::from_secs(60);

/// The shared memory of an instance or a generation.
#[derive(Clone, Default)]
pub(super) struct SharedMemory {
    caches: Vec<Arc<Cache>>,
    locks: Option<Arc<Locks>>,
    queue: Option<Arc<Queue>>,
    areas: Vec<Arc<SharedArea>>,
}

impl SharedMemory {
    /// Creates the memory that the configuration defines. Takes each part from `before` whose definition has not
    /// changed.
    ///
    /// # Errors
    /// When memory cannot be created, or the file of a cache cannot be used.
    pub(super) fn new(config: &Config, before: &Self) -> Result<Self> {
        let mut caches = Vec::new();
        for definition in config.caches() {
            let known = before.caches.iter();
            let cache = match known.clone().find(|it| *it.definition() == definition) {
                Some(cache) => Arc::clone(cache),
                None => {
                    // if the definition has changed, the items of the old cache are in the file, and the new cache
                    // loads them
                    let store = definition.store.as_ref().map(|store| &store.path);
                    let same = |it: &&Arc<Cache>| {
                        it.definition().store.as_ref().map(|store| &store.path) == store
                    };
                    known.filter(same).for_each(|it| save(it));
                    Arc::new(create(definition)?)
                }
            };
            caches.push(cache);
        }
        Ok(Self {
            caches,
            locks: locks(config, before)?,
            queue: queue(config, before)?,
            areas: areas(config, before)?,
        })
    }

    /// The description of the memory for the processes of a generation, in the order of its descriptors.
    pub(super) fn spec(&self) -> SharedMemorySpec {
        SharedMemorySpec {
            caches: self
                .caches
                .iter()
                .map(|it| it.definition().clone())
                .collect(),
            locks: self.locks.as_ref().map(|locks| locks.count()),
            queue: self.queue.as_ref().map(|queue| queue.definition()),
            areas: self.areas.iter().map(|area| area.size()).collect(),
        }
    }

    /// The descriptors of the memory.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let caches = self.caches.iter().filter_map(|it| it.fd());
        let locks = self.locks.iter().filter_map(|it| it.fd());
        let queue = self.queue.iter().filter_map(|it| it.fd());
        let areas = self.areas.iter().filter_map(|it| it.fd());
        caches.chain(locks).chain(queue).chain(areas)
    }

    /// The state of the caches, for statistics.
    #[expect(dead_code, reason = "the statistics server will read it")]
    pub(super) fn cache_statistics(&self) -> Vec<CacheStatistics> {
        self.caches.iter().map(|it| it.statistics()).collect()
    }
}

/// Returns the locks 0 to `locks`, if they are configured.
fn locks(config: &Config, before: &SharedMemory) -> Result<Option<Arc<Locks>>> {
    let Some(last) = config.locks() else {
        return Ok(None);
    };
    let count = last.saturating_add(1);
    if let Some(known) = before.locks.as_ref().filter(|it| it.count() == count) {
        return Ok(Some(Arc::clone(known)));
    }
    let locks = Locks::create(count).context("the memory of the locks cannot be created")?;
    Ok(Some(Arc::new(locks)))
}

fn queue(config: &Config, before: &SharedMemory) -> Result<Option<Arc<Queue>>> {
    let Some(slots) = config.queue().filter(|slots| *slots > 0) else {
        return Ok(None);
    };
    let definition = QueueDefinition {
        slots,
        block_size: config.queue_blocksize(),
    };
    let known = before.queue.as_ref();
    if let Some(known) = known.filter(|it| it.definition() == definition) {
        return Ok(Some(Arc::clone(known)));
    }
    let queue = Queue::create(definition).context("the memory of the queue cannot be created")?;
    Ok(Some(Arc::new(queue)))
}

/// Returns the shared areas. An area is known by its position in the configuration and its size.
fn areas(config: &Config, before: &SharedMemory) -> Result<Vec<Arc<SharedArea>>> {
    let sizes = config.sharedarea().iter().enumerate();
    let areas = sizes.map(|(position, size)| {
        let known = before.areas.get(position).filter(|it| it.size() == *size);
        match known {
            Some(known) => Ok(Arc::clone(known)),
            None => Ok(Arc::new(SharedArea::create(*size).with_context(|| {
                format!("the memory of the shared area {position} cannot be created")
            })?)),
        }
    });
    areas.collect()
}

fn create(definition: CacheDefinition) -> Result<Cache> {
    let name = definition.name.clone();
    let store = definition.store.clone();
    let seed = std::hash::RandomState::new().build_hasher().finish();
    let cache = Cache::create(definition, seed)
        .with_context(|| format!("the memory of the cache {name} cannot be created"))?;
    if let Some(store) = store {
        load(&cache, &store)?;
    }
    Ok(cache)
}

/// Loads the items of a cache's file. A file that does not exist is created when the items are saved.
fn load(cache: &Cache, store: &Store) -> Result<()> {
    let (name, path) = (&cache.definition().name, &store.path);
    match cache.load(Path::new(path)) {
        Ok(count) => tracing::info!("cache {name}: {count} items loaded from {path}"),
        Err(LoadError::Read(error)) if error.kind() == ErrorKind::NotFound => {}
        Err(LoadError::Format) if store.replaces => {
            cache.clear();
            tracing::warn!(
                "cache {name}: {path} is not a file of this cache and will be replaced (store_delete)"
            );
        }
        Err(LoadError::Format) => bail!(
            "cache {name}: {path} is not a file of a ruwsgi cache, or it is damaged; remove it, or add store_delete=1"
        ),
        Err(LoadError::Read(error)) => bail!("cache {name}: {path} cannot be read: {error}"),
    }
    Ok(())
}

/// Saves the items of a cache with a file. Logs an error.
fn save(cache: &Cache) {
    let Some(store) = &cache.definition().store else {
        return;
    };
    if let Err(error) = cache.save(Path::new(&store.path)) {
        let name = &cache.definition().name;
        tracing::error!("cache {name}: {} cannot be written: {error}", store.path);
    }
}

/// The periodic work on the shared memory.
pub(super) struct Maintenance {
    /// The time at which expired items are removed next.
    sweep: Instant,
    /// The caches that have a file.
    files: Vec<SavedFile>,
}

/// A cache with a file.
struct SavedFile {
    cache: Arc<Cache>,
    /// The value of [`Cache::changes`] when the items were last saved.
    saved: u64,
    /// The time at which the items are saved next.
    next: Instant,
    /// The thread that saves the items.
    running: Option<JoinHandle<()>>,
}

impl Maintenance {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            sweep: now,
            files: Vec::new(),
        }
    }

    /// The time at which [`Maintenance::run`] is due; `None` if this memory needs no periodic work.
    pub(super) fn deadline(&self, memory: &SharedMemory) -> Option<Instant> {
        let sweep = has_sweep(memory).then_some(self.sweep);
        let stored = memory
            .caches
            .iter()
            .any(|it| it.definition().store.is_some());
        let missing = (stored && self.files.is_empty()).then_some(self.sweep);
        let files = self.files.iter().map(|file| file.next);
        files.chain(sweep).chain(missing).min()
    }

    /// Removes expired items, and saves changed caches.
    pub(super) fn run(&mut self, memory: &SharedMemory, every: Duration, now: Instant) {
        if memory.caches.is_empty() && self.files.is_empty() {
            return;
        }
        if now >= self.sweep {
            self.sweep = now + every.max(Duration::from_secs(1));
            memory.caches.iter().for_each(|cache| cache.sweep());
        }
        self.adopt(memory, now);
        for file in &mut self.files {
            file.save_if_due(now);
        }
    }

    /// Updates the list of files to the caches of the memory.
    fn adopt(&mut self, memory: &SharedMemory, now: Instant) {
        let is_current =
            |file: &SavedFile| memory.caches.iter().any(|it| Arc::ptr_eq(it, &file.cache));
        self.files
            .retain(|file| file.running.is_some() || is_current(file));
        for cache in &memory.caches {
            let known = self
                .files
                .iter()
                .any(|file| Arc::ptr_eq(cache, &file.cache));
            if cache.definition().store.is_some() && !known {
                self.files.push(SavedFile {
                    saved: cache.changes(),
                    next: now + interval(cache),
                    cache: Arc::clone(cache),
                    running: None,
                });
            }
        }
    }

    /// Saves all changed caches and waits until they are saved. Called at the end of the instance.
    pub(super) fn finish(&mut self, memory: &SharedMemory) {
        self.adopt(memory, Instant::now());
        for file in &mut self.files {
            file.wait();
            save(&file.cache);
        }
    }
}

fn has_sweep(memory: &SharedMemory) -> bool {
    let mut caches = memory.caches.iter();
    caches.any(|cache| cache.definition().expiry == Expiry::Swept)
}

fn interval(cache: &Cache) -> Duration {
    let configured = cache.definition().store.as_ref().map_or(0, |it| it.sync);
    match configured {
        0 => SAVE_INTERVAL,
        seconds => Duration::from_secs(seconds.into()),
    }
}

impl SavedFile {
    /// Starts a thread that saves the items, if the items have changed. A thread is needed because the master must not
    /// wait for a disk.
    fn save_if_due(&mut self, now: Instant) {
        if now < self.next {
            return;
        }
        self.next = now + interval(&self.cache);
        if self.running.as_ref().is_some_and(|it| !it.is_finished()) {
            return;
        }
        self.wait();
        let changes = self.cache.changes();
        if changes == self.saved {
            return;
        }
        let cache = Arc::clone(&self.cache);
        let thread = std::thread::Builder::new().name("cache-store".to_owned());
        match thread.spawn(move || save(&cache)) {
            Ok(thread) => {
                self.saved = changes;
                self.running = Some(thread);
            }
            Err(error) => tracing::error!("no thread to save a cache can be started: {error}"),
        }
    }

    fn wait(&mut self) {
        if let Some(thread) = self.running.take() {
            // the thread does not panic, and it logs its errors itself
            let _ = thread.join();
        }
    }
}
