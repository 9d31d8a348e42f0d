//! When tokens were last used: noted roughly, beside the requests and never in their way.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::tenant::TokenNumber;

/// How long a use stands for those after it, in milliseconds.
const NOTED_FOR_MS: i64 = 60_000;
/// How many tokens are remembered at most; beyond it all are forgotten, and noted once more than they would have been.
const TOKENS_MAX: usize = 10_000;

/// Which uses this node has noted.
#[derive(Default)]
pub(super) struct LastUses(Mutex<HashMap<TokenNumber, i64>>);

impl LastUses {
    /// Whether this use is to be noted: once a minute at most for each token. A clock that was set back counts anew.
    pub(super) fn is_news(&self, token: TokenNumber, now_ms: i64) -> bool {
        // What a panic elsewhere could have left here is a number too many or too few.
        let mut noted = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if noted.get(&token).is_some_and(|at_ms| (0..NOTED_FOR_MS).contains(&now_ms.saturating_sub(*at_ms))) {
            return false;
        }
        if noted.len() >= TOKENS_MAX {
            noted.clear();
        }
        noted.insert(token, now_ms);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_is_news_once_a_minute() {
        let uses = LastUses::default();
        let is_news = |token, now_ms| uses.is_news(TokenNumber(token), now_ms);
        assert!(is_news(1, 1_000) && is_news(2, 1_000));
        assert!(!is_news(1, 1_000) && !is_news(1, 60_999));
        assert!(is_news(1, 61_000) && !is_news(2, 60_999));
        assert!(is_news(1, 0), "the clock was set back");
        assert!(!is_news(1, 59_999));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let uses = LastUses::default();
        for token in 0..25_000 {
            assert!(uses.is_news(TokenNumber(token), 0));
        }
        assert!(uses.0.lock().expect("not poisoned").len() <= TOKENS_MAX);
        assert!(!uses.is_news(TokenNumber(24_999), 0));
    }
}
