//! The signals of the application in one generation: registration, and delivery to the workers.

use std::sync::atomic::Ordering::Relaxed;

use crate::ipc::{SignalRequest, SignalTarget, ToWorker};
use crate::master::app_signals::{Candidate, Effect, SignalTable, first_free};
use crate::shared::signal_rows::SignalRow;

use super::Generation;
use super::processes::row_of;

/// Maximum number of raised signals that wait for a generation that does not serve yet.
const MAX_RAISED: usize = 1024;

impl Generation {
    /// Handles a request that a process has sent: the worker in `slot`, or the zygote if `slot` is `None`.
    pub(super) fn handle_signal_request(&mut self, slot: Option<usize>, request: SignalRequest) {
        match self.signals.apply(request, slot.is_none()) {
            Effect::Registered(number) => {
                let record = slot.and_then(|slot| self.slots[slot].record.as_mut());
                if let Some(record) = record {
                    record.signals.insert(number);
                }
            }
            Effect::Scheduled => self.signals_changed = true,
            Effect::Raised(number) if self.raised.len() < MAX_RAISED => self.raised.push(number),
            Effect::Known | Effect::Raised(_) => {}
            Effect::Full => tracing::error!(
                "generation {}: the application has too many timers, cron entries and file monitors; a new one has no effect",
                self.number
            ),
        }
    }

    /// Forgets the registered signals, because another zygote imports the application.
    pub(super) fn forget_signals(&mut self) {
        let configured = SignalTable::new(self.plan.signals.clone());
        let before = std::mem::replace(&mut self.signals, configured);
        self.signals_changed |= before.triggers() != self.signals.triggers();
    }

    /// The registered signals.
    pub(in crate::master) fn signals(&self) -> &SignalTable {
        &self.signals
    }

    /// Whether the triggers have changed since the last call.
    pub(in crate::master) fn take_signals_changed(&mut self) -> bool {
        std::mem::take(&mut self.signals_changed)
    }

