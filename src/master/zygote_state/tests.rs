#![allow(clippy::unwrap_used)]

use super::*;

fn pid() -> Pid {
    Pid::new(70).unwrap()
}

fn after(mut zygote: Zygote, events: &[Event], now: Instant) -> (Zygote, Vec<Action>) {
    let mut actions = Vec::new();
    for event in events {
        let action;
        (zygote, action) = step(zygote, *event, now);
        if action != Action::Nothing {
            actions.push(action);
        }
    }
    (zygote, actions)
}

const TICK: Event = Event::Tick { forking: false };

#[test]
fn a_zygote_is_spawned_when_it_is_due_and_forks_when_it_has_loaded() {
    let now = Instant::now();
    let events = [TICK, Event::Spawned(pid()), TICK, Event::Loaded];
    let (zygote, actions) = after(Zygote::new(now), &events, now);
    assert_eq!(actions, [Action::Spawn]);
    assert!(zygote.forks());
    assert_eq!(zygote.deadline(), None);
}

fn pauses(events: &[Event]) -> Vec<u128> {
    let now = Instant::now();
    let mut zygote = Zygote::new(now);
    let mut pauses = Vec::new();
    for _ in 0..7 {
        let due = zygote.deadline().unwrap();
        pauses.push((due - now).as_millis());
        (zygote, _) = after(zygote, events, due);
        (zygote, _) = step(zygote, Event::Exited, now);
    }
    pauses
}

#[test]
fn a_zygote_that_dies_while_loading_is_spawned_again_at_once_and_then_after_growing_pauses() {
    let pauses = pauses(&[TICK, Event::Spawned(pid())]);
    assert_eq!(pauses, [0, 0, 100, 200, 400, 800, 1600]);
}

#[test]
fn a_zygote_that_dies_after_loading_is_replaced_after_a_short_pause() {
    let pauses = pauses(&[TICK, Event::Spawned(pid()), Event::Loaded]);
    assert_eq!(pauses, [0, 0, 100, 200, 400, 400, 400]);
}

#[test]
fn deaths_after_loading_do_not_lengthen_the_pause_after_a_failed_load() {
    let now = Instant::now();
    let mut zygote = Zygote::new(now);
    for _ in 0..20 {
        let due = zygote.deadline().unwrap();
        let life = [TICK, Event::Spawned(pid()), Event::Loaded, Event::Exited];
        (zygote, _) = after(zygote, &life, due);
    }
    let due = zygote.deadline().unwrap();
    (zygote, _) = after(zygote, &[TICK, Event::Spawned(pid()), Event::Exited], due);
    assert_eq!((zygote.deadline().unwrap() - due).as_millis(), 800);
}

#[test]
fn a_zygote_that_lived_long_enough_resets_the_backoff() {
    let now = Instant::now();
    let failed = Zygote::Absent {
        due: now,
        failures: 4,
    };
    let (zygote, _) = after(failed, &[TICK, Event::Spawned(pid()), Event::Loaded], now);
    let later = now + Duration::from_secs(5);
    assert_eq!(step(zygote, Event::Exited, later).0, Zygote::new(later));
}

#[test]
fn a_zygote_whose_channel_closed_is_killed_if_it_does_not_exit_and_then_replaced() {
    let now = Instant::now();
    let events = [
        TICK,
        Event::Spawned(pid()),
        Event::Loaded,
        Event::ChannelClosed,
        TICK,
    ];
    let (zygote, actions) = after(Zygote::new(now), &events, now);
    assert_eq!(actions, [Action::Spawn]);
    assert!(!zygote.forks());
    let late = zygote.deadline().unwrap();
    let (zygote, action) = step(zygote, TICK, late);
    assert_eq!(action, Action::Kill);
    assert_eq!(step(zygote, Event::Exited, late).0, Zygote::new(late));
}

#[test]
fn a_zygote_is_ended_only_when_no_fork_is_pending() {
    let now = Instant::now();
    let deadline = now + Duration::from_secs(60);
    let close = Event::Close {
        forking: true,
        deadline,
    };
    let (zygote, _) = after(
        Zygote::new(now),
        &[TICK, Event::Spawned(pid()), Event::Loaded],
        now,
    );
    let (zygote, action) = step(zygote, close, now);
    assert_eq!(action, Action::Nothing);
    assert_eq!(
        step(zygote, Event::Tick { forking: true }, now).1,
        Action::Nothing
    );
    assert_eq!(
        step(zygote, Event::Tick { forking: true }, deadline).1,
        Action::Kill
    );
    let (zygote, action) = step(zygote, TICK, now);
    assert_eq!(action, Action::Kill);
    assert_eq!(step(zygote, Event::Exited, now).0, Zygote::Gone);
}

#[test]
fn a_zygote_that_still_loads_is_ended_at_once() {
    let now = Instant::now();
    let close = Event::Close {
        forking: false,
        deadline: now,
    };
    let (zygote, actions) = after(
        Zygote::new(now),
        &[TICK, Event::Spawned(pid()), close, Event::Exited],
        now,
    );
    assert_eq!(actions, [Action::Spawn, Action::Kill]);
    assert_eq!(zygote, Zygote::Gone);
    assert_eq!(step(zygote, TICK, now), (Zygote::Gone, Action::Nothing));
}
