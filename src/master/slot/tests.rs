#![allow(clippy::unwrap_used)]

use super::*;

fn pid() -> Pid {
    Pid::new(71).unwrap()
}

fn after(mut slot: SlotState, events: &[Event], now: Instant) -> (SlotState, Vec<Action>) {
    let mut actions = Vec::new();
    for event in events {
        let action;
        (slot, action) = step(slot, *event, now);
        if action != Action::Nothing {
            actions.push(action);
        }
    }
    (slot, actions)
}

fn serving(now: Instant) -> SlotState {
    let start = [
        Event::Tick,
        Event::Forked(pid()),
        Event::Begin,
        Event::Ready { hold: false },
    ];
    after(SlotState::new(now), &start, now).0
}

#[test]
fn a_slot_is_filled_and_its_worker_told_to_serve() {
    let now = Instant::now();
    let events = [
        Event::Tick,
        Event::Tick,
        Event::Forked(pid()),
        Event::Begin,
        Event::Ready { hold: false },
    ];
    let (slot, actions) = after(SlotState::new(now), &events, now);
    assert!(matches!(slot, SlotState::Serving { worker } if worker.pid == pid()));
    assert_eq!(
        actions,
        [
            Action::Fork,
            Action::Send(ToWorker::Begin),
            Action::Send(ToWorker::Serve)
        ]
    );
}

#[test]
fn a_held_worker_serves_when_its_generation_takes_over() {
    let now = Instant::now();
    let events = [
        Event::Tick,
        Event::Forked(pid()),
        Event::Begin,
        Event::Ready { hold: true },
    ];
    let (slot, actions) = after(SlotState::new(now), &events, now);
    assert!(matches!(slot, SlotState::Held { .. }));
    assert_eq!(actions, [Action::Fork, Action::Send(ToWorker::Begin)]);
    let (slot, action) = step(slot, Event::TakeOver, now);
    assert!(matches!(slot, SlotState::Serving { .. }));
    assert_eq!(action, Action::Send(ToWorker::Serve));
}

#[test]
fn a_worker_that_dies_after_a_request_is_replaced_at_once() {
    let now = Instant::now();
    let (slot, _) = step(serving(now), Event::Exited { requests: 1 }, now);
    assert_eq!(slot, SlotState::new(now));
}

#[test]
fn a_worker_that_dies_at_start_again_and_again_is_retried_ever_more_slowly() {
    let now = Instant::now();
    let mut slot = SlotState::new(now);
    let mut pauses = Vec::new();
    for _ in 0..5 {
        let due = slot.deadline(true).unwrap();
        pauses.push((due - now).as_millis());
        let events = [Event::Tick, Event::Forked(pid()), Event::Begin];
        slot = after(slot, &events, due).0;
        (slot, _) = step(slot, Event::Exited { requests: 0 }, now);
    }
    assert_eq!(pauses, [0, 0, 100, 200, 400]);
    assert_eq!(slot.failures(), 5);
}

#[test]
fn a_good_start_ends_the_series_of_failures() {
    let now = Instant::now();
    let failed = SlotState::Empty {
        due: now,
        failures: 4,
    };
    let events = [
        Event::Tick,
        Event::Forked(pid()),
        Event::Begin,
        Event::Ready { hold: false },
    ];
    let (slot, _) = after(failed, &events, now);
    let later = now + GOOD_START;
    assert_eq!(
        step(slot, Event::Exited { requests: 0 }, later).0,
        SlotState::new(later)
    );
    assert_eq!(
        step(slot, Event::Exited { requests: 0 }, now).0.failures(),
        5
    );
}

#[test]
fn a_worker_that_leaves_on_its_own_account_is_replaced_when_it_has_gone() {
    let now = Instant::now();
    let deadline = now + Duration::from_secs(60);
    let (slot, action) = step(serving(now), Event::Leaves { deadline }, now);
    assert_eq!(action, Action::Nothing);
    assert_eq!(slot.deadline(true), Some(deadline));
    assert_eq!(
        step(slot, Event::Exited { requests: 3 }, now).0,
        SlotState::new(now)
    );
}

#[test]
fn a_dismissed_worker_is_killed_only_when_its_mercy_is_over() {
    let now = Instant::now();
    let deadline = now + Duration::from_secs(60);
    let dismiss = Event::Dismiss {
        message: ToWorker::Retire,
        deadline,
    };
    let (slot, action) = step(serving(now), dismiss, now);
    assert_eq!(action, Action::Send(ToWorker::Retire));
    assert_eq!(step(slot, Event::Tick, now).1, Action::Nothing);
    let (slot, action) = step(slot, Event::Tick, deadline);
    assert_eq!(action, Action::KillOverdue);
    assert_eq!(
        step(slot, Event::Exited { requests: 3 }, deadline).0,
        SlotState::Vacant
    );
}

#[test]
fn a_fork_under_way_when_its_slot_is_dismissed_ends_with_the_kill_of_a_worker_that_never_served() {
    let now = Instant::now();
    let dismiss = Event::Dismiss {
        message: ToWorker::Stop,
        deadline: now,
    };
    let events = [
        Event::Tick,
        dismiss,
        Event::Forked(pid()),
        Event::Exited { requests: 0 },
    ];
    let (slot, actions) = after(SlotState::new(now), &events, now);
    assert_eq!(slot, SlotState::Vacant);
    assert_eq!(actions, [Action::Fork, Action::Kill]);
}

#[test]
fn a_fork_that_fails_is_tried_again() {
    let now = Instant::now();
    let (slot, _) = after(SlotState::new(now), &[Event::Tick, Event::NotForked], now);
    assert_eq!(
        slot,
        SlotState::Empty {
            due: now,
            failures: 1
        }
    );
}

#[test]
fn without_a_zygote_an_empty_slot_waits_for_no_time() {
    assert_eq!(SlotState::new(Instant::now()).deadline(false), None);
}

#[test]
fn nothing_fills_a_vacant_slot() {
    let now = Instant::now();
    let deadline = now;
    for event in [
        Event::Tick,
        Event::Forked(pid()),
        Event::NotForked,
        Event::Ready { hold: false },
        Event::TakeOver,
        Event::Leaves { deadline },
        Event::Kill,
        Event::Exited { requests: 0 },
    ] {
        assert_eq!(
            step(SlotState::Vacant, event, now),
            (SlotState::Vacant, Action::Nothing)
        );
    }
}
