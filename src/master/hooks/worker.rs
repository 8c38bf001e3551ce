//! Hooks for workers: which of them are due, from what the slots hold.

use std::collections::HashSet;

use crate::config::{Action, Config};
use crate::master::generation::Generation;
use crate::master::slot::SlotState;
use crate::sys::process::Pid;

use super::runner::Job;

/// The hooks, and the workers they were run for.
#[derive(Debug, Default)]
pub(in crate::master) struct Workers {
    post_fork: Vec<Action>,
    accepting: Vec<Action>,
    accepting_once: Vec<Action>,
    accepting1: Vec<Action>,
    accepting1_once: Vec<Action>,
    forked: HashSet<Pid>,
    serving: HashSet<Pid>,
    /// Generation and number of those that began to serve.
    once: HashSet<(u32, u32)>,
}

/// A worker as it is seen.
#[derive(Clone, Copy, Debug)]
pub(in crate::master) struct Sight<'a> {
    pub(in crate::master) generation: u32,
    pub(in crate::master) number: u32,
    pub(in crate::master) slot: &'a SlotState,
}

impl Workers {
    /// Takes on the hooks of a new generation.
    pub(in crate::master) fn settle(&mut self, config: &Config, generation: u32) {
        self.once.retain(|(known, _)| *known >= generation);
        self.post_fork = config.hook_post_fork().to_vec();
        self.accepting = config.hook_accepting().to_vec();
        self.accepting_once = config.hook_accepting_once().to_vec();
        self.accepting1 = config.hook_accepting1().to_vec();
        self.accepting1_once = config.hook_accepting1_once().to_vec();
    }

    /// Whether there are hooks for workers.
    pub(in crate::master) fn any(&self) -> bool {
        let lists = [
            &self.post_fork,
            &self.accepting,
            &self.accepting_once,
            &self.accepting1,
            &self.accepting1_once,
        ];
        lists.iter().any(|list| !list.is_empty())
    }

    /// What is to be done for the workers that are there now and were not before.
    pub(in crate::master) fn look<'a>(
        &mut self,
        sights: impl Iterator<Item = Sight<'a>>,
    ) -> Vec<Job> {
        let mut jobs = Vec::new();
        let mut add = |moment, actions: &[Action]| {
            jobs.extend(
                actions
                    .iter()
                    .map(|action| Job::new(moment, action.clone())),
            );
        };
        let (mut forked, mut serving) = (HashSet::new(), HashSet::new());
        for Sight {
            generation,
            number,
            slot,
        } in sights
        {
            let Some(worker) = slot.worker() else {
                continue;
            };
            forked.insert(worker.pid);
            if !self.forked.contains(&worker.pid) {
                add("post-fork", &self.post_fork);
            }
            let serves = matches!(slot, SlotState::Serving { .. });
            if serves || self.serving.contains(&worker.pid) {
                serving.insert(worker.pid);
            }
            if !serves || self.serving.contains(&worker.pid) {
                continue;
            }
            let first = self.once.insert((generation, number));
            add("accepting", &self.accepting);
            if first {
                add("accepting-once", &self.accepting_once);
            }
            if number == 1 {
                add("accepting1", &self.accepting1);
            }
            if number == 1 && first {
                add("accepting1-once", &self.accepting1_once);
            }
        }
        self.forked = forked;
        self.serving = serving;
        jobs
    }
}

/// The workers of a generation.
pub(in crate::master) fn sights(generation: &Generation) -> impl Iterator<Item = Sight<'_>> {
    generation.slots().map(|(number, slot, _)| Sight {
        generation: generation.number,
        number,
        slot,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Instant;

    use crate::master::slot::WorkerProcess;

    use super::*;

    fn worker(pid: i32) -> WorkerProcess {
        WorkerProcess {
            pid: Pid::new(pid).unwrap(),
            since: Instant::now(),
            failures: 0,
        }
    }

    fn moments(
        workers: &mut Workers,
        generation: u32,
        slots: &[(u32, SlotState)],
    ) -> Vec<&'static str> {
        let sights = slots.iter().map(|(number, slot)| Sight {
            generation,
            number: *number,
            slot,
        });
        workers.look(sights).iter().map(Job::moment).collect()
    }

    #[test]
    fn each_worker_has_its_hooks_once_and_some_only_the_first() {
        let action = || vec![Action::Print(String::new())];
        let mut workers = Workers {
            post_fork: action(),
            accepting: action(),
            accepting_once: action(),
            accepting1: action(),
            accepting1_once: action(),
            ..Workers::default()
        };
        let starting = SlotState::Starting { worker: worker(7) };
        let serving = |pid| SlotState::Serving {
            worker: worker(pid),
        };
        let all = [
            "accepting",
            "accepting-once",
            "accepting1",
            "accepting1-once",
        ];
        assert_eq!(moments(&mut workers, 1, &[(1, starting)]), ["post-fork"]);
        assert_eq!(moments(&mut workers, 1, &[(1, serving(7))]), all);
        assert!(moments(&mut workers, 1, &[(1, serving(7))]).is_empty());
        // the one that takes its place
        let again = moments(&mut workers, 1, &[(1, serving(8)), (2, serving(9))]);
        let expected = [
            "post-fork",
            "accepting",
            "accepting1",
            "post-fork",
            "accepting",
            "accepting-once",
        ];
        assert_eq!(again, expected);
        // and the next generation
        let next = moments(&mut workers, 2, &[(1, serving(10))]);
        assert_eq!((next.len(), next[0]), (5, "post-fork"));
    }
}
