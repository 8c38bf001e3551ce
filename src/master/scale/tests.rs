use super::*;

fn scale(initial: u32, most: u32) -> Scale {
    Scale {
        cheap: false,
        initial,
        least: 1,
        most,
        step: 1,
        overload: 3,
        algorithm: Algorithm::Spare,
        soft_limit: None,
        hard_limit: None,
    }
}

fn by_busyness() -> Scale {
    let rule = Busyness {
        max: 50,
        min: 25,
        multiplier: 3,
        penalty: 2,
        backlog_alert: 33,
        backlog_step: 2,
        backlog_multiplier: 1,
        backlog_nonzero: 60,
    };
    Scale {
        overload: 1,
        algorithm: Algorithm::Busyness(rule),
        ..scale(2, 8)
    }
}

/// The number of workers in each second. `busy` gives the number of busy threads.
fn under(
    scale: &Scale,
    threads: u32,
    begin: u32,
    seconds: usize,
    busy: impl Fn(usize) -> f64,
) -> Vec<u32> {
    let mut history = History::default();
    let mut wanted = begin;
    let mut numbers = Vec::new();
    for second in 0..seconds {
        let reading = LoadSample {
            wanted,
            serving: wanted,
            threads,
            busy: busy(second).min(f64::from(wanted * threads)),
            ..LoadSample::default()
        };
        wanted = next_count(scale, &mut history, &reading);
        numbers.push(wanted);
    }
    numbers
}

#[test]
fn a_start_begins_with_the_initial_number_and_a_cheap_one_with_none() {
    assert_eq!(first_count(&scale(2, 8), None, false), 2);
    let cheap = Scale {
        cheap: true,
        ..scale(2, 8)
    };
    assert_eq!(first_count(&cheap, None, false), 0);
}

#[test]
fn a_reload_keeps_the_number_and_follows_what_the_configuration_allows_now() {
    assert_eq!(first_count(&scale(2, 8), Some((5, 8)), false), 5);
    assert_eq!(first_count(&scale(2, 8), Some((1, 8)), false), 2);
    assert_eq!(first_count(&scale(2, 3), Some((5, 8)), false), 3);
    assert_eq!(first_count(&scale(8, 8), Some((4, 4)), false), 8);
}

#[test]
fn a_reload_of_an_instance_without_workers_keeps_it_so_unless_only_a_worker_can_prove_the_code() {
    assert_eq!(first_count(&scale(4, 4), Some((0, 4)), false), 0);
    assert_eq!(first_count(&scale(4, 4), Some((0, 4)), true), 4);
}

#[test]
fn without_a_thread_to_spare_for_some_seconds_there_are_more_workers_up_to_the_most() {
    let busy = |_| 100.0;
    assert_eq!(under(&scale(1, 3), 1, 1, 8, busy), [1, 1, 2, 2, 2, 3, 3, 3]);
    let by_two = Scale {
        step: 2,
        ..scale(1, 4)
    };
    assert_eq!(under(&by_two, 4, 1, 6, busy), [1, 1, 3, 3, 3, 4]);
    // one second with a spare thread restarts the count
    assert_eq!(
        under(&scale(1, 3), 1, 1, 5, |at| if at == 2 { 0.2 } else { 1.0 }),
        [1, 1, 1, 1, 1]
    );
}

#[test]
fn one_worker_after_the_other_goes_when_the_rest_can_do_the_work() {
    assert_eq!(under(&scale(1, 4), 1, 3, 7, |_| 0.0), [3, 3, 2, 2, 2, 1, 1]);
    let least = Scale {
        least: 2,
        ..scale(2, 4)
    };
    assert_eq!(under(&least, 1, 3, 9, |_| 0.0).last(), Some(&2));
    // the load needs two workers
    assert_eq!(under(&scale(1, 4), 1, 2, 9, |_| 1.0), [2; 9]);
    // with threads: five of eight threads are busy, more than three quarters of the threads of one worker
    assert_eq!(under(&scale(1, 4), 4, 2, 9, |_| 5.0), [2; 9]);
    assert_eq!(under(&scale(1, 4), 4, 2, 9, |_| 3.0).last(), Some(&1));
}

