#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

const LIMITS: Limits = Limits {
    throttle: Duration::from_secs(1),
    longest: Duration::from_secs(180),
    mercy: Duration::from_secs(30),
};

/// A vassal whose time is told by the test.
struct Life {
    state: State,
    now: Instant,
    action: Action,
}

impl Life {
    fn new() -> Self {
        let now = Instant::now();
        Life {
            state: State::new(now),
            now,
            action: Action::Nothing,
        }
    }

    fn then(mut self, event: Event) -> Self {
        (self.state, self.action) = step(self.state, event, self.now, &LIMITS);
        self
    }

    fn after(mut self, milliseconds: u64) -> Self {
        self.now += Duration::from_millis(milliseconds);
        self
    }

    fn started(self) -> Self {
        let due = self.then(Event::Tick { turn: true });
        assert_eq!(due.action, Action::Spawn);
        due.then(Event::Spawned(pid()))
    }

    fn ready() -> Self {
        Life::new().started().then(Event::Ready)
    }

    /// How long until it is started again, milliseconds.
    fn pause(&self) -> u128 {
        match self.state {
            State::Due { due, .. } => due.saturating_duration_since(self.now).as_millis(),
            other => panic!("{other:?}"),
        }
    }
}

fn pid() -> Pid {
    Pid::new(7).unwrap()
}

#[test]
fn a_file_that_is_found_is_started_when_it_is_its_turn() {
    let life = Life::new().then(Event::Tick { turn: false });
    assert_eq!(life.action, Action::Nothing);
    assert!(matches!(life.started().state, State::Starting { .. }));
}

#[test]
fn a_change_reloads_once_however_often_it_is_told_meanwhile() {
    let life = Life::ready().then(Event::Changed).then(Event::Changed);
    let life = life.then(Event::Tick { turn: true });
    assert_eq!(life.action, Action::Tell(ToVassal::Reload));
    let life = life.then(Event::Tick { turn: true });
    assert_eq!(life.action, Action::Nothing);
    let life = life
        .then(Event::Changed)
        .then(Event::Changed)
        .then(Event::Reloaded);
    let life = life.then(Event::Tick { turn: true });
    assert_eq!(life.action, Action::Tell(ToVassal::Reload));
    let life = life.then(Event::Reloaded).then(Event::Tick { turn: true });
    assert_eq!(life.action, Action::Nothing);
}

#[test]
fn a_file_that_goes_stops_its_vassal() {
    let life = Life::ready().then(Event::Remove);
    assert_eq!(life.action, Action::Tell(ToVassal::Stop));
    assert_eq!(life.then(Event::Exited).state, State::Gone);
}

#[test]
fn a_file_that_comes_back_while_its_vassal_leaves_is_started_anew() {
    let life = Life::ready().then(Event::Remove).then(Event::Changed);
    assert_eq!(life.then(Event::Exited).pause(), 0);
}

#[test]
fn the_pauses_of_one_that_fails_grow_up_to_the_longest() {
    let mut life = Life::new();
    let mut pauses = Vec::new();
    for _ in 0..10 {
        life = life.started().then(Event::Exited);
        pauses.push(life.pause() / 1000);
        life = life.after(200_000);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 180, 180]);
}

#[test]
fn an_edit_or_the_operator_tries_one_that_failed_at_once() {
    for event in [Event::Changed, Event::Start] {
        let life = Life::new().started().then(Event::Exited);
        assert_eq!(life.pause(), 1000);
        assert_eq!(life.then(event).pause(), 0);
    }
}

#[test]
fn a_failure_of_a_file_that_was_edited_meanwhile_does_not_count() {
    let life = Life::new()
        .started()
        .then(Event::Changed)
        .then(Event::Exited);
    assert_eq!(life.pause(), 0);
    let life = Life::new()
        .started()
        .then(Event::Changed)
        .then(Event::Ready);
    let life = life.then(Event::Tick { turn: true });
    assert_eq!(life.action, Action::Tell(ToVassal::Reload));
}