    /// Takes the signals that the application has raised.
    pub(in crate::master) fn take_raised(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.raised)
    }

    /// Whether the handler of a signal runs in a worker of this generation, or waits to run.
    pub(in crate::master) fn is_signal_active(&self, number: u8) -> bool {
        let waits = self
            .shared_signals()
            .is_some_and(|it| it.waiting(number) > 0);
        waits || (0..self.slots.len()).any(|slot| self.is_signal_active_in(slot, number))
    }

    fn is_signal_active_in(&self, slot: usize, number: u8) -> bool {
        let row = row_of(slot);
        let waits = || {
            let signals = self.scoreboard.signals(row);
            signals.is_some_and(|it| it.waiting(number) > 0)
        };
        self.slots[slot].record.is_some()
            && (waits() || self.scoreboard.running_signals(row).any(|it| it == number))
    }

    /// Number of signals that the worker in a slot has handled.
    pub(super) fn signals_of(&self, slot: usize) -> u64 {
        self.signals_of_row(row_of(slot))
    }

    /// Number of signals that the process with a scoreboard row has handled. For a mule, messages count too.
    pub(super) fn signals_of_row(&self, row: u32) -> u64 {
        self.scoreboard.worker_signals(row)
    }

    /// Handles a request that a mule has sent. If a mule registers a handler for a signal, the mules handle this signal
    /// only if the import of the application has registered the signal too.
    pub(super) fn handle_mule_request(&mut self, mule: usize, request: SignalRequest) {
        match self.signals.apply(request, false) {
            Effect::Registered(number) => tracing::warn!(
                "mule {}: the handler of signal {number} has no effect in other processes; register it while the application is imported",
                mule + 1
            ),
            Effect::Scheduled => self.signals_changed = true,
            Effect::Raised(number) if self.raised.len() < MAX_RAISED => self.raised.push(number),
            Effect::Known | Effect::Raised(_) | Effect::Full => {}
        }
    }

    /// Raises a signal in the mules that `target` names. If a trigger has raised the signal (`is_tick`), a mule that
    /// has not yet handled the previous signal is skipped. Returns the number of skipped mules; `None` if `target`
    /// names no mule.
    pub(in crate::master) fn raise_in_mules(
        &mut self,
        number: u8,
        target: &SignalTarget,
        is_tick: bool,
        last: &mut u32,
    ) -> Option<u32> {
        let serving: Vec<(u32, u32)> = self.serving_mules().collect();
        let members = |name: &String| {
            let mut farms = self.plan.app.farms.iter();
            let farm = farms.find(|farm| farm.name == *name).or_else(|| {
                let index: usize = name.parse().ok()?;
                self.plan.app.farms.get(index.checked_sub(1)?)
            });
            farm.map_or_else(Vec::new, |farm| farm.mules.clone())
        };
        let chosen: Vec<u32> = match target {
            SignalTarget::Mules => serving.iter().map(|(_, row)| *row).collect(),
            SignalTarget::Mule(id) => {
                let rows = serving.iter().filter(|(known, _)| known == id);
                rows.map(|(_, row)| *row).collect()
            }
            SignalTarget::AnyMule => self.free_mule(serving.iter().map(|it| it.1), last),
            SignalTarget::Farm(name) => {
                let members = members(name);
                let rows = serving.iter().filter(|(id, _)| members.contains(id));
                self.free_mule(rows.map(|it| it.1), last)
            }
            _ => Vec::new(),
        };
        if chosen.is_empty() {
            return None;
        }
        let mut skipped = 0;
        for row in chosen {
            let Some(signals) = self.scoreboard.signals(row) else {
                continue;
            };
            let mut running = self.scoreboard.running_signals(row);
            if is_tick && (signals.waiting(number) > 0 || running.any(|it| it == number)) {
                skipped += 1;
                continue;
            }
            signals.add(number, 1);
            self.send_to_mule(row as usize - self.slots.len() - 1, ToWorker::Signals);
        }
        Some(skipped)
    }

    /// Chooses the mule that handles a signal, from the mules in `rows`: the next free mule after `last`. Returns its
    /// row.
    fn free_mule(&self, rows: impl Iterator<Item = u32>, last: &mut u32) -> Vec<u32> {
        let is_busy = |row: u32| {
            let thread = self.scoreboard.thread(row, 0);
            let waits = self.scoreboard.signals(row);
            thread.is_some_and(|it| it.busy_since.load(Relaxed) != 0)
                || waits.is_some_and(|it| it.numbers().next().is_some())
        };
        let candidates: Vec<_> = rows
            .map(|row| Candidate {
                row,
                idle_threads: usize::from(!is_busy(row)),
            })
            .collect();
        let mut chosen = first_free(&candidates, *last);
        chosen.truncate(1);
        *last = chosen.first().copied().unwrap_or(*last);
        chosen
    }

    /// The signals that any worker of this generation may handle.
    pub(in crate::master) fn shared_signals(&self) -> Option<&SignalRow> {
        self.scoreboard.signals(0)
    }

    /// The slots of the serving workers that have a handler for a signal.
    fn handlers_of(&self, number: u8) -> impl Iterator<Item = usize> {
        let inherited = self.signals.is_inherited(number);
        (0..self.slots.len()).filter(move |slot| {
            let slot = &self.slots[*slot];
            let registered = || {
                let record = slot.record.as_ref();
                record.is_some_and(|record| record.signals.contains(number))
            };
            slot.is_serving() && (inherited || registered())
        })
    }

    /// Whether a serving worker has a handler for a signal.
    pub(in crate::master) fn handles_signal(&self, number: u8) -> bool {
        self.handlers_of(number).next().is_some()
    }

    /// Raises a signal `count` times. One worker handles it each time. Returns false if too many of these signals
    /// already wait.
    pub(in crate::master) fn raise_shared(
        &mut self,
        number: u8,
        count: u16,
        last: &mut u32,
    ) -> bool {
        let added = self
            .shared_signals()
            .is_some_and(|it| it.add(number, count));
        let candidates: Vec<_> = self
            .handlers_of(number)
            .map(|it| self.candidate(it))
            .collect();
        for row in first_free(&candidates, *last) {
            *last = row;
            self.send(row as usize - 1, ToWorker::Signals);
        }
        added
    }

    fn candidate(&self, slot: usize) -> Candidate {
        let threads = self.plan.app.worker.threads as usize;
        let row = row_of(slot);
        Candidate {
            row,
            idle_threads: threads.saturating_sub(self.requests_in_flight(slot).len()),
        }
    }

    /// Repeats the message about the signals that wait for any worker. The worker that got the earlier message may be
    /// busy with a request, or may have exited.
    pub(in crate::master) fn repeat_signals(&mut self) {
        let Some(shared) = self.shared_signals() else {
            return;
        };
        let numbers: Vec<u8> = shared.numbers().collect();
        let handles = |slot: &usize| {
            numbers
                .iter()
                .any(|number| self.handlers_of(*number).any(|it| it == *slot))
        };
        let slots: Vec<usize> = (0..self.slots.len()).filter(handles).collect();
        for slot in slots {
            self.send(slot, ToWorker::Signals);
        }
    }

    /// Raises a signal in each worker that `target` names. If a trigger has raised the signal (`is_tick`), a worker
    /// that has not yet handled the previous signal is skipped. Returns the number of skipped workers.
    pub(in crate::master) fn raise_in_each(
        &mut self,
        number: u8,
        target: &SignalTarget,
        is_tick: bool,
    ) -> u32 {
        let mut skipped = 0;
        let slots: Vec<usize> = self.handlers_of(number).collect();
        for slot in slots {
            let is_meant = match target {
                SignalTarget::Workers => true,
                SignalTarget::Worker(id) => *id == self.slots[slot].worker_id,
                _ => false,
            };
            if !is_meant {
                continue;
            }
            if is_tick && self.is_signal_active_in(slot, number) {
                skipped += 1;
                continue;
            }
            if let Some(signals) = self.scoreboard.signals(row_of(slot)) {
                signals.add(number, 1);
            }
            self.send(slot, ToWorker::Signals);
        }
        skipped
    }
}
