//! The log of a server, from its output pipe and from the file it writes.

use std::fs;
use std::io::{PipeReader, Read};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A server's log.
#[derive(Clone)]
pub struct Log {
    pipe: Arc<PipeReader>,
    piped: Arc<Mutex<Vec<u8>>>,
    file: Option<PathBuf>,
}

impl Log {
    /// Collects what arrives on `pipe`, in a thread, until all writers have closed it.
    pub fn of_pipe(pipe: PipeReader) -> Self {
        let log = Self {
            pipe: Arc::new(pipe),
            piped: Arc::default(),
            file: None,
        };
        let reader = log.clone();
        std::thread::spawn(move || while reader.wait_for_output() && reader.collect() {});
        log
    }

    /// Waits until the pipe has output or all writers have closed it.
    fn wait_for_output(&self) -> bool {
        let mut fds = [PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::NONE).is_ok_and(|count| count > 0)
    }

    /// Moves output from the pipe to the text; false at the end of the pipe. The lock is held while the output is in
    /// neither place.
    fn collect(&self) -> bool {
        let mut piped = self.piped.lock().unwrap();
        let mut block = [0; 65536];
        match (&*self.pipe).read(&mut block) {
            Ok(0) | Err(_) => false,
            Ok(n) => {
                piped.extend_from_slice(&block[..n]);
                true
            }
        }
    }

    /// Appends the contents of `file`, once it exists.
    pub fn and_file(mut self, file: PathBuf) -> Self {
        self.file = Some(file);
        self
    }

    /// Whether all output that was written to the pipe so far is in the text.
    pub fn is_read(&self) -> bool {
        let _piped = self.piped.lock().unwrap();
        let mut fds = [PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).is_ok()
            && !fds[0]
                .revents()
                .is_some_and(|it| it.contains(PollFlags::POLLIN))
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
