//! The statistics server and the metrics, through which the master and the emperor report their state to tools.
//!
//! The *observer* is a thread of the master or the emperor. It answers the tools, so that no client can delay the
//! supervision. It is started only if an option needs it.
//!
//! ```text
//! client ──▶ observer ── asks, when a client connects ──▶ master or emperor
//!                     ◀─ snapshot (`Feed::publish`) ──────
//!                     ◀─ counters: reads the scoreboards itself
//! ```
//!
//! The supervisor only builds a snapshot of its own state, in microseconds, and never waits. If it does not answer in
//! time, the observer uses the last snapshot. Clients that connect at the same time share one snapshot and one answer.

mod connection;
mod counters;
mod emperor;
mod feed;
mod format;
mod generation;
mod instance;
mod json;
mod metric_list;
mod metrics;
mod metrics_http;
mod observer;
mod page;
mod pusher;
mod snapshot;
mod worker;

pub(crate) use counters::RetiredWorkers;
pub(crate) use emperor::{BackoffStats, EmperorStats, VassalStats};
pub(crate) use feed::Feed;
pub(crate) use format::{Content, Format};
pub(crate) use generation::{GenerationView, Holder, SlotView, Stage, WorkerTally};
pub(crate) use observer::{Endpoint, Pushing, start};
pub(crate) use page::Subject;
pub(crate) use snapshot::{AppView, CronView, DaemonView, InstanceSnapshot, SocketView};
