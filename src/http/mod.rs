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
//! * [`engine`] is what all threads share: mainly [`listeners`], [`dispatch`], [`pending`] and [`keep_alive`].
//! * [`serve`] is the loop of a serving thread, [`io_thread`] is the loop of the single thread for slow clients.
//! * [`application`] is the trait of an application, [`io_thread::Control`] is the trait of the engine's owner.
//! * [`request`] and [`response`] are the types that an application sees.
//!
//! Where new code belongs: a limit or a timeout in [`settings`]; the time for which the I/O thread waits for a client
//! in `waiting`; the reason why a response is cut, and its log line, in [`loss`]; a variable of HTTP requests in
//! `http_environ`; the refusal of a request, and its log line, in `protocols` and [`refusal`]; a request that a static file answers in `static_response`; a header that the server
//! adds in [`response_headers`]; a header that the configuration adds in [`header_rules`]; another protocol in
//! `protocols`; a number on the scoreboard in [`scoreboard_rows`].

pub mod acceptor;
pub mod app_signals;
pub mod application;
pub mod application_headers;
pub mod budget;
pub mod connection;
pub mod crowding;
mod date;
mod disk;
pub mod dispatch;
pub mod engine;
mod framing;
pub mod header_rules;
mod http_environ;
pub mod io_thread;
pub mod keep_alive;
pub mod listeners;
pub mod loss;
mod lost_descriptors;
pub mod pending;
mod progress;
mod protocols;
pub mod record;
pub mod refusal;
mod repeated;
pub mod request;
pub mod request_lines;
pub mod request_reader;
pub mod response;
pub mod response_headers;
pub mod response_writer;
mod routing;
pub mod scoreboard_rows;
pub mod serve;
pub mod settings;
pub mod shared_response;
pub mod spool;
mod static_response;
pub mod thread_state;
pub mod unlock;
mod waiting;
pub mod worker_rows;
pub mod write_queue;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
