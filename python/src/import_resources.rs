//! The exclusive resources that the import of the application has taken, such as the port of an exporter, or a lock.
//! Only one process can hold such a resource. The workers inherit the descriptors of these resources. Before a reload
//! they may have to be released, because the next import takes the same resources.

use std::sync::OnceLock;

use ruwsgi::sys::exclusive::{self, Exclusive};

static TAKEN: OnceLock<Vec<Exclusive>> = OnceLock::new();

/// Records the exclusive resources of this process and returns their names. Called once, after the import.
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
