#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::emperor::backoff::Backoff;

const DELAYS: Delays = Delays {
    backoff: Backoff {
        first: Duration::from_secs(1),
        longest: Duration::from_secs(180),
    },
    mercy: Duration::from_secs(30),
};

/// A vassal with a clock that the test sets. Its process is a number.
struct Life {
    state: State<u8>,
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

    fn then(mut self, event: Event<u8>) -> Self {
        (self.state, self.action) = self.state.step(event, self.now, &DELAYS);
        self
    }

    fn after(mut self, milliseconds: u64) -> Self {
        self.now += Duration::from_millis(milliseconds);
        self
    }

    fn started(self) -> Self {
        let due = self.then(Event::Tick { may_start: true });
        assert!(matches!(due.action, Action::Spawn(_)), "{:?}", due.action);
        due.then(Event::Spawned(7))
    }

    fn ready() -> Self {
        Life::new().started().then(Event::Ready)
    }

    /// The time until the next start, in milliseconds.
    fn backoff(&self) -> u128 {
        match &self.state {
            State::Scheduled(Scheduled { at, .. }) => {
                at.saturating_duration_since(self.now).as_millis()
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_new_vassal_starts_when_the_start_queue_lets_it() {
    let life = Life::new().then(Event::Tick { may_start: false });
    assert_eq!(life.action, Action::Nothing);
    assert!(matches!(life.started().state, State::Starting(_)));
}

#[test]
fn several_changes_during_a_reload_cause_one_more_reload() {
    let life = Life::ready()
        .then(Event::FileChanged)
        .then(Event::FileChanged);
    let life = life.then(Event::Tick { may_start: true });
    assert_eq!(life.action, Action::Send(ToVassal::Reload));
    let life = life.then(Event::Tick { may_start: true });
    assert_eq!(life.action, Action::Nothing);
    let life = life
        .then(Event::FileChanged)
        .then(Event::FileChanged)
        .then(Event::ReloadEnded);
    let life = life.then(Event::Tick { may_start: true });
    assert_eq!(life.action, Action::Send(ToVassal::Reload));
    let life = life
        .then(Event::ReloadEnded)
        .then(Event::Tick { may_start: true });
    assert_eq!(life.action, Action::Nothing);
}

#[test]
fn a_vassal_whose_file_is_removed_stops() {
    let life = Life::ready().then(Event::Remove);
    assert_eq!(life.action, Action::Send(ToVassal::Stop));
    assert_eq!(life.then(Event::Exited).state, State::Gone);
}

#[test]
fn a_file_that_comes_back_while_its_vassal_stops_is_started_again() {
    let life = Life::ready().then(Event::Remove).then(Event::FileChanged);
    assert_eq!(life.then(Event::Exited).backoff(), 0);
}

#[test]
fn the_backoff_doubles_up_to_its_maximum() {
    let mut life = Life::new();
    let mut pauses = Vec::new();
    for _ in 0..10 {
        life = life.started().then(Event::Exited);
        pauses.push(life.backoff() / 1000);
        life = life.after(200_000);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 180, 180]);
}

#[test]
fn an_edit_or_the_operator_ends_the_backoff() {
    for event in [Event::FileChanged, Event::Start] {
        let life = Life::new().started().then(Event::Exited);
        assert_eq!(life.backoff(), 1000);
        assert_eq!(life.then(event).backoff(), 0);
    }
}

#[test]
fn a_failure_after_an_edit_during_the_start_does_not_count() {
    let life = Life::new()
        .started()
        .then(Event::FileChanged)
        .then(Event::Exited);
    assert_eq!(life.backoff(), 0);
    let life = Life::new()
        .started()
        .then(Event::FileChanged)
        .then(Event::Ready);
    let life = life.then(Event::Tick { may_start: true });
    assert_eq!(life.action, Action::Send(ToVassal::Reload));
}

#[test]
fn a_stable_vassal_restarts_at_once_and_one_that_keeps_exiting_backs_off() {
    let life = Life::ready().after(60_000).then(Event::Exited);
    assert_eq!(life.backoff(), 0);
    let life = life.started().then(Event::Ready).then(Event::Exited);
    assert_eq!(life.backoff(), 1000);
    let life = life
        .after(1000)
        .started()
        .then(Event::Ready)
        .then(Event::Exited);
    assert_eq!(life.backoff(), 2000);
}

#[test]
fn a_vassal_that_does_not_stop_is_told_to_stop_at_once_and_then_killed() {
    let life = Life::ready().then(Event::Remove).after(30_000);
    let life = life.then(Event::Tick { may_start: false });
    assert_eq!(life.action, Action::Send(ToVassal::StopNow));
    let life = life.after(1000).then(Event::Tick { may_start: false });
    assert_eq!(life.action, Action::Nothing);
    let life = life.after(1000).then(Event::Tick { may_start: false });
    assert_eq!(life.action, Action::Kill);
    assert_eq!(life.state.deadline(life.now), None);
}

#[test]
fn a_vassal_that_the_operator_stopped_stays_stopped_until_started() {
    let life = Life::ready().then(Event::Stop).then(Event::Exited);
    assert_eq!(life.state, State::Stopped);
    let life = life.then(Event::FileChanged).then(Event::Reload);
    assert_eq!(life.state, State::Stopped);
    assert_eq!(life.then(Event::Start).backoff(), 0);
}

#[test]
fn a_refused_vassal_is_not_started_until_its_file_changes() {
    let life = Life::new().then(Event::Refused).after(600_000);
    let life = life.then(Event::Tick { may_start: true });
    assert_eq!(life.state, State::Refused);
    assert_eq!(life.then(Event::FileChanged).backoff(), 0);
}

#[test]
fn a_new_owner_gets_a_new_process() {
    let life = Life::ready().then(Event::Replace);
    assert_eq!(life.action, Action::Send(ToVassal::Stop));
    assert_eq!(life.then(Event::Exited).backoff(), 0);
}

#[test]
fn a_long_start_stops_counting_after_the_start_window() {
    let life = Life::new().started();
    let end = life.state.start_window_end().unwrap();
    assert_eq!(end - life.now, Duration::from_secs(2));
}

#[test]
fn a_vassal_on_demand_hands_its_sockets_over_and_starts_for_a_client() {
    let life = Life::new().started().then(Event::HandedOver);
    assert_eq!(life.state, State::OnDemand);
    // the process that has handed the sockets over exits, which changes nothing
    let life = life
        .then(Event::Exited)
        .then(Event::Tick { may_start: true });
    assert_eq!(life.state, State::OnDemand);
    assert_eq!(life.action, Action::Nothing);
    let life = life.then(Event::Connection).started().then(Event::Ready);
    assert!(matches!(
        life.state,
        State::Ready(Ready { failures: 0, .. })
    ));
    let life = life.after(60_000).then(Event::ExitedIdle);
    assert_eq!(life.state, State::OnDemand);
}

#[test]
fn a_changed_file_is_read_before_the_vassal_waits_for_a_connection() {
    let changed = Life::new().started().then(Event::FileChanged);
    assert_eq!(changed.then(Event::HandedOver).backoff(), 0);
    let waiting = Life::new().started().then(Event::HandedOver);
    assert_eq!(waiting.then(Event::FileChanged).backoff(), 0);
    let reload = Life::ready().then(Event::FileChanged);
    assert_eq!(reload.then(Event::ExitedIdle).backoff(), 0);
}

#[test]
fn a_vassal_on_demand_stops_without_a_process() {
    let waiting = || Life::new().started().then(Event::HandedOver);
    assert_eq!(waiting().then(Event::Remove).state, State::Gone);
    assert_eq!(waiting().then(Event::Stop).state, State::Stopped);
    let leaving = Life::ready().then(Event::Remove).then(Event::ExitedIdle);
    assert_eq!(leaving.state, State::Gone);
}

#[test]
fn a_vassal_on_demand_that_crashes_backs_off_and_serves_afterwards() {
    let life = Life::new()
        .started()
        .then(Event::HandedOver)
        .then(Event::Connection);
    let life = life.started().then(Event::Exited);
    assert_eq!(life.backoff(), 1_000);
    let life = life.after(1_000).then(Event::Tick { may_start: true });
    assert_eq!(life.action, Action::Spawn(Purpose::Serve));
}

#[test]
fn the_operator_starts_a_vassal_that_still_stops_to_serve() {
    let life = Life::ready().then(Event::Stop).then(Event::Start);
    let life = life
        .then(Event::Exited)
        .then(Event::Tick { may_start: true });
    assert_eq!(life.action, Action::Spawn(Purpose::Start));
    let life = Life::ready().then(Event::Replace).then(Event::Start);
    let life = life
        .then(Event::Exited)
        .then(Event::Tick { may_start: true });
    assert_eq!(life.action, Action::Spawn(Purpose::Start));
}

#[test]
fn the_operator_starts_a_vassal_that_hands_its_sockets_over_to_serve() {
    let life = Life::new().started().then(Event::Start);
    let life = life
        .then(Event::HandedOver)
        .then(Event::Tick { may_start: true });
    assert_eq!(life.action, Action::Spawn(Purpose::Serve));
    // a process that hands its sockets over instead of serving is not started again and again
    let life = life.then(Event::Spawned(8)).then(Event::HandedOver);
    assert_eq!(life.state, State::OnDemand);
}

#[test]
fn an_exit_before_a_queued_reload_restarts_with_the_changed_file_at_once() {
    let life = Life::ready().then(Event::FileChanged).then(Event::Exited);
    assert_eq!(life.backoff(), 0);
    assert!(matches!(
        life.state,
        State::Scheduled(Scheduled { failures: 0, .. })
    ));
}

#[test]
fn no_event_restarts_a_vassal_while_the_emperor_stops() {
    for event in [
        Event::Start,
        Event::FileChanged,
        Event::Replace,
        Event::Stop,
        Event::Remove,
    ] {
        let life = Life::ready().then(Event::EmperorStops).then(event);
        assert_eq!(life.then(Event::Exited).state, State::Gone);
    }
    for event in [Event::Stop, Event::Replace, Event::Remove] {
        let life = Life::ready().then(event).then(Event::EmperorStops);
        assert_eq!(life.then(Event::Exited).state, State::Gone);
    }
    assert_eq!(Life::new().then(Event::EmperorStops).state, State::Gone);
}
