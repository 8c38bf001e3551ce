//! The delay before a worker, a zygote or a daemon that has failed is started again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);

/// The delay after this number of consecutive failed starts: 0 s (0 and 1), 0.1 s, 0.2 s, 0.4 s … 30 s.
pub(super) fn after(failures: u32) -> Duration {
    match failures {
        0 | 1 => Duration::ZERO,
        more => FIRST.saturating_mul(1 << (more - 2).min(16)).min(LONGEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_grows_to_half_a_minute() {
        let delays: Vec<u128> = [0, 1, 2, 3, 4, 5, 9, 10, 11, 12, u32::MAX]
            .map(|failures| after(failures).as_millis())
            .to_vec();
        assert_eq!(
            delays,
            [
                0, 0, 100, 200, 400, 800, 12_800, 25_600, 30_000, 30_000, 30_000
            ]
        );
    }
}
