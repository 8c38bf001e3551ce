//! A connection in the I/O thread, and how long it is waited for.

use std::time::{Duration, Instant};

use super::dispatch::Phase;
use super::pending::Pending;
use super::progress::Progress;
use super::settings::Timeouts;

/// Limits on a client that may still be sending after its response: its longest silence, the total time, and the bytes that
/// are read and discarded. The values are those of nginx (`lingering_timeout`, `lingering_time`), which has no limit in bytes.
const LINGER_SILENCE: Duration = Duration::from_secs(5);
const LINGER_TIME: Duration = Duration::from_secs(30);
const LINGER_BYTES: u64 = 1 << 30;
/// The total time while the engine stops.
const LINGER_STOPPING: Duration = Duration::from_secs(1);
/// Limit on a connection that is held open until the web server loses patience: longer than its read timeouts, which are
/// minutes.
const HOLD: Duration = Duration::from_secs(3600);
/// The limit while the engine leaves: longer than the default read timeout of nginx.
const HOLD_LEAVING: Duration = Duration::from_secs(65);

/// A connection in the I/O thread.
pub struct Waiting {
    /// The connection and what it waits for.
    pub pending: Pending,
    /// When it came.
    since: Instant,
    /// When the client has last sent or taken something.
    active: Instant,
    /// How the client takes its response, where it waits for that.
    progress: Option<Progress>,
}

/// What a client that is waited for no more has left undone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expired {
    /// It has sent nothing, or nothing is expected of it.
    Idle,
    /// It has not sent its request head in time.
    Head,
    /// It has stopped sending its body.
    Body,
    /// It takes no more of its response.
    Response,
}

impl Waiting {
    /// A connection that comes now.
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

    /// The client has sent or taken something.
    pub fn touch(&mut self) {
        self.active = Instant::now();
        if let Some(progress) = &mut self.progress {
            *progress = Progress::new(self.pending.connection().raw_fd());
        }
    }

    /// Time since it came.
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// Whether so much has been discarded that the client is waited for no more.
    pub fn has_sent_too_much(&self) -> bool {
        matches!(&self.pending, Pending::Lingering(it) | Pending::Held(it) if it.discarded > LINGER_BYTES)
    }

    /// Whether the client is waited for no more, and why.
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
