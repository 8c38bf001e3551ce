//! The observer of the instance: the thread that serves the statistics (`stats`) and the metrics (`prometheus`). Also
//! the data that the master keeps for this thread.

use std::io;
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::config::{Address, Config};
use crate::net::ServiceSocket;
use crate::stats::{
    self, Content, Endpoint, Feed, Format, GenerationView, InstanceSnapshot, Pushing,
    RetiredWorkers, Subject,
};

/// The sockets of the observer, and its feed of snapshots.
pub(super) struct Observer {
    sockets: Vec<(ServiceSocket, Content)>,
    feed: Option<Arc<Feed<InstanceSnapshot>>>,
    /// The counters of the generations whose processes have all exited.
    retired: Arc<RetiredWorkers>,
}

impl Observer {
    /// Binds the sockets. Returns `None` if no option needs the observer.
    ///
    /// # Errors
    /// When an address cannot be bound.
    pub(super) fn bind(config: &Config) -> Result<Option<Self>> {
        let mut sockets = Vec::new();
        let format = Format {
            http: config.stats_http(),
            minified: config.stats_minified(),
            cores: !config.stats_no_cores(),
        };
        for address in config.stats() {
            let socket = bind("stats", address, config)?;
            tracing::info!("the statistics are at {socket} (stats)");
            sockets.push((socket, Content::Statistics(format)));
        }
        for address in config.prometheus() {
            let socket = bind("prometheus", address, config)?;
            tracing::info!("the metrics are at {socket} (prometheus)");
            let uri = socket.to_string();
            sockets.push((socket, Content::Metrics(uri)));
        }
        let is_needed = !sockets.is_empty() || !config.stats_push().is_empty();
        Ok(is_needed.then(|| Self {
            sockets,
            feed: None,
            retired: Arc::default(),
        }))
    }

    /// Starts the thread. Must be called after the process has changed its user for the last time.
    ///
    /// # Errors
    /// When the thread or its descriptors cannot be created.
    pub(super) fn start(&mut self, config: &Config) -> Result<()> {
        self.try_start(config).context(
            "the thread for the statistics (stats, prometheus, stats-push) cannot be started",
        )
    }

    fn try_start(&mut self, config: &Config) -> io::Result<()> {
        let mut endpoints = Vec::new();
        for (socket, content) in &self.sockets {
            endpoints.push(Endpoint {
                listener: socket.duplicate()?,
                is_tcp: socket.is_tcp(),
                content: content.clone(),
            });
        }
        let feed = Feed::new(InstanceSnapshot {
            processes: config.processes(),
            threads: config.threads(),
            ..InstanceSnapshot::default()
        })?;
        let pushing = Pushing {
            pushers: config.stats_push().to_vec(),
            interval: config.stats_pusher_default_freq(),
        };
        stats::start(&Subject::Instance(Arc::clone(&feed)), endpoints, pushing)?;
        self.feed = Some(feed);
        Ok(())
    }

    /// The feed of snapshots; `None` before [`Observer::start`].
    pub(super) fn feed(&self) -> Option<&Feed<InstanceSnapshot>> {
        self.feed.as_deref()
    }

    /// The counters of the generations whose processes have all exited.
    pub(super) fn retired(&self) -> Arc<RetiredWorkers> {
        Arc::clone(&self.retired)
    }

    /// Keeps the counters of a generation after all its processes have exited.
    pub(super) fn retire(&mut self, generation: &GenerationView) {
        Arc::make_mut(&mut self.retired).add(generation);
    }

    /// Removes the files of Unix sockets (`vacuum`).
    pub(super) fn remove_files(&self) {
        self.sockets.iter().for_each(|(socket, _)| socket.remove());
    }
}

fn bind(option: &str, address: &Address, config: &Config) -> Result<ServiceSocket> {
    ServiceSocket::bind(address, config).with_context(|| format!("{option} = {address}"))
}