#[test]
fn a_steady_load_leads_to_a_steady_number() {
    for load in [0.3, 0.8, 1.0, 2.5, 3.1, 4.7, 6.0] {
        for begin in [1, 4, 8] {
            let numbers = under(&scale(1, 8), 1, begin, 200, |_| load);
            let settled = &numbers[100..];
            assert!(
                settled.iter().all(|number| *number == settled[0]),
                "{load} from {begin}: {settled:?}"
            );
            assert!(f64::from(settled[0]) > load, "{load}: {settled:?}");
        }
    }
}

#[test]
fn nothing_more_is_asked_for_while_workers_are_on_their_way() {
    let mut history = History::default();
    for _ in 0..20 {
        let reading = LoadSample {
            wanted: 3,
            serving: 1,
            threads: 1,
            busy: 1.0,
            ..LoadSample::default()
        };
        assert_eq!(next_count(&scale(1, 8), &mut history, &reading), 3);
    }
}

#[test]
fn no_worker_is_judged_in_an_instance_that_has_none_and_none_by_a_manual_algorithm() {
    assert_eq!(under(&scale(1, 4), 1, 0, 5, |_| 0.0), [0; 5]);
    let manual = Scale {
        algorithm: Algorithm::Manual,
        ..scale(1, 4)
    };
    assert!(!manual.follows_load());
    assert_eq!(under(&manual, 1, 3, 9, |_| 9.0), [3; 9]);
}

#[test]
fn a_long_queue_brings_workers_under_backlog() {
    let backlog = Scale {
        algorithm: Algorithm::Backlog,
        ..scale(1, 4)
    };
    let mut history = History::default();
    let mut reading = LoadSample {
        wanted: 2,
        serving: 2,
        threads: 1,
        busy: 2.0,
        queue: 4,
        ..LoadSample::default()
    };
    assert_eq!(next_count(&backlog, &mut history, &reading), 3);
    reading.queue = 3;
    assert_eq!(next_count(&backlog, &mut history, &reading), 2);
    reading.busy = 0.0;
    assert_eq!(next_count(&backlog, &mut history, &reading), 1);
}

#[test]
fn busyness_follows_an_average_and_waits_before_a_worker_goes() {
    let up = under(&by_busyness(), 1, 2, 4, |_| 100.0);
    assert_eq!(up, [3, 4, 5, 6]);
    let down = under(&by_busyness(), 1, 4, 9, |_| 0.0);
    assert_eq!(down, [4, 4, 3, 3, 3, 2, 2, 2, 1]);
    assert_eq!(under(&by_busyness(), 1, 4, 20, |_| 1.4), [4; 20]);
}

#[test]
fn a_worker_that_was_missed_soon_after_it_went_is_kept_longer_the_next_time() {
    // the workers are idle for three seconds and then busy for one second, repeatedly
    let busy = |at: usize| {
        if at < 3 {
            0.0
        } else if at == 3 {
            9.0
        } else {
            0.0
        }
    };
    let numbers = under(&by_busyness(), 1, 4, 9, busy);
    assert_eq!(numbers, [4, 4, 3, 4, 4, 4, 4, 4, 3]);
}

#[test]
fn waiting_connections_bring_workers_at_once_which_go_sooner() {
    let scale = by_busyness();
    let mut history = History::default();
    let mut reading = LoadSample {
        wanted: 2,
        serving: 2,
        threads: 1,
        busy: 0.7,
        queue: 40,
        ..LoadSample::default()
    };
    assert_eq!(next_count(&scale, &mut history, &reading), 4);
    reading = LoadSample {
        wanted: 4,
        serving: 4,
        busy: 0.0,
        queue: 0,
        ..reading
    };
    assert_eq!(next_count(&scale, &mut history, &reading), 3);
}

#[test]
fn memory_bounds_the_number() {
    let mut limited = scale(1, 8);
    limited.soft_limit = Some(100);
    limited.hard_limit = Some(200);
    let mut history = History::default();
    let mut number = |resident| {
        let reading = LoadSample {
            wanted: 3,
            serving: 3,
            threads: 1,
            busy: 3.0,
            resident,
            ..LoadSample::default()
        };
        let numbers = [(); 3].map(|()| next_count(&limited, &mut history, &reading));
        numbers[2]
    };
    assert_eq!(number(50), 4);
    assert_eq!(number(150), 3);
    assert_eq!(number(250), 2);
}
