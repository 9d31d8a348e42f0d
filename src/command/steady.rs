//! The time by which things are forgotten for good. A clock that jumps ahead is not believed at once: a request that is still fresh would
//! be forgotten, and run twice when it comes again; and what is removed as old does not come back when the clock is set right.

use std::time::Duration;

/// How far the clock may be ahead of what has passed by another clock that never jumps: such a one is no stopwatch.
const AHEAD_MAX: Duration = Duration::from_secs(60 * 60);
/// A clock that stays ahead for so long is right: it was wrong before, or the machine has slept.
const BELIEVED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// What is known of a clock. All times of it are in milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug)]
pub struct Steady {
    /// When it was believed last, and for how long the process was running then.
    believed_ms: i64,
    at: Duration,
    /// Since when it is ahead.
    ahead_since: Option<Duration>,
}

impl Steady {
    /// Of a process that starts.
    pub fn new(now_ms: i64) -> Steady {
        Steady { believed_ms: now_ms, at: Duration::ZERO, ahead_since: None }
    }

    /// The time, when the clock says `now_ms` and the process has been `running` for so long. A clock that is behind is believed: by it
    /// less is forgotten.
    pub fn believe(&mut self, now_ms: i64, running: Duration) -> i64 {
        let milliseconds = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let expected_ms = self.believed_ms.saturating_add(milliseconds(running.saturating_sub(self.at)));
        if now_ms > expected_ms.saturating_add(milliseconds(AHEAD_MAX)) {
            let since = *self.ahead_since.get_or_insert(running);
            if running.saturating_sub(since) < BELIEVED_AFTER {
                return expected_ms;
            }
        }
        *self = Steady { believed_ms: now_ms, at: running, ahead_since: None };
        now_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;
    const NOW: i64 = 1_763_812_800_000;

    fn hours(count: u64) -> Duration {
        Duration::from_secs(count * 3_600)
    }

    #[test]
    fn a_clock_that_goes_is_believed() {
        let mut steady = Steady::new(NOW);
        for hour in [0, 1, 1, 2, 500] {
            let now_ms = NOW + i64::try_from(hour).expect("small") * HOUR_MS;
            assert_eq!(steady.believe(now_ms, hours(hour)), now_ms);
        }
    }

    #[test]
    fn a_clock_that_jumps_ahead_is_not_believed_before_a_day_has_passed() {
        let mut steady = Steady::new(NOW);
        let ahead = 40 * 24 * HOUR_MS;
        for hour in [1, 2, 24] {
            let right = NOW + i64::try_from(hour).expect("small") * HOUR_MS;
            assert_eq!(steady.believe(right + ahead, hours(hour)), right);
        }
        assert_eq!(steady.believe(NOW + 25 * HOUR_MS + ahead, hours(25)), NOW + 25 * HOUR_MS + ahead);
    }

    #[test]
    fn a_jump_that_is_taken_back_leaves_nothing() {
        let mut steady = Steady::new(NOW);
        assert_eq!(steady.believe(NOW + 50 * HOUR_MS, hours(1)), NOW + HOUR_MS);
        assert_eq!(steady.believe(NOW + 2 * HOUR_MS, hours(2)), NOW + 2 * HOUR_MS);
        // The day is counted anew.
        assert_eq!(steady.believe(NOW + 90 * HOUR_MS, hours(25)), NOW + 25 * HOUR_MS);
    }

    #[test]
    fn a_clock_that_is_set_back_is_believed_at_once() {
        let mut steady = Steady::new(NOW);
        assert_eq!(steady.believe(NOW - 3 * HOUR_MS, hours(1)), NOW - 3 * HOUR_MS);
        assert_eq!(steady.believe(NOW - 2 * HOUR_MS, hours(2)), NOW - 2 * HOUR_MS);
    }
}
