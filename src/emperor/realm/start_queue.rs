//! Whose turn it is to start or to reload: one after the other, so that none who is quick can keep the others waiting.

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::Realm;
use crate::emperor::vassal::{Event, State};

impl Realm {
    /// Does what is due, and what it is somebody's turn to do.
    pub(in crate::emperor) fn tick(&mut self, now: Instant) {
        let turns = self.turns(now);
        if let Some(last) = turns.last() {
            self.last_turn.clone_from(last);
        }
        for (path, vassal) in &mut self.vassals {
            let turn = turns.contains(path);
            vassal.step(Event::Tick { turn }, now, &self.rule);
            vassal.feel_pulse(now);
        }
        self.vassals.retain(|_, vassal| vassal.state != State::Gone);
    }

    /// Those that may begin now: the next ones behind who had the last turn.
    fn turns(&self, now: Instant) -> Vec<PathBuf> {
        let under_way = self.vassals.values().filter(|vassal| {
            let end = vassal.state.turn_ends();
            end.is_some_and(|end| end > now)
        });
        let free = self.rule.turns.saturating_sub(under_way.count());
        let last = self.last_turn.as_path();
        let behind = (Bound::Excluded(last), Bound::Unbounded);
        let upto = (Bound::Unbounded, Bound::Included(last));
        let behind = self.vassals.range::<Path, _>(behind);
        let all = behind.chain(self.vassals.range::<Path, _>(upto));
        all.filter(|(_, vassal)| vassal.state.wants_turn(now))
            .take(free)
            .map(|(path, _)| path.clone())
            .collect()
    }
}
