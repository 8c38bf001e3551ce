//! Hooks of workers. The state of each slot shows which hooks are due.

use std::collections::HashSet;

use crate::config::{Action, Config};
use crate::master::generation::Generation;
use crate::master::slot::SlotState;
use crate::sys::process::Pid;

use super::phase::Hook;

/// The configured hooks of workers, and the workers for which hooks have run.
#[derive(Debug, Default)]
pub(super) struct WorkerHooks {
    post_fork: Vec<Action>,
    accepting: Vec<Action>,
    accepting_once: Vec<Action>,
    accepting1: Vec<Action>,
    accepting1_once: Vec<Action>,
    /// Live workers whose `post-fork` hooks have run.
    forked: HashSet<Pid>,
    /// Live workers whose `accepting` hooks have run.
    serving: HashSet<Pid>,
    /// Generation number and worker number of the slots whose `accepting-once` hooks have run.
    once: HashSet<(u32, u32)>,
}

/// The state of a slot, with the worker's number and the generation's number.
#[derive(Clone, Copy, Debug)]
pub(super) struct WorkerState<'a> {
    pub(super) generation: u32,
    pub(super) number: u32,
    pub(super) slot: &'a SlotState,
}

impl WorkerHooks {
    /// Takes the hooks from the configuration of a generation that begins to serve.
    pub(super) fn configure(&mut self, config: &Config, generation: u32) {
        self.once.retain(|(known, _)| *known >= generation);
        self.post_fork = config.hook_post_fork().to_vec();
        self.accepting = config.hook_accepting().to_vec();
        self.accepting_once = config.hook_accepting_once().to_vec();
        self.accepting1 = config.hook_accepting1().to_vec();
        self.accepting1_once = config.hook_accepting1_once().to_vec();
    }

    /// Whether no hooks are configured.
    pub(super) fn is_empty(&self) -> bool {
        let lists = [
            &self.post_fork,
            &self.accepting,
            &self.accepting_once,
            &self.accepting1,
            &self.accepting1_once,
        ];
        lists.iter().all(|list| list.is_empty())
    }

    /// Returns the hooks of the workers that have left the state `Parked` or have begun to serve since the last call.
    /// `workers`: all slots of all generations.
    pub(super) fn due<'a>(&mut self, workers: impl Iterator<Item = WorkerState<'a>>) -> Vec<Hook> {
        let mut hooks = Vec::new();
        let (mut forked, mut serving) = (HashSet::new(), HashSet::new());
        for WorkerState {
            generation,
            number,
            slot,
        } in workers
        {
            let Some(pid) = slot.worker().map(|worker| worker.pid) else {
                continue;
            };
            if matches!(slot, SlotState::Parked { .. }) {
                continue;
            }
            forked.insert(pid);
            if !self.forked.contains(&pid) {
                add(&mut hooks, "post-fork", &self.post_fork);
            }
            let has_served = self.serving.contains(&pid);
            let serves = matches!(slot, SlotState::Serving { .. });
            if serves || has_served {
                serving.insert(pid);
            }
            if serves && !has_served {
                let is_first = self.once.insert((generation, number));
                self.add_accepting(&mut hooks, number, is_first);
            }
        }
        self.forked = forked;
        self.serving = serving;
        hooks
    }

    /// Adds the hooks of a worker that begins to serve. `is_first` means that no earlier worker with this number has
    /// served in this generation.
    fn add_accepting(&self, hooks: &mut Vec<Hook>, number: u32, is_first: bool) {
        add(hooks, "accepting", &self.accepting);
        if is_first {
            add(hooks, "accepting-once", &self.accepting_once);
        }
        if number == 1 {
            add(hooks, "accepting1", &self.accepting1);
        }
        if number == 1 && is_first {
            add(hooks, "accepting1-once", &self.accepting1_once);
        }
    }
}

fn add(hooks: &mut Vec<Hook>, name: &'static str, actions: &[Action]) {
    let actions = actions.iter().cloned();
    hooks.extend(actions.map(|action| Hook::new(name, action)));
}

/// Returns the states of all slots of a generation.
pub(super) fn workers(generation: &Generation) -> impl Iterator<Item = WorkerState<'_>> {
    generation.slots().map(|(number, slot, _)| WorkerState {
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

    fn due(
        hooks: &mut WorkerHooks,
        generation: u32,
        slots: &[(u32, SlotState)],
    ) -> Vec<&'static str> {
        let workers = slots.iter().map(|(number, slot)| WorkerState {
            generation,
            number: *number,
            slot,
        });
        hooks.due(workers).iter().map(|hook| hook.name).collect()
    }

    #[test]
    fn each_worker_has_its_hooks_once_and_some_only_the_first() {
        let action = || vec![Action::Print(String::new())];
        let mut hooks = WorkerHooks {
            post_fork: action(),
            accepting: action(),
            accepting_once: action(),
            accepting1: action(),
            accepting1_once: action(),
            ..WorkerHooks::default()
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
        assert_eq!(due(&mut hooks, 1, &[(1, starting)]), ["post-fork"]);
        assert_eq!(due(&mut hooks, 1, &[(1, serving(7))]), all);
        assert!(due(&mut hooks, 1, &[(1, serving(7))]).is_empty());
        let replacement = due(&mut hooks, 1, &[(1, serving(8)), (2, serving(9))]);
        let expected = [
            "post-fork",
            "accepting",
            "accepting1",
            "post-fork",
            "accepting",
            "accepting-once",
        ];
        assert_eq!(replacement, expected);
        let next_generation = due(&mut hooks, 2, &[(1, serving(10))]);
        assert_eq!(
            (next_generation.len(), next_generation[0]),
            (5, "post-fork")
        );
    }
}
