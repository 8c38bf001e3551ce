//! Clients that ask all the time.

use std::io::{Read, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{Server, get};

/// What became of the requests of a load.
pub struct Outcome {
    pub answered: usize,
    pub lost: usize,
    /// How long each answered request took, ascending.
    pub times: Vec<Duration>,
}

/// How often something is done: more with `KIT_BIG`.
pub fn times(usually: usize, big: usize) -> usize {
    if std::env::var_os("KIT_BIG").is_some() {
        big
    } else {
        usually
    }
}

/// Sends requests from several clients while `meanwhile` runs, which can see how many were answered.
pub fn load(
    server: &Server,
    clients: usize,
    uri: &str,
    meanwhile: impl FnOnce(&AtomicUsize),
) -> Outcome {
    let over = AtomicBool::new(false);
    let (answered, lost) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let times = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let mut own = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    let count = if asked(server, uri) {
                        own.push(begun.elapsed());
                        &answered
                    } else {
                        &lost
                    };
                    count.fetch_add(1, Ordering::Relaxed);
                }
                times.lock().unwrap().extend(own);
            });
        }
        // also when it fails, or the threads would go on for ever
        let outcome =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| meanwhile(&answered)));
        over.store(true, Ordering::Relaxed);
        if let Err(failure) = outcome {
            std::panic::resume_unwind(failure);
        }
    });
    let mut times = times.into_inner().unwrap();
    times.sort_unstable();
    Outcome {
        answered: answered.into_inner(),
        lost: lost.into_inner(),
        times,
    }
}

/// Whether a request was answered with 200.
pub fn asked(server: &Server, uri: &str) -> bool {
    let mut answer = Vec::new();
    let mut exchange = || -> std::io::Result<()> {
        let mut connection = server.address().try_connect()?;
        connection.write_all(&get(uri).bytes())?;
        connection.read_to_end(&mut answer).map(drop)
    };
    exchange().is_ok() && answer.starts_with(b"HTTP/1.1 200")
}
