//! Load: clients that send requests continuously.

use std::io::{Read, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{Server, get};

/// Results of a load.
pub struct Outcome {
    pub answered: usize,
    pub lost: usize,
    /// Duration of each successful request, ascending.
    pub times: Vec<Duration>,
}

/// A number of repetitions: `big` if `KIT_BIG` is set.
pub fn scaled(usually: usize, big: usize) -> usize {
    if std::env::var_os("KIT_BIG").is_some() {
        big
    } else {
        usually
    }
}

/// Sends requests from several clients while `meanwhile` runs. Its argument is the number of successful requests.
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
                    let count = if succeeds(server, uri) {
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
        // also on failure, or the client threads would never end
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

/// Sends a request; whether the response has the status 200.
pub fn succeeds(server: &Server, uri: &str) -> bool {
    let mut answer = Vec::new();
    let mut exchange = || -> std::io::Result<()> {
        let mut connection = server.address().try_connect()?;
        connection.write_all(&get(uri).bytes())?;
        connection.read_to_end(&mut answer).map(drop)
    };
    exchange().is_ok() && answer.starts_with(b"HTTP/1.1 200")
}
