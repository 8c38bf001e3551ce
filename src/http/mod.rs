//! The connection engine: accepts connections, reads requests, calls an application, sends responses. No Python.
//!
//! Request flow:
//!
//! ```text
//! listeners ─▶ acceptor ─▶ request_reader ─▶ serve ─▶ application ─▶ response ─▶ client
//!                 ▲  │                                                  │
//!        dispatch │  │ slow client                          slow client │ write_queue
//!      (complete) │  ▼                                                  ▼
//!                 └─ io_thread ◀───── engine (inbox of pending) ────────┘
//! ```
//!
//! * [`engine`] is what all threads share, made of [`listeners`], [`dispatch`], [`pending`] and [`keep_alive`].
//! * [`serve`] is the loop of a serving thread, [`io_thread`] that of the one thread for slow clients.
//! * [`application`] is the trait for what answers the requests, [`io_thread::Control`] the one for the engine's owner.
//! * [`request`] and [`response`] are what an application sees.
//!
//! Where a new line belongs: a limit or a timeout in [`settings`]; how long a client is waited for in `waiting`; why a response
//! is cut, and what the log says then, in [`loss`]; a variable of HTTP requests in `http_environ`; what is
//! refused, and how that is logged, in `protocols` and [`refusal`]; a header that the server adds in [`response_headers`],
//! one that the configuration adds in [`header_rules`];
//! another protocol in `protocols`; a number on the scoreboard in [`scoreboard_rows`].

pub mod acceptor;
pub mod application;
pub mod application_headers;
pub mod budget;
pub mod connection;
pub mod crowding;
mod date;
pub mod dispatch;
pub mod engine;
mod framing;
pub mod header_rules;
mod http_environ;
pub mod io_thread;
pub mod keep_alive;
pub mod listeners;
pub mod loss;
pub mod pending;
mod progress;
mod protocols;
pub mod record;
pub mod refusal;
mod repeated;
pub mod request;
pub mod request_reader;
pub mod response;
pub mod response_headers;
pub mod response_writer;
pub mod scoreboard_rows;
pub mod serve;
pub mod settings;
pub mod shared_response;
pub mod spool;
pub mod thread_state;
pub mod unlock;
mod waiting;
pub mod write_queue;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
