//! When commands of `cron` are due: pure, but for the look at the clock.
//!
//! A minute is judged once. One that was missed, because the machine was busy or stopped for a moment, is made up
//! for; after a longer gap, a suspend or a clock that was set, only the minute that it is counts. Where the local time
//! is put forward, what had its fixed time in the hour that is left out runs right after it; where it is put back,
//! what has a fixed time runs the first time only, as in cron(8).

use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::config::Schedule;
use crate::sys::clock::LocalTime;

/// Gaps of so many minutes are made up for.
const MOST_MISSED: i64 = 5;

/// A clock that goes back by more minutes than this was wrong before; by less, what has run is not repeated.
const MOST_BACK: i64 = 60;

/// The longest time, in minutes, by which local time is put forward or back.
const LONGEST_SHIFT: i64 = 180;

/// A minute since 1970.
pub(super) type Minute = i64;

/// The minute that it is, and how long it lasts.
pub(super) fn now() -> (Minute, Duration) {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let minute = Minute::try_from(since.as_secs() / 60).unwrap_or(0);
    let into = Duration::from_secs(since.as_secs() % 60)
        + Duration::from_nanos(since.subsec_nanos().into());
    (minute, Duration::from_secs(60).saturating_sub(into))
}

/// The local time at the beginning of a minute.
pub(super) fn local(minute: Minute) -> LocalTime {
    let since = Duration::from_secs(u64::try_from(minute).unwrap_or(0) * 60);
    LocalTime::at(UNIX_EPOCH + since)
}

/// The minutes to judge now, when `last` was the last one that was judged.
pub(super) fn minutes(last: Option<Minute>, now: Minute) -> RangeInclusive<Minute> {
    match last {
        Some(last) if now > last && now - last <= MOST_MISSED => last + 1..=now,
        Some(last) if now <= last && last - now <= MOST_BACK => now..=now - 1,
        _ => now..=now,
    }
}

/// Whether the schedule names this minute.
pub(super) fn is_due(
    schedule: &Schedule,
    minute: Minute,
    local: &impl Fn(Minute) -> LocalTime,
) -> bool {
    let here = local(minute);
    let fixed = schedule.minute >= 0 && schedule.hour >= 0;
    if matches(schedule, &here) {
        return !(fixed && is_repeated(minute, &here, local));
    }
    fixed && skipped(minute, &here, local).any(|wall| matches(schedule, &wall))
}

/// Whether local time has shown this minute before, because it was put back.
fn is_repeated(minute: Minute, here: &LocalTime, local: &impl Fn(Minute) -> LocalTime) -> bool {
    let before = local(minute - LONGEST_SHIFT);
    let back = Minute::from(before.offset - here.offset) / 60;
    back > 0 && is_same(&local(minute - back), here)
}

fn is_same(one: &LocalTime, other: &LocalTime) -> bool {
    (one.day, one.hour, one.minute) == (other.day, other.hour, other.minute)
}

/// The minutes that local time leaves out right before this one.
fn skipped(
    minute: Minute,
    here: &LocalTime,
    local: &impl Fn(Minute) -> LocalTime,
) -> impl Iterator<Item = LocalTime> {
    let before = local(minute - 1);
    let here = *here;
    let forward = (Minute::from(here.offset - before.offset) / 60).clamp(0, LONGEST_SHIFT);
    (1..=forward).map(move |ahead| {
        let total = Minute::from(before.hour) * 60 + Minute::from(before.minute) + ahead;
        // those behind midnight have the date of the minute that follows
        let mut wall = if total < 24 * 60 { before } else { here };
        let total = total % (24 * 60);
        wall.hour = u8::try_from(total / 60).unwrap_or(0);
        wall.minute = u8::try_from(total % 60).unwrap_or(0);
        wall
    })
}

/// Whether a schedule names a local time. Where both days are given, one is enough.
pub(super) fn matches(schedule: &Schedule, time: &LocalTime) -> bool {
    let day = field(schedule.day, time.day);
    let week = field(schedule.week, time.weekday);
    let days = if schedule.day != -1 && schedule.week != -1 {
        day || week
    } else {
        day && week
    };
    days && field(schedule.minute, time.minute)
        && field(schedule.hour, time.hour)
        && field(schedule.month, time.month)
}

