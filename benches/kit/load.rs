//! The load generator: each thread has a ring of connections with one request each, and reads the responses in the
//! order of the requests.
//!
//! The kernel accepts a connection to a Unix socket and buffers a request without the server, so a ring keeps
//! `in_flight` requests pending without an event loop. Opening and closing a socket costs the kernel as much as a
//! hello world request. So each burst opens its sockets before the clock starts and closes them after it stops;
//! otherwise the core of the generator would be saturated before the core of the server.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use super::processes::pin;

/// Size of the read buffer of a thread.
const READ_SIZE: usize = 256 * 1024;

/// Connections opened for one burst; below the usual limit of 1024 descriptors.
const BURST: usize = 768;

/// Read timeout of a response.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// The requests of a run and their concurrency.
#[derive(Clone, Debug)]
pub struct Load {
    /// The bytes of one request.
    pub request: Vec<u8>,
    /// Number of threads, all on the core of the client.
    pub threads: usize,
    /// Pending requests of each thread.
    pub in_flight: usize,
}

/// When a run ends.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After this time.
    Time(Duration),
    /// After about this many requests, divided evenly among the threads.
    Served(u64),
}

/// Results of a run.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// Number of complete responses.
    pub served: u64,
    /// Requests per second of measured time.
    pub rate: f64,
    /// Time from request to response in microseconds, ascending.
    pub latencies: Vec<u32>,
}

impl Results {
    /// 99th percentile of the latency in microseconds.
    pub fn p99(&self) -> f64 {
        self.latencies
            .get(self.latencies.len() * 99 / 100)
            .map_or(0.0, |micros| f64::from(*micros))
    }
}

/// Sends a request and reads the response up to the end of the connection. An error unless its status is 200.
pub fn ask(socket: &Path, request: &[u8]) -> Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)
        .with_context(|| format!("cannot connect to {}", socket.display()))?;
    stream.set_read_timeout(Some(READ_TIMEOUT))?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    ensure!(
        answer.starts_with(b"HTTP/1.1 200 "),
        "the status is not 200: {:?}",
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

/// Runs the load. Every response must have the status 200 and the length of the first one.
pub fn run(socket: &Path, load: &Load, until: Until) -> Result<Results> {
    let answer = ask(socket, &load.request)?.len();
    let client = Client {
        address: UnixAddr::new(socket)?,
        load,
        until,
        answer,
    };
    let results: Result<Vec<Results>> = std::thread::scope(|scope| {
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
    let mut sum = Results::default();
    for results in results? {
        sum.served += results.served;
        sum.rate += results.rate;
        sum.latencies.extend(results.latencies);
    }
    sum.latencies.sort_unstable();
    Ok(sum)
}

/// State shared by the client threads.
struct Client<'a> {
    address: UnixAddr,
    load: &'a Load,
    until: Until,
    /// Length of a response in bytes.
    answer: usize,
}

impl Client<'_> {
    /// Runs one thread: bursts until the end of the run.
    fn drive(&self) -> Result<Results> {
        pin(true)?;
        let mut buffer = vec![0; READ_SIZE];
        let mut results = Results::default();
        let mut measured = Duration::ZERO;
        let begun = Instant::now();
        loop {
            let size = match self.until {
                Until::Time(time) if begun.elapsed() < time => BURST / self.load.threads,
                Until::Time(_) => 0,
                Until::Served(requests) => {
                    let left = (requests / self.load.threads as u64).saturating_sub(results.served);
                    BURST.min(usize::try_from(left)?)
                }
            };
            if size == 0 {
                break;
            }
            measured += self.burst(size, &mut buffer, &mut results)?;
        }
        results.rate = results.served as f64 / measured.as_secs_f64();
        Ok(results)
    }

    /// Opens the connections, keeps the ring full until all requests are answered, and closes the connections.
    /// Returns the measured time. A burst stops early when the time of the run has passed.
    fn burst(&self, size: usize, buffer: &mut [u8], results: &mut Results) -> Result<Duration> {
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
            results
                .latencies
                .push(u32::try_from((now - asked).as_micros()).unwrap_or(u32::MAX));
            if matches!(self.until, Until::Time(time) if now - begun > time) {
                waiting.clear();
            }
        }
        results.served += done.len() as u64;
        Ok(begun.elapsed())
    }
}

/// Reads a response of known length.
fn receive(stream: &mut UnixStream, length: usize, buffer: &mut [u8]) -> Result<()> {
    let mut left = length;
    while left > 0 {
        let read = stream.read(buffer).context("a response was cut off")?;
        ensure!(read > 0, "a response ended {left} bytes early");
        ensure!(read <= left, "a response is longer than the first one");
        if left == length {
            ensure!(
                buffer.starts_with(b"HTTP/1.1 200 "),
                "the status is not 200: {:?}",
                first_line(&buffer[..read])
            );
        }
        left -= read;
    }
    Ok(())
}
