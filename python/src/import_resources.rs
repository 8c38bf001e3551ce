//! What the import of the application has taken and only one process can have, such as the port of an exporter or a lock. The
//! workers inherit the descriptors. A reload may need them: the next import takes the same.

use std::sync::OnceLock;

use ruwsgi::sys::exclusive::{self, Exclusive};

static TAKEN: OnceLock<Vec<Exclusive>> = OnceLock::new();

/// Records what this process has taken; returns the names. Call it once, after the import.
pub fn record() -> Vec<String> {
    let taken = TAKEN.get_or_init(exclusive::all);
    taken.iter().map(|it| it.name.clone()).collect()
}

/// Gives up, in a worker, what it has inherited from the import.
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
