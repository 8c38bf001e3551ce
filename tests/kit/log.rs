//! The log of a server, from its output pipe and from the file it writes.

use std::fs;
use std::io::{PipeReader, Read};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// A server's log.
#[derive(Clone, Default)]
pub struct Log {
    piped: Arc<Mutex<Vec<u8>>>,
    ended: Arc<AtomicBool>,
    file: Option<PathBuf>,
}

impl Log {
    /// Collects what arrives on `pipe`, in a thread, until all writers have closed it.
    pub fn of_pipe(mut pipe: PipeReader) -> Self {
        let log = Self::default();
        let (piped, ended) = (Arc::clone(&log.piped), Arc::clone(&log.ended));
        std::thread::spawn(move || {
            let mut block = [0; 65536];
            while let Ok(n) = pipe.read(&mut block) {
                if n == 0 {
                    break;
                }
                piped.lock().unwrap().extend_from_slice(&block[..n]);
            }
            ended.store(true, Ordering::Release);
        });
        log
    }

    /// Appends the contents of `file`, once it exists.
    pub fn and_file(mut self, file: PathBuf) -> Self {
        self.file = Some(file);
        self
    }

    /// Whether all writers have closed the pipe, and all their output is read.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// The log so far.
    pub fn text(&self) -> String {
        let mut bytes = self.piped.lock().unwrap().clone();
        if let Some(written) = self.file.as_ref().and_then(|file| fs::read(file).ok()) {
            bytes.extend(written);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The lines that contain `text`.
    pub fn lines_with(&self, text: &str) -> Vec<String> {
        self.text()
            .lines()
            .filter(|line| line.contains(text))
            .map(str::to_owned)
            .collect()
    }
}
