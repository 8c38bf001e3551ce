//! The delay before the master restarts a failed worker, zygote or daemon.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);

/// Returns the delay after `failures` consecutive failed starts. It is 0 s for 0 and 1, then 0.1 s, 0.2 s, 0.4 s and so
/// on, up to 30 s.
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