#[test]
fn one_that_dies_after_a_steady_life_is_back_at_once_and_one_that_keeps_dying_is_not() {
    let life = Life::ready().after(60_000).then(Event::Exited);
    assert_eq!(life.pause(), 0);
    let life = life.started().then(Event::Ready).then(Event::Exited);
    assert_eq!(life.pause(), 1000);
    let life = life
        .after(1000)
        .started()
        .then(Event::Ready)
        .then(Event::Exited);
    assert_eq!(life.pause(), 2000);
}

#[test]
fn one_that_does_not_stop_is_hurried_and_then_killed() {
    let life = Life::ready().then(Event::Remove).after(30_000);
    let life = life.then(Event::Tick { turn: false });
    assert_eq!(life.action, Action::Tell(ToVassal::StopNow));
    let life = life.after(1000).then(Event::Tick { turn: false });
    assert_eq!(life.action, Action::Nothing);
    let life = life.after(1000).then(Event::Tick { turn: false });
    assert_eq!(life.action, Action::Kill(pid()));
    assert_eq!(life.state.deadline(life.now), None);
}

#[test]
fn what_the_operator_stopped_stays_so_until_he_starts_it() {
    let life = Life::ready().then(Event::Stop).then(Event::Exited);
    assert_eq!(life.state, State::Stopped);
    let life = life.then(Event::Changed).then(Event::Reload);
    assert_eq!(life.state, State::Stopped);
    assert_eq!(life.then(Event::Start).pause(), 0);
}

#[test]
fn one_that_is_refused_is_not_tried_until_its_file_changes() {
    let life = Life::new().then(Event::Refuse).after(600_000);
    let life = life.then(Event::Tick { turn: true });
    assert_eq!(life.state, State::Refused);
    assert_eq!(life.then(Event::Changed).pause(), 0);
}

#[test]
fn another_owner_means_another_process() {
    let life = Life::ready().then(Event::Replace);
    assert_eq!(life.action, Action::Tell(ToVassal::Stop));
    assert_eq!(life.then(Event::Exited).pause(), 0);
}

#[test]
fn a_start_that_takes_long_gives_its_turn_away() {
    let life = Life::new().started();
    let end = life.state.turn_ends().unwrap();
    assert_eq!(end - life.now, TURN);
}

#[test]
fn one_on_demand_hands_its_sockets_over_and_is_started_for_a_client() {
    let life = Life::new().started().then(Event::Waits);
    assert_eq!(life.state, State::OnDemand);
    // its process goes, which changes nothing
    let life = life.then(Event::Exited).then(Event::Tick { turn: true });
    assert_eq!(
        (life.state, life.action),
        (State::OnDemand, Action::Nothing)
    );
    let life = life.then(Event::Wanted).started().then(Event::Ready);
    assert!(matches!(life.state, State::Ready { failures: 0, .. }));
    let life = life.after(60_000).then(Event::Rested);
    assert_eq!(life.state, State::OnDemand);
}

#[test]
fn a_change_is_read_before_one_on_demand_waits_again() {
    let changed = Life::new().started().then(Event::Changed);
    assert_eq!(changed.then(Event::Waits).pause(), 0);
    let waiting = Life::new().started().then(Event::Waits);
    assert_eq!(waiting.then(Event::Changed).pause(), 0);
    let reload = Life::ready().then(Event::Changed);
    assert_eq!(reload.then(Event::Rested).pause(), 0);
}

#[test]
fn one_on_demand_ends_without_a_process() {
    let waiting = || Life::new().started().then(Event::Waits);
    assert_eq!(waiting().then(Event::Remove).state, State::Gone);
    assert_eq!(waiting().then(Event::Stop).state, State::Stopped);
    let leaving = Life::ready().then(Event::Remove).then(Event::Rested);
    assert_eq!(leaving.state, State::Gone);
}

#[test]
fn one_on_demand_that_crashes_is_tried_again_like_any_other() {
    let life = Life::new().started().then(Event::Waits).then(Event::Wanted);
    assert_eq!(life.started().then(Event::Exited).pause(), 1_000);
}
