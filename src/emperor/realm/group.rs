//! The cgroups that vassals run in: entered at their start, narrowed as they ask, removed when they have left.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::emperor::groups;
use crate::emperor::vassal::State;
use crate::ipc::{self, Limited};
use crate::sys::cgroup::{CpuQuota, Limits};
use crate::sys::process::Exit;
use crate::sys::signal::Signal;

use super::{Realm, Rule, Vassal};

impl Realm {
    /// At the end: removes the groups, and says which are left.
    pub(in crate::emperor) fn tell_groups_left(&self) {
        if let Some(groups) = &self.rule.groups {
            groups.sweep();
            groups.tell_left("of a vassal");
        }
    }
}

impl Vassal {
    /// Makes its group, or takes that in which something of it lives on, and opens it; `None`: there are no groups.
    pub(super) fn enter_group(&mut self, rule: &Rule) -> io::Result<Option<OwnedFd>> {
        let Some(groups) = &rule.groups else {
            return Ok(None);
        };
        let group = groups.of(&self.found)?;
        let entrance = group.open_processes()?;
        self.group = Some(group);
        Ok(Some(entrance))
    }

    /// Its program runs: it has the emperor's limits from now on.
    pub(super) fn begin_limits(&self, rule: &Rule) {
        if let (Some(groups), Some(group)) = (&rule.groups, &self.group)
            && let Err(sentence) = groups.started(group)
        {
            tracing::error!("vassal {}: {sentence}", self.found.name);
        }
    }

    /// Its own file limits it so; it waits for the answer.
    pub(super) fn limit_group(&self, asked: Limits, rule: &Rule) {
        let limited = match (&rule.groups, &self.group) {
            (Some(groups), Some(group)) => groups.limit(group, asked),
            _ => Err("the emperor makes no cgroups".to_owned()),
        };
        // one that starts fails by it, and tells
        if let (Err(sentence), State::Ready { .. }) = (&limited, self.state) {
            tracing::error!("vassal {}: {sentence}", self.found.name);
        }
        let limited = Limited {
            limits_refused: limited.err(),
        };
        if let Some(channel) = &self.channel {
            // one that cannot be told is gone: its exit tells the rest
            let _ = ipc::send(channel.as_fd(), &limited, &[]);
        }
    }

    /// What is to be said of a kill, where the kernel has killed in its group for want of memory.
    pub(super) fn want_of_memory(&self, exit: Exit) -> String {
        let kills = self.group.as_ref().map_or(0, |group| group.kills());
        match exit {
            Exit::Signal(number) if number == Signal::SIGKILL as i32 && kills > 0 => format!(
                "; want of memory in its cgroup has made the kernel kill (cgroup-memory-max; {kills} in all)"
            ),
            _ => String::new(),
        }
    }

    /// Removes its group when its process has ended. What lives on in there, as smart daemons do, keeps it and its
    /// limits: the next process of the vassal joins them.
    pub(super) fn leave_group(&mut self) {
        let Some(group) = self.group.take() else {
            return;
        };
        let name = &self.found.name;
        match group.remove() {
            Ok(true) => {}
            Ok(false) if matches!(self.state, State::Gone | State::Stopped) => {
                tracing::info!(
                    "vassal {name}: its cgroup {} stays: {}",
                    group.directory().display(),
                    groups::living(&group)
                );
            }
            Ok(false) => {}
            Err(error) => {
                tracing::warn!("vassal {name}: its cgroup cannot be removed: {error}");
            }
        }
    }

    /// What its group takes of what it may.
    pub(in crate::emperor) fn limits_in_use(&self) -> Option<String> {
        let group = self.group.as_ref()?;
        let number = |file: &str| group.get(file)?.parse::<u64>().ok();
        let mut parts = Vec::new();
        if let Some(used) = number("memory.current") {
            let of = number("memory.max").map(|most| format!(" of {} MiB", most >> 20));
            parts.push(format!(
                "memory {} MiB{}",
                used >> 20,
                of.unwrap_or_default()
            ));
        }
        let cpu = group.get("cpu.max");
        if let Some((quota, period)) = cpu.as_deref().and_then(|text| text.split_once(' '))
            && let (Ok(quota), Ok(period)) = (quota.parse(), period.parse())
        {
            let share = CpuQuota { quota, period };
            parts.push(format!("cpu {}%", share.percent()));
        }
        if let Some(used) = number("pids.current") {
            let of = number("pids.max").map(|most| format!(" of {most}"));
            parts.push(format!("tasks {used}{}", of.unwrap_or_default()));
        }
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}
