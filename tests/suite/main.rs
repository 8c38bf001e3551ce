//! The black-box suite: each test starts a real server, sends requests, and leaves nothing behind.
//! `RUWSGI_UNDER_TEST=/path/to/uwsgi cargo test --test suite` runs it against the original.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../kit/mod.rs"]
mod kit;

mod bodies;
mod children;
mod control;
mod crashes;
mod cron;
mod daemon;
mod daemons;
mod differences;
mod django;
mod emperor;
mod emperor_cap;
mod emperor_cgroup;
mod emperor_hostile;
mod emperor_isolation;
mod environ;
mod fifo;
mod files;
mod fork_safety;
mod headers;
mod heartbeat;
mod hooks;
mod http;
mod idle;
mod input;
mod isolation;
mod iteration;
mod life;
mod limits;
mod load;
mod loading;
mod migration;
mod on_demand;
mod packets;
mod privileges;
mod processes;
mod refusals;
mod reloads;
mod request_log;
mod responses;
mod scale;
mod serve;
mod signals;
mod slow_starts;
mod small_options;
mod systemd;
mod tutorial;
mod uwsgi_module;
mod vassal_programs;
mod venvs;
mod watching;
mod worker_ids;
