//! The times at which cron jobs are due. All functions are pure except [`now`], which reads the clock, and [`local`],
//! which reads the time zone.
//!
//! Each minute is checked for due jobs once. Up to [`MAX_CATCH_UP`] missed minutes are checked late, for example after
//! the machine was busy. After a longer gap (a suspend, or a clock that was set), only the current minute is checked.
//! When daylight saving time starts, jobs with a fixed time in the skipped hour run right after the skipped hour. When
//! daylight saving time ends, jobs with a fixed time in the repeated hour run in its first occurrence only. cron(8)
//! does the same.

use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::config::Schedule;
use crate::sys::clock::LocalTime;

/// Maximum number of missed minutes that are checked late.
const MAX_CATCH_UP: i64 = 5;

/// Maximum step back of the clock, in minutes, after which no minute is checked again. If the clock is set back
/// further, its previous time was probably wrong, and minutes are checked again.
const MAX_BACKWARD_STEP: i64 = 60;

/// Maximum change of the UTC offset, in minutes.
const MAX_OFFSET_CHANGE: i64 = 180;

/// Minutes since 1970-01-01 00:00 UTC.
pub(in crate::master) type Minute = i64;

/// Returns the current minute, and the time until the next minute.
pub(in crate::master) fn now() -> (Minute, Duration) {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let minute = Minute::try_from(since.as_secs() / 60).unwrap_or(0);
    let into = Duration::from_secs(since.as_secs() % 60)
        + Duration::from_nanos(since.subsec_nanos().into());
    (minute, Duration::from_secs(60).saturating_sub(into))
}

/// Returns the local time at the start of a minute.
pub(in crate::master) fn local(minute: Minute) -> LocalTime {
    let since = Duration::from_secs(u64::try_from(minute).unwrap_or(0) * 60);
    LocalTime::at(UNIX_EPOCH + since)
}

/// Returns the minutes to check at the minute `now`; the range may be empty. `last` is the last minute that was
/// checked.
pub(in crate::master) fn minutes(last: Option<Minute>, now: Minute) -> RangeInclusive<Minute> {
    match last {
        Some(last) if now > last && now - last <= MAX_CATCH_UP => last + 1..=now,
        Some(last) if now <= last && last - now <= MAX_BACKWARD_STEP => now..=now - 1,
        _ => now..=now,
    }
}

/// Whether a job with this schedule is due in a minute. `local` returns the local time of a minute.
pub(in crate::master) fn is_due(
    schedule: &Schedule,
    minute: Minute,
    local: &impl Fn(Minute) -> LocalTime,
) -> bool {
    let time = local(minute);
    let has_fixed_time = schedule.minute >= 0 && schedule.hour >= 0;
    if matches(schedule, &time) {
        return !(has_fixed_time && is_repeated(minute, &time, local));
    }
    has_fixed_time && skipped(minute, &time, local).any(|skipped| matches(schedule, &skipped))
}

/// Whether the local time `time` of a minute is a repetition: the same local time has occurred before, because the UTC
/// offset has decreased in the meantime.
fn is_repeated(minute: Minute, time: &LocalTime, local: &impl Fn(Minute) -> LocalTime) -> bool {
    let before = local(minute - MAX_OFFSET_CHANGE);
    let decrease = Minute::from(before.offset - time.offset) / 60;
    decrease > 0 && is_same_minute(&local(minute - decrease), time)
}

fn is_same_minute(one: &LocalTime, other: &LocalTime) -> bool {
    (one.day, one.hour, one.minute) == (other.day, other.hour, other.minute)
}

/// Returns the local times that are skipped right before a minute, because the UTC offset increases there.
fn skipped(
    minute: Minute,
    time: &LocalTime,
    local: &impl Fn(Minute) -> LocalTime,
) -> impl Iterator<Item = LocalTime> {
    let before = local(minute - 1);
    let after = *time;
    let count = (Minute::from(after.offset - before.offset) / 60).clamp(0, MAX_OFFSET_CHANGE);
    (1..=count).map(move |ahead| {
        let total = Minute::from(before.hour) * 60 + Minute::from(before.minute) + ahead;
        // skipped minutes after midnight have the date of the next existing minute
        let mut skipped = if total < 24 * 60 { before } else { after };
        let total = total % (24 * 60);
        skipped.hour = u8::try_from(total / 60).unwrap_or(0);
        skipped.minute = u8::try_from(total % 60).unwrap_or(0);
        skipped
    })
}

/// Whether a schedule matches a local time. If both the day of the month and the day of the week are restricted, a
/// match of either is enough, as in crontab(5).
fn matches(schedule: &Schedule, time: &LocalTime) -> bool {
    let day = field_matches(schedule.day, time.day);
    let week = field_matches(schedule.week, time.weekday);
    let days = if schedule.day != -1 && schedule.week != -1 {
        day || week
    } else {
        day && week
    };
    days && field_matches(schedule.minute, time.minute)
        && field_matches(schedule.hour, time.hour)
        && field_matches(schedule.month, time.month)
}

/// Whether a field of a schedule matches a value. The field -N matches multiples of N, so -1 matches every value. Any
/// other field matches the equal value.
fn field_matches(field: i32, value: u8) -> bool {
    let value = i32::from(value);
    if field < 0 {
        value % field == 0
    } else {
        value == field
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21 00:00 UTC, a Saturday.
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

    /// A time zone whose UTC offset is `before` minutes, and `after` minutes from `change` on.
    fn zone(change: Minute, before: i32, after: i32) -> impl Fn(Minute) -> LocalTime {
        move |minute| {
            let offset = if minute < change { before } else { after };
            let local = minute - BASE + Minute::from(offset);
            let day = local.div_euclid(24 * 60);
            let rest = local.rem_euclid(24 * 60);
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

    /// Returns the minutes of the day in which a schedule is due.
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
    fn a_fixed_time_in_the_skipped_hour_runs_right_after_it() {
        // 02:00 local time is skipped to 03:00
        let spring = || zone(BASE + 60, 60, 120);
        assert_eq!(due([30, 2, -1, -1, -1], spring()), [60]);
        assert_eq!(due([0, 3, -1, -1, -1], spring()), [60]);
        // on the next day the job runs at its usual time
        assert_eq!(due([59, 1, -1, -1, -1], spring()), [59, 24 * 60 - 1]);
        // a job that runs every ten minutes does not run six times at once
        let often = due([-10, -1, -1, -1, -1], spring());
        assert_eq!(often[5..8], [50, 60, 70]);
    }

    #[test]
    fn a_fixed_time_in_the_repeated_hour_runs_once() {
        // the local time goes back from 03:00 to 02:00
        let autumn = || zone(BASE + 60, 120, 60);
        assert_eq!(due([30, 2, -1, -1, -1], autumn()), [30]);
        assert_eq!(due([30, 3, -1, -1, -1], autumn()), [150]);
        assert_eq!(due([0, -1, -1, -1, -1], autumn()).len(), 24);
    }

    #[test]
    fn a_short_gap_is_caught_up_and_a_long_one_is_not() {
        assert_eq!(minutes(None, 100), 100..=100);
        assert_eq!(minutes(Some(99), 100), 100..=100);
        assert_eq!(minutes(Some(97), 100), 98..=100);
        assert_eq!(minutes(Some(10), 100), 100..=100);
        assert!(minutes(Some(100), 100).is_empty());
    }

    #[test]
    fn a_clock_that_goes_back_up_to_an_hour_repeats_nothing() {
        assert!(minutes(Some(100), 90).is_empty());
        assert_eq!(minutes(Some(10_000), 100), 100..=100);
    }
}
