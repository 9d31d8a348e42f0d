//! How often a name may be tried with a wrong password: after a few times it is locked for a while, and longer each time. Known names and
//! unknown ones alike, so that nobody learns which there are. Each node counts for itself; a link of the operator's lets in all the same.

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lru::LruCache;

/// So often a name may be wrong before it is locked.
const TRIES_MAX: u32 = 5;
/// The first lock, in milliseconds; each further wrong password doubles it.
const LOCK_MS: i64 = 60 * 1_000;
/// The longest lock.
const LOCK_MS_MAX: i64 = 60 * 60 * 1_000;
/// What was wrong so long ago counts no more.
const FORGOTTEN_MS: i64 = 24 * 60 * 60 * 1_000;
/// So many names are remembered, the latest. Each was paid for with the check of a password.
const NAMES_MAX: NonZeroUsize = NonZeroUsize::new(20_000).expect("not zero");

/// What was tried.
pub(super) struct Attempts(Mutex<LruCache<String, Tries>>);

#[derive(Clone, Copy, Default)]
struct Tries {
    wrong: u32,
    last_ms: i64,
    locked_until_ms: i64,
}

impl Default for Attempts {
    fn default() -> Attempts {
        Attempts(Mutex::new(LruCache::new(NAMES_MAX)))
    }
}

impl Attempts {
    fn tries(&self) -> MutexGuard<'_, LruCache<String, Tries>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For how long the name is still locked, in milliseconds.
    pub(super) fn locked_ms(&self, name: &str, now_ms: i64) -> Option<i64> {
        let until_ms = self.tries().peek(name)?.locked_until_ms;
        // A clock that was set back locks nobody out for longer than a lock lasts.
        Some(until_ms.saturating_sub(now_ms)).filter(|left_ms| (1..=LOCK_MS_MAX).contains(left_ms))
    }

    /// Notes a try before it is known whether it is right, so that many at once are no more than one after the other. Whether there is one
    /// more.
    pub(super) fn begin(&self, name: &str, now_ms: i64) -> Result<(), i64> {
        if let Some(left_ms) = self.locked_ms(name, now_ms) {
            return Err(left_ms);
        }
        let mut all = self.tries();
        let mut tries = all.get(name).copied().unwrap_or_default();
        if now_ms.saturating_sub(tries.last_ms) >= FORGOTTEN_MS {
            tries = Tries::default();
        }
        tries.wrong = tries.wrong.saturating_add(1);
        tries.last_ms = now_ms;
        if tries.wrong >= TRIES_MAX {
            let doubled = LOCK_MS.checked_shl(tries.wrong - TRIES_MAX).filter(|ms| *ms > 0).unwrap_or(LOCK_MS_MAX);
            tries.locked_until_ms = now_ms.saturating_add(doubled.min(LOCK_MS_MAX));
        }
        all.put(name.to_owned(), tries);
        Ok(())
    }

    /// It was right: what was wrong before is forgotten.
    pub(super) fn was_right(&self, name: &str) {
        self.tries().pop(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_locked_after_five_wrong_passwords_and_longer_each_time() {
        let attempts = Attempts::default();
        let mut now = 1_000_000;
        for _ in 0..TRIES_MAX {
            assert_eq!(attempts.begin("ada", now), Ok(()));
        }
        assert_eq!(attempts.begin("ada", now), Err(LOCK_MS));
        assert_eq!(attempts.begin("ada", now + LOCK_MS - 1), Err(1));
        assert_eq!(attempts.begin("bo", now), Ok(()), "nobody else is locked");
        now += LOCK_MS;
        assert_eq!(attempts.begin("ada", now), Ok(()));
        assert_eq!(attempts.begin("ada", now), Err(2 * LOCK_MS));
        for _ in 0..40 {
            now += LOCK_MS_MAX;
            assert_eq!(attempts.begin("ada", now), Ok(()));
        }
        assert_eq!(attempts.begin("ada", now), Err(LOCK_MS_MAX), "never longer than an hour");
        attempts.was_right("ada");
        assert_eq!(attempts.locked_ms("ada", now), None);
    }

    #[test]
    fn what_was_wrong_yesterday_counts_no_more_and_a_clock_set_back_locks_nobody() {
        let attempts = Attempts::default();
        for _ in 1..TRIES_MAX {
            attempts.begin("ada", 0).expect("not locked");
        }
        assert_eq!(attempts.begin("ada", FORGOTTEN_MS), Ok(()));
        assert_eq!(attempts.locked_ms("ada", FORGOTTEN_MS), None);
        for _ in 0..TRIES_MAX {
            let _ = attempts.begin("bo", 10 * FORGOTTEN_MS);
        }
        assert!(attempts.locked_ms("bo", 10 * FORGOTTEN_MS).is_some());
        assert_eq!(attempts.locked_ms("bo", 0), None);
    }
}
