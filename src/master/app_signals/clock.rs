//! The timers and cron entries that raise signals of the application, and the signals that are due. All functions are
//! pure; the caller passes the time.

use std::time::{Duration, Instant};

use crate::config::Schedule;
use crate::master::services::cron_schedule::{self, Minute};
use crate::sys::clock::LocalTime;

use super::table::Trigger;

/// The state of the timers and cron entries.
#[derive(Debug, Default)]
pub(super) struct SignalClock {
    timers: Vec<Timer>,
    crons: Vec<(u8, Schedule)>,
    /// The last minute that was checked for due cron entries; `None` before the first check.
    checked: Option<Minute>,
    /// The time at which the next minute begins; `None` without cron entries.
    next_minute: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Timer {
    number: u8,
    every: Duration,
    /// Total number of times that the timer fires; `None` without a limit.
    runs: Option<u64>,
    /// Number of times that the timer has fired.
    fired: u64,
    due: Instant,
}

impl Timer {
    fn is_over(&self) -> bool {
        self.runs.is_some_and(|runs| self.fired >= runs)
    }
}

impl SignalClock {
    /// Replaces the triggers. A timer that exists already keeps the time of its next tick, so that a reload neither
    /// repeats nor delays a tick. After a reload (`is_reload`) a timer with a limited number of runs starts from the
    /// beginning.
    pub(super) fn adopt(&mut self, triggers: &[(u8, Trigger)], is_reload: bool, now: Instant) {
        let previous = std::mem::take(&mut self.timers);
        self.crons.clear();
        for (number, trigger) in triggers {
            match trigger {
                Trigger::Timer { every, runs } => {
                    let new = Timer {
                        number: *number,
                        every: *every,
                        runs: *runs,
                        fired: 0,
                        due: now + *every,
                    };
                    let known = previous.iter().find(|it| {
                        (it.number, it.every, it.runs) == (new.number, new.every, new.runs)
                            && !(is_reload && runs.is_some())
                    });
                    self.timers.push(known.copied().unwrap_or(new));
                }
                Trigger::Cron(schedule) => self.crons.push((*number, *schedule)),
                Trigger::Watch(_) | Trigger::Touch(_) => {}
            }
        }
        self.next_minute = match self.crons.is_empty() {
            true => None,
            false => Some(self.next_minute.unwrap_or(now)),
        };
    }

    /// The time at which [`SignalClock::due`] must be called next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let timers = self.timers.iter().filter(|timer| !timer.is_over());
        timers.map(|timer| timer.due).chain(self.next_minute).min()
    }

    /// The signals that are due. `minute` is the current minute and the time until the next one; `local` returns the
    /// local time of a minute. A timer that is late by several intervals fires once.
    pub(super) fn due(
        &mut self,
        now: Instant,
        minute: impl FnOnce() -> (Minute, Duration),
        local: &impl Fn(Minute) -> LocalTime,
    ) -> Vec<u8> {
        let mut due = Vec::new();
        for timer in self.timers.iter_mut().filter(|timer| !timer.is_over()) {
            if timer.due > now {
                continue;
            }
            due.push(timer.number);
            timer.fired += 1;
            timer.due += timer.every;
            if timer.due <= now {
                timer.due = now + timer.every;
            }
        }
        if self.next_minute.is_some_and(|next| next <= now) {
            let (minute, rest) = minute();
            self.next_minute = Some(now + rest);
            let minutes = cron_schedule::minutes(self.checked, minute);
            if !minutes.is_empty() {
                self.checked = Some(minute);
            }
            for (number, schedule) in &self.crons {
                let is_due = |minute| cron_schedule::is_due(schedule, minute, local);
                if minutes.clone().any(is_due) {
                    due.push(*number);
                }
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    /// 2026-03-29 00:00 UTC. In the tests, the local time jumps from 02:00 to 03:00 one hour later.
    const BASE: Minute = 1_774_742_400 / 60;

    fn local(minute: Minute) -> LocalTime {
        let offset = if minute < BASE + 60 { 60 } else { 120 };
        let of_day = u16::try_from(minute - BASE + offset).unwrap_or(0);
        LocalTime {
            year: 2026,
            month: 3,
            day: 29,
            weekday: 0,
            hour: u8::try_from(of_day / 60 % 24).unwrap_or(0),
            minute: u8::try_from(of_day % 60).unwrap_or(0),
            second: 0,
            millisecond: 0,
            offset: i32::try_from(offset * 60).unwrap_or(0),
        }
    }

    fn timer(seconds: u64, runs: Option<u64>) -> Vec<(u8, Trigger)> {
        let every = Duration::from_secs(seconds);
        vec![(6, Trigger::Timer { every, runs })]
    }

    /// The number of signals that are due at each second of `seconds`.
    fn fired(clock: &mut SignalClock, start: Instant, seconds: std::ops::Range<u32>) -> Vec<u32> {
        let at = |second: u32| start + SECOND * second;
        let is_due = |second: &u32| !clock.due(at(*second), || (BASE, SECOND), &local).is_empty();
        seconds.filter(is_due).collect()
    }

    #[test]
    fn a_timer_keeps_its_rhythm_over_a_reload() {
        let (mut clock, start) = (SignalClock::default(), Instant::now());
        clock.adopt(&timer(3, None), false, start);
        assert_eq!(fired(&mut clock, start, 0..5), [3]);
        clock.adopt(&timer(3, None), true, start + SECOND * 5);
        assert_eq!(fired(&mut clock, start, 5..10), [6, 9]);
        assert_eq!(clock.deadline(), Some(start + SECOND * 12));
    }

    #[test]
    fn a_late_timer_fires_once() {
        let (mut clock, start) = (SignalClock::default(), Instant::now());
        clock.adopt(&timer(1, None), false, start);
        assert_eq!(fired(&mut clock, start, 10..13), [10, 11, 12]);
    }

    #[test]
    fn a_limited_timer_ends_and_starts_anew_after_a_reload() {
        let (mut clock, start) = (SignalClock::default(), Instant::now());
        clock.adopt(&timer(1, Some(2)), false, start);
        assert_eq!(fired(&mut clock, start, 0..9), [1, 2]);
        assert_eq!(clock.deadline(), None);
        clock.adopt(&timer(1, Some(2)), false, start + SECOND * 9);
        assert!(fired(&mut clock, start, 9..12).is_empty());
        clock.adopt(&timer(1, Some(2)), true, start + SECOND * 12);
        assert_eq!(fired(&mut clock, start, 12..20), [13, 14]);
    }

    #[test]
    fn a_cron_entry_runs_once_a_minute_and_after_a_skipped_hour() {
        let (mut clock, start) = (SignalClock::default(), Instant::now());
        let schedule = |hour| Schedule {
            minute: 30,
            hour,
            day: -1,
            month: -1,
            week: -1,
        };
        let triggers = vec![
            (7, Trigger::Cron(schedule(2))),
            (8, Trigger::Cron(schedule(-1))),
        ];
        clock.adopt(&triggers, false, start);
        let mut due = Vec::new();
        for half_minute in 0..240_u32 {
            let now = start + SECOND * 30 * half_minute;
            let minute = BASE + Minute::from(half_minute / 2);
            // the test calls the clock twice a minute, and reloads between the two calls
            for number in clock.due(now, || (minute, SECOND * 15), &local) {
                due.push((number, minute - BASE));
            }
            clock.adopt(&triggers, true, now);
        }
        assert_eq!(due, [(8, 30), (7, 60), (8, 90)]);
    }
}
