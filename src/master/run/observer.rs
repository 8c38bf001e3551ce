//! Event source: the observer. It requests a snapshot of the instance when a client reads the statistics.

use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use crate::ipc::Protocol;
use crate::master::generation::Generation;
use crate::master::plan::Plan;
use crate::master::role::GenerationRole;
use crate::net::BoundSocket;
use crate::stats::{AppView, Feed, InstanceSnapshot, SocketView};
use crate::sys::backlog;

use super::event_source::{Descriptor, EventSource, Token};
use super::master::{Master, Phase};

pub(super) struct Source;

impl EventSource for Source {
    fn descriptors<'a>(&self, master: &'a Master) -> Vec<Descriptor<'a>> {
        let feed = master.feed().into_iter();
        feed.map(|feed| Descriptor::from(feed.as_fd())).collect()
    }

    fn ready(&self, master: &mut Master, _tokens: &[Token], now: Instant) -> io::Result<()> {
        if master.feed().is_some_and(Feed::is_requested) {
            master.publish(now);
        }
        Ok(())
    }
}

impl Master {
    fn feed(&self) -> Option<&Feed<InstanceSnapshot>> {
        self.instance.resources().observer.as_ref()?.feed()
    }

    /// Removes the generations whose processes have all exited. The observer keeps their counters.
    pub(super) fn remove_gone_generations(&mut self, now: Instant) {
        if !self.generations.iter().any(Generation::is_gone) {
            return;
        }
        let gone = self.generations.extract_if(.., |it| it.is_gone());
        let gone: Vec<Generation> = gone.collect();
        let Some(observer) = &mut self.instance.resources_mut().observer else {
            return;
        };
        for generation in &gone {
            observer.retire(&generation.view());
        }
        // the last snapshot still refers to the scoreboard of the removed generation, so a new snapshot replaces it
        self.publish(now);
    }

    fn publish(&self, now: Instant) {
        if let Some(feed) = self.feed() {
            feed.publish(self.snapshot(now));
        }
    }

    fn snapshot(&self, now: Instant) -> InstanceSnapshot {
        let observer = self.instance.resources().observer.as_ref();
        let config = self.instance.config();
        let generations = &self.generations;
        let mut shown = generations
            .iter()
            .filter(|it| it.role != GenerationRole::Next);
        let serving = shown.clone().map(|it| &it.plan.app.worker);
        let sockets = self.instance.resources().sockets.iter();
        let plan = shown.next_back().map(|generation| &generation.plan);
        InstanceSnapshot {
            generations: generations.iter().map(Generation::view).collect(),
            retired: observer.map(|it| it.retired()).unwrap_or_default(),
            processes: serving
                .clone()
                .map(|it| it.processes)
                .max()
                .unwrap_or(config.processes()),
            threads: serving
                .map(|it| it.threads)
                .max()
                .unwrap_or(config.threads()),
            is_paused: matches!(self.phase, Phase::Paused { .. }),
            sockets: sockets.map(|socket| view(socket)).collect(),
            apps: plan.map(apps).unwrap_or_default(),
            daemons: self.services.daemon_views(),
            crons: self.services.cron_views(now),
        }
    }
}

fn view(socket: &BoundSocket) -> SocketView {
    let queue = backlog::queue(socket.fd()).ok();
    SocketView {
        name: socket.listener.name.clone(),
        protocol: match socket.listener.protocol {
            Protocol::Uwsgi => "uwsgi",
            Protocol::Http => "http",
        },
        queue: queue.map_or(0, |queue| queue.waiting),
        limit: queue.map_or(0, |queue| queue.limit),
        drops: backlog::drops(socket.fd()).unwrap_or(0),
    }
}

/// The applications of a generation: first the application without a mount point, then the mounted applications.
fn apps(plan: &Plan) -> Vec<AppView> {
    let app = &plan.app;
    let directory = app.chdir2.clone().unwrap_or_default();
    let named = [
        &app.module,
        &app.wsgi_file,
        &app.eval,
        &app.paste,
        &app.pecan,
    ];
    let root = named.iter().any(|it| it.is_some()).then_some("");
    let mounts = app.mounts.iter().map(|(point, _)| point.as_str());
    root.into_iter()
        .chain(mounts)
        .map(|mountpoint| AppView {
            mountpoint: mountpoint.to_owned(),
            directory: directory.clone(),
        })
        .collect()
}
