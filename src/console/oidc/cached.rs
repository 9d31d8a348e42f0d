//! What the provider said, kept for a while. Who asks while it is asked waits for that very answer, and a failure too is
//! kept, for a moment: however many people come, the provider is asked one question at a time.

use std::sync::{Arc, Mutex, PoisonError};

use super::refusal::OidcRefusal;

/// How long an answer is believed: so long may a key that the provider took back still be.
const KEPT_MS: u64 = 60 * 60_000;

/// How long a failure is repeated without asking. Longer than a call takes, so that who waited for one does not try again behind it.
const FAILURE_KEPT_MS: u64 = 15_000;

/// How soon after an answer something newer may be asked for.
const NEWER_AFTER_MS: u64 = 10_000;

/// One answer of the provider's.
pub(super) struct Cached<T>(Mutex<Slot<T>>);

struct Slot<T> {
    answer: Option<(Arc<T>, i64)>,
    failure: Option<(OidcRefusal, i64)>,
}

impl<T> Default for Cached<T> {
    fn default() -> Cached<T> {
        Cached(Mutex::new(Slot { answer: None, failure: None }))
    }
}

impl<T> Cached<T> {
    /// What is known, or what is said now.
    pub(super) fn get(
        &self,
        now_ms: i64,
        fetch: impl FnOnce() -> Result<T, OidcRefusal>,
    ) -> Result<Arc<T>, OidcRefusal> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &slot.answer {
            Some((answer, at_ms)) if now_ms.abs_diff(*at_ms) <= KEPT_MS => Ok(Arc::clone(answer)),
            Some(_) | None => slot.fetch(now_ms, fetch),
        }
    }

    /// Something newer than what did not do; the same again where it is as new as may be asked for.
    pub(super) fn newer(
        &self,
        than: &Arc<T>,
        now_ms: i64,
        fetch: impl FnOnce() -> Result<T, OidcRefusal>,
    ) -> Result<Arc<T>, OidcRefusal> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &slot.answer {
            Some((answer, at_ms)) if !Arc::ptr_eq(answer, than) || now_ms.abs_diff(*at_ms) < NEWER_AFTER_MS => {
                Ok(Arc::clone(answer))
            }
            Some(_) | None => slot.fetch(now_ms, fetch),
        }
    }
}

impl<T> Slot<T> {
    fn fetch(&mut self, now_ms: i64, fetch: impl FnOnce() -> Result<T, OidcRefusal>) -> Result<Arc<T>, OidcRefusal> {
        if let Some((failure, at_ms)) = &self.failure
            && now_ms.abs_diff(*at_ms) < FAILURE_KEPT_MS
        {
            return Err(failure.clone());
        }
        match fetch() {
            Ok(answer) => {
                let answer = Arc::new(answer);
                *self = Slot { answer: Some((Arc::clone(&answer), now_ms)), failure: None };
                Ok(answer)
            }
            Err(failure) => {
                self.failure = Some((failure.clone(), now_ms));
                Err(failure)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::super::refusal::Reason;
    use super::*;

    #[test]
    fn an_answer_is_kept_and_a_failure_for_a_moment() {
        let (cached, asked) = (Cached::default(), Cell::new(0));
        let fetch = |result: Result<u8, OidcRefusal>| {
            asked.set(asked.get() + 1);
            result
        };
        let away = || Err(Reason::Unreachable.with("away"));
        let get = |now_ms, result| cached.get(now_ms, || fetch(result)).map(|answer| *answer);
        assert_eq!((get(0, away()), asked.get()), (away(), 1));
        assert_eq!((get(14_999, Ok(1)), asked.get()), (away(), 1));
        assert_eq!((get(15_000, Ok(1)), asked.get()), (Ok(1), 2));
        assert_eq!((get(3_615_000, Ok(2)), asked.get()), (Ok(1), 2));
        assert_eq!((get(3_615_001, Ok(2)), asked.get()), (Ok(2), 3));
        // A clock that was set back.
        assert_eq!((get(-1, Ok(3)), asked.get()), (Ok(3), 4));
    }

    #[test]
    fn what_is_newer_is_asked_for_now_and_then_only() {
        let cached = Cached::default();
        let first = cached.get(0, || Ok(1)).expect("an answer");
        assert_eq!(*cached.newer(&first, 9_999, || Ok(2)).expect("an answer"), 1);
        let second = cached.newer(&first, 10_000, || Ok(2)).expect("an answer");
        assert_eq!(*second, 2);
        // Who comes with the old one has the new one without asking.
        assert_eq!(*cached.newer(&first, 30_000, || Ok(3)).expect("an answer"), 2);
        assert_eq!(*cached.newer(&second, 30_000, || Ok(3)).expect("an answer"), 3);
    }
}