fn field(wanted: i32, is: u8) -> bool {
    let is = i32::from(is);
    if wanted < 0 {
        is % wanted == 0
    } else {
        is == wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21 was a Saturday; minutes count from its midnight UTC.
    const BASE: Minute = 1_795_219_200 / 60;

    fn schedule(fields: [i32; 5]) -> Schedule {
        let [minute, hour, day, month, week] = fields;
        Schedule {
            minute,
            hour,
            day,
            month,
            week,
        }
    }

    /// Local time in a zone that is `before` minutes east of UTC, and `after` from `change` on.
    fn zone(change: Minute, before: i32, after: i32) -> impl Fn(Minute) -> LocalTime {
        move |minute| {
            let offset = if minute < change { before } else { after };
            let wall = minute - BASE + Minute::from(offset);
            let day = wall.div_euclid(24 * 60);
            let rest = wall.rem_euclid(24 * 60);
            LocalTime {
                year: 2026,
                month: 11,
                day: u8::try_from(21 + day).unwrap_or(0),
                weekday: u8::try_from((6 + day).rem_euclid(7)).unwrap_or(0),
                hour: u8::try_from(rest / 60).unwrap_or(0),
                minute: u8::try_from(rest % 60).unwrap_or(0),
                second: 0,
                millisecond: 0,
                offset: offset * 60,
            }
        }
    }

    /// The minutes, from midnight on, in which a schedule is due.
    fn due(fields: [i32; 5], local: impl Fn(Minute) -> LocalTime) -> Vec<Minute> {
        let schedule = schedule(fields);
        let day = 0..24 * 60;
        day.filter(|minute| is_due(&schedule, BASE + minute, &local))
            .collect()
    }

    #[test]
    fn each_field_is_a_value_or_a_step() {
        let utc = || zone(BASE, 0, 0);
        assert_eq!(due([59, 2, -1, -1, -1], utc()), [2 * 60 + 59]);
        assert_eq!(due([0, -1, -1, -1, -1], utc()).len(), 24);
        assert_eq!(due([-15, 3, -1, -1, -1], utc()), [180, 195, 210, 225]);
        assert_eq!(due([0, -6, -1, -1, -1], utc()), [0, 360, 720, 1080]);
        assert_eq!(due([-1, -1, -1, -1, -1], utc()).len(), 24 * 60);
        assert!(due([0, 0, -1, 12, -1], utc()).is_empty());
        assert_eq!(due([0, 0, -7, -11, -1], utc()), [0]);
    }

    #[test]
    fn one_of_two_days_is_enough() {
        let utc = || zone(BASE, 0, 0);
        assert_eq!(due([0, 0, 21, -1, 1], utc()), [0]);
        assert_eq!(due([0, 0, 1, -1, 6], utc()), [0]);
        assert!(due([0, 0, 1, -1, 1], utc()).is_empty());
        assert!(due([0, 0, 1, -1, -1], utc()).is_empty());
        assert!(due([0, 0, -1, -1, 0], utc()).is_empty());
    }

    #[test]
    fn what_has_its_time_in_the_hour_that_is_left_out_runs_right_after_it() {
        // at 02:00 the clocks are put forward to 03:00
        let spring = || zone(BASE + 60, 60, 120);
        assert_eq!(due([30, 2, -1, -1, -1], spring()), [60]);
        assert_eq!(due([0, 3, -1, -1, -1], spring()), [60]);
        // and on the next day at its usual time
        assert_eq!(due([59, 1, -1, -1, -1], spring()), [59, 24 * 60 - 1]);
        // what runs every ten minutes does not run six times at once
        let often = due([-10, -1, -1, -1, -1], spring());
        assert_eq!(often[5..8], [50, 60, 70]);
    }

    #[test]
    fn what_has_a_fixed_time_runs_once_when_an_hour_is_repeated() {
        // at 03:00 the clocks are put back to 02:00
        let autumn = || zone(BASE + 60, 120, 60);
        assert_eq!(due([30, 2, -1, -1, -1], autumn()), [30]);
        assert_eq!(due([30, 3, -1, -1, -1], autumn()), [150]);
        assert_eq!(due([0, -1, -1, -1, -1], autumn()).len(), 24);
    }

    #[test]
    fn a_moment_that_was_missed_is_made_up_for_and_a_long_gap_is_not() {
        assert_eq!(minutes(None, 100), 100..=100);
        assert_eq!(minutes(Some(99), 100), 100..=100);
        assert_eq!(minutes(Some(97), 100), 98..=100);
        assert_eq!(minutes(Some(10), 100), 100..=100);
        assert!(minutes(Some(100), 100).is_empty());
    }

    #[test]
    fn a_clock_that_goes_back_a_little_repeats_nothing() {
        assert!(minutes(Some(100), 90).is_empty());
        assert_eq!(minutes(Some(10_000), 100), 100..=100);
    }
}
