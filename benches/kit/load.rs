//! The load: a ring of connections per thread, one request on each, answered in the order in which they
//! were asked.
//!
//! A connection to a Unix socket and a request written to it need nobody's attention at the other end, so a
//! ring keeps `in_flight` requests before the server without an event loop of its own. Making and closing a
//! socket costs the kernel as much as serving hello world; so sockets are made by the burst, before the clock
//! runs, and closed when it stands again. Else the generator's core would be full before the server's.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use super::processes::pin;

/// How much a thread reads at once.
const READ_SIZE: usize = 256 * 1024;

/// Connections that are prepared at once; below the usual limit of 1024 descriptors.
const BURST: usize = 768;

/// How long an answer may keep silent before the run is given up.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is asked, and how hard.
#[derive(Clone, Debug)]
pub struct Load {
    /// The bytes of one request.
    pub request: Vec<u8>,
    /// Threads, all of them on the client's core.
    pub threads: usize,
    /// Requests that each thread keeps before the server.
    pub in_flight: usize,
}

/// When a run ends.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After this time.
    Time(Duration),
    /// After about this many requests (shared out evenly among the threads).
    Served(u64),
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Requests answered in full.
    pub served: u64,
    /// Requests per second, while the clock ran.
    pub rate: f64,
    /// How long each answer took, from its request; microseconds, sorted.
    pub latencies: Vec<u32>,
}

impl Tally {
    /// The latency that 99 of 100 requests stay below, microseconds.
    pub fn p99(&self) -> f64 {
        self.latencies
            .get(self.latencies.len() * 99 / 100)
            .map_or(0.0, |micros| f64::from(*micros))
    }
}

/// Asks once and reads to the end: the whole answer, which must be a 200.
pub fn ask(socket: &Path, request: &[u8]) -> Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)
        .with_context(|| format!("cannot connect to {}", socket.display()))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    ensure!(
        answer.starts_with(b"HTTP/1.1 200 "),
        "the answer is no 200: {:?}",
        first_line(&answer)
    );
    Ok(answer)
}

fn first_line(answer: &[u8]) -> String {
    String::from_utf8_lossy(
        answer
            .split(|byte| *byte == b'\r')
            .next()
            .unwrap_or_default(),
    )
    .into_owned()
}

/// Runs the load; every answer must be as long as the first and a 200.
pub fn run(socket: &Path, load: &Load, until: Until) -> Result<Tally> {
    let answer = ask(socket, &load.request)?.len();
    let client = Client {
        address: UnixAddr::new(socket)?,
        load,
        until,
        answer,
    };
    let tallies: Result<Vec<Tally>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..load.threads)
            .map(|_| scope.spawn(|| client.drive()))
            .collect();
        let join = |thread: std::thread::ScopedJoinHandle<_>| {
            thread
                .join()
                .map_err(|_| anyhow!("a client thread panicked"))?
        };
        threads.into_iter().map(join).collect()
    });
    let mut sum = Tally::default();
    for tally in tallies? {
        sum.served += tally.served;
        sum.rate += tally.rate;
        sum.latencies.extend(tally.latencies);
    }
    sum.latencies.sort_unstable();
    Ok(sum)
}

/// What the client's threads have in common.
struct Client<'a> {
    address: UnixAddr,
    load: &'a Load,
    until: Until,
    /// Length of an answer, bytes.
    answer: usize,
}

impl Client<'_> {
    /// One thread: burst after burst.
    fn drive(&self) -> Result<Tally> {
        pin(true)?;
        let mut buffer = vec![0; READ_SIZE];
        let mut tally = Tally::default();
        let mut ticking = Duration::ZERO;
        let begun = Instant::now();
        loop {
            let size = match self.until {
                Until::Time(time) if begun.elapsed() < time => BURST / self.load.threads,
                Until::Time(_) => 0,
                Until::Served(requests) => {
                    let left = (requests / self.load.threads as u64).saturating_sub(tally.served);
                    BURST.min(usize::try_from(left)?)
                }
            };
            if size == 0 {
                break;
            }
            ticking += self.burst(size, &mut buffer, &mut tally)?;
        }
        tally.rate = tally.served as f64 / ticking.as_secs_f64();
        Ok(tally)
    }

    /// Prepares the connections, turns the ring until all have been answered, closes them; how long the
    /// turning took. The clock of a long turn stops it early.
    fn burst(&self, size: usize, buffer: &mut [u8], tally: &mut Tally) -> Result<Duration> {
        let made = || {
            socket(
                AddressFamily::Unix,
                SockType::Stream,
                SockFlag::SOCK_CLOEXEC,
                None,
            )
        };
        let mut waiting = (0..size)
            .map(|_| Ok(made()?.into()))
            .collect::<Result<VecDeque<UnixStream>>>()?;
        let mut ring = VecDeque::with_capacity(self.load.in_flight);
        let mut done = Vec::with_capacity(size);
        let begun = Instant::now();
        let mut now = begun;
        loop {
            while ring.len() < self.load.in_flight {
                let Some(mut stream) = waiting.pop_front() else {
                    break;
                };
                connect(stream.as_raw_fd(), &self.address)?;
                stream.write_all(&self.load.request)?;
                ring.push_back((stream, now));
            }
            let Some((mut stream, asked)) = ring.pop_front() else {
                break;
            };
            receive(&mut stream, self.answer, buffer)?;
            done.push(stream);
            now = Instant::now();
            tally
                .latencies
                .push(u32::try_from((now - asked).as_micros()).unwrap_or(u32::MAX));
            if matches!(self.until, Until::Time(time) if now - begun > time) {
                waiting.clear();
            }
        }
        tally.served += done.len() as u64;
        Ok(begun.elapsed())
    }
}

/// Reads an answer of a known length.
fn receive(stream: &mut UnixStream, length: usize, buffer: &mut [u8]) -> Result<()> {
    let mut left = length;
    while left > 0 {
        let read = stream.read(buffer).context("an answer was cut off")?;
        ensure!(read > 0, "an answer ended {left} bytes early");
        ensure!(read <= left, "an answer is longer than the first was");
        if left == length {
            ensure!(
                buffer.starts_with(b"HTTP/1.1 200 "),
                "an answer is no 200: {:?}",
                first_line(&buffer[..read])
            );
        }
        left -= read;
    }
    Ok(())
}
