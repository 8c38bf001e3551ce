//! A connection in the I/O thread, and the timeouts of its client.

use std::time::{Duration, Instant};

use super::dispatch::Phase;
use super::pending::Pending;
use super::progress::Progress;
use super::settings::Timeouts;

/// Limits on a lingering client, which may still be sending after its response: maximum silence, maximum total time,
/// and maximum bytes that are read and discarded. nginx has the same times (`lingering_timeout`, `lingering_time`).
/// nginx has no limit in bytes.
const LINGER_SILENCE: Duration = Duration::from_secs(5);
const LINGER_TIME: Duration = Duration::from_secs(30);
const LINGER_BYTES: u64 = 1 << 30;
/// Maximum total time of a lingering client while the engine stops.
const LINGER_STOPPING: Duration = Duration::from_secs(1);
/// Timeout of a connection that is held open until the web server gives up. The timeout is longer than the web server's
/// read timeouts, which are minutes.
const HOLD: Duration = Duration::from_secs(3600);
/// Timeout of a held connection while the engine leaves. The timeout is longer than the default read timeout of nginx.
const HOLD_LEAVING: Duration = Duration::from_secs(65);

/// A connection in the I/O thread.
pub struct Waiting {
    /// The connection and the reason why it waits.
    pub pending: Pending,
    /// The time when the connection came to the I/O thread.
    since: Instant,
    /// The last time when the connection was ready: the client has sent or taken bytes.
    active: Instant,
    /// Progress of a client that takes its response; `None` for any other wait.
    progress: Option<Progress>,
}

/// What a client has left undone when its time is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expired {
    /// The client has sent no byte of a request, or the server did not expect bytes.
    Idle,
    /// The client has not completed its request head in time.
    Head,
    /// The client has stopped sending its request body.
    Body,
    /// The client has stopped taking its response.
    Response,
}

impl Waiting {
    /// Begins to wait for the client of `pending` now.
    pub fn new(pending: Pending) -> Self {
        let now = Instant::now();
        let progress = match &pending {
            Pending::Writing(outgoing) => Some(Progress::new(outgoing.connection.raw_fd())),
            _ => None,
        };
        Self {
            pending,
            since: now,
            active: now,
            progress,
        }
    }

    /// Records that the client has sent or taken bytes.
    pub fn touch(&mut self) {
        self.active = Instant::now();
        if let Some(progress) = &mut self.progress {
            *progress = Progress::new(self.pending.connection().raw_fd());
        }
    }

    /// Time since the connection came to the I/O thread.
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// Whether the client has sent more bytes after its response than the maximum that is discarded.
    pub fn has_sent_too_much(&self) -> bool {
        matches!(&self.pending, Pending::Lingering(it) | Pending::Held(it) if it.discarded > LINGER_BYTES)
    }

    /// Returns what the client has left undone, if its time is over. `None` if the I/O thread continues to wait.
    pub fn expired(&mut self, now: Instant, timeouts: &Timeouts, phase: Phase) -> Option<Expired> {
        let total = self.age(now);
        let silence = now.saturating_duration_since(self.active);
        let (late, how) = match &self.pending {
            Pending::Reading(incoming) if incoming.reader.in_body() => {
                (silence >= timeouts.body, Expired::Body)
            }
            Pending::Reading(incoming) if incoming.reader.is_empty() => {
                (total >= timeouts.head, Expired::Idle)
            }
            Pending::Reading(_) => (total >= timeouts.head, Expired::Head),
            Pending::Writing(outgoing) => {
                let fd = outgoing.connection.raw_fd();
                let progress = self.progress.get_or_insert_with(|| Progress::new(fd));
                let left = progress.left(fd, timeouts.send);
                (left.is_zero(), Expired::Response)
            }
            Pending::Lingering(_) => {
                let most = match phase {
                    Phase::Stopping => LINGER_STOPPING,
                    _ => LINGER_TIME,
                };
                (silence >= LINGER_SILENCE || total >= most, Expired::Idle)
            }
            Pending::Held(_) => {
                let most = match phase {
                    Phase::Held | Phase::Serving => HOLD,
                    Phase::Retiring | Phase::Stopping => HOLD_LEAVING,
                };
                (total >= most, Expired::Idle)
            }
        };
        late.then_some(how)
    }
}
