//! The distribution of a thread's requests: a histogram of their durations, and a counter for each status class. The
//! requests are counted only if metrics are served.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The upper bounds of the histogram's buckets, microseconds. One more bucket has no bound.
pub const BOUNDS_US: [u64; 14] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000,
];
/// Number of buckets of the histogram.
pub const BUCKETS: usize = BOUNDS_US.len() + 1;
/// Number of status classes, from 1xx to 5xx.
pub const CLASSES: usize = 5;

/// The distribution of a thread's requests. Only this thread writes the row.
#[repr(C, align(128))]
pub struct MeasurementRow {
    buckets: [AtomicU64; BUCKETS],
    /// Total duration of the requests in the buckets, microseconds.
    sum_us: AtomicU64,
    classes: [AtomicU64; CLASSES],
}

/// The sum of the distributions of several threads. Additions wrap around, because the application can write any value
/// to the scoreboard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measurements {
    /// Number of requests in each bucket.
    pub buckets: [u64; BUCKETS],
    /// Total duration of the requests, microseconds.
    pub sum_us: u64,
    /// Number of responses of each status class, 1xx first.
    pub classes: [u64; CLASSES],
}

impl MeasurementRow {
    /// Counts a request with this duration and this response status.
    #[inline]
    pub fn count(&self, micros: u64, status: u16) {
        let bucket = BOUNDS_US.partition_point(|bound| *bound < micros);
        if let Some(bucket) = self.buckets.get(bucket) {
            add(bucket, 1);
        }
        add(&self.sum_us, micros);
        let class = usize::from(status / 100).wrapping_sub(1);
        if let Some(class) = self.classes.get(class) {
            add(class, 1);
        }
    }

    /// Adds this distribution to `sum`.
    pub fn add_to(&self, sum: &mut Measurements) {
        let add = |sum: &mut u64, counter: &AtomicU64| {
            *sum = sum.wrapping_add(counter.load(Relaxed));
        };
        let buckets = sum.buckets.iter_mut().zip(&self.buckets);
        buckets.for_each(|(sum, counter)| add(sum, counter));
        add(&mut sum.sum_us, &self.sum_us);
        let classes = sum.classes.iter_mut().zip(&self.classes);
        classes.for_each(|(sum, counter)| add(sum, counter));
    }
}

impl Measurements {
    /// Adds another sum.
    pub fn add(&mut self, other: &Self) {
        let buckets = self.buckets.iter_mut().zip(&other.buckets);
        let classes = self.classes.iter_mut().zip(&other.classes);
        for (sum, more) in buckets.chain(classes) {
            *sum = sum.wrapping_add(*more);
        }
        self.sum_us = self.sum_us.wrapping_add(other.sum_us);
    }
}

#[inline]
fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(amount), Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_in_the_bucket_whose_bound_they_do_not_exceed() {
        let row = MeasurementRow {
            buckets: Default::default(),
            sum_us: AtomicU64::default(),
            classes: Default::default(),
        };
        for (micros, status) in [
            (0, 200),
            (1_000, 204),
            (1_001, 404),
            (u64::MAX, 999),
            (7, 0),
        ] {
            row.count(micros, status);
        }
        let mut sum = Measurements::default();
        row.add_to(&mut sum);
        assert_eq!((sum.buckets[0], sum.buckets[1]), (3, 1));
        assert_eq!(sum.buckets[BUCKETS - 1], 1);
        assert_eq!(sum.classes, [0, 2, 0, 1, 0]);
    }
}
