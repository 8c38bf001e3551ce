//! Exclusive resources that the import of the application has taken: only one process can have them, such as the port
//! of an exporter or a lock. The workers inherit their descriptors. A reload may need them to be free, because the next
//! import takes the same resources.

use std::sync::OnceLock;

use ruwsgi::sys::exclusive::{self, Exclusive};

static TAKEN: OnceLock<Vec<Exclusive>> = OnceLock::new();

/// Records the exclusive resources of this process and returns their names. Call it once, after the import.
pub fn record() -> Vec<String> {
    let taken = TAKEN.get_or_init(exclusive::all);
    taken.iter().map(|it| it.name.clone()).collect()
}

/// Releases the resources that a worker has inherited from the import. A failure is logged.
pub fn release() {
    for taken in TAKEN.get().into_iter().flatten() {
        if let Err(error) = taken.release() {
            tracing::warn!(
                "the {} cannot be given up for a reload: {error}",
                taken.name
            );
        }
    }
}
