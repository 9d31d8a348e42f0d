//! How much a token and an account may ask of this node: requests in a minute, and imports that come in at the same time. Each node counts
//! for itself, and only what is signed by a token that is there: nobody can use up what is another's, and what is kept is bounded by the
//! tokens that operators made.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;

use crate::command::QueueOf;
use crate::metrics::TURNED_AWAY;
use crate::problem::{Code, Problem};
use crate::tenant::{AccountId, Token, TokenNumber};

const MINUTE_US: i64 = 60_000_000;
/// From so many on, those that stand still are forgotten.
const COUNTS_ENOUGH: usize = 1_000;
/// When an import is worth trying again where others come in, in seconds: they end by themselves, nobody knows when.
const UPLOAD_RETRY_S: u64 = 5;
/// How long a client whose queue is full is asked to wait, in seconds.
const QUEUE_FULL_RETRY_S: u64 = 30;

/// What one token, or one account, may ask of a node. 0: as much as it likes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Allowance {
    /// As many at once after a quiet minute, and as many in every minute that follows.
    pub requests_per_minute_max: u64,
    /// Imports that come in at the same time.
    pub uploads_max: u64,
}

/// What a token or an account has asked for.
#[derive(Clone, Copy, Default)]
struct Count {
    /// When its requests so far would be over if they came evenly, in microseconds since 1970-01-01 UTC.
    even_until_us: i64,
    uploads: u64,
}

impl Count {
    /// In how many seconds a request may come; 0 for now.
    fn wait_s(&self, allowance: Allowance, now_us: i64) -> u64 {
        let Some(each_us) = each_us(allowance) else { return 0 };
        // No further ahead than a minute's requests reach.
        let even_until_us = self.even_until_us(now_us);
        let wait_us = even_until_us.saturating_add(each_us).saturating_sub(MINUTE_US).saturating_sub(now_us);
        u64::try_from(wait_us).unwrap_or(0).div_ceil(1_000_000)
    }

    fn charge(&mut self, allowance: Allowance, now_us: i64) {
        if let Some(each_us) = each_us(allowance) {
            self.even_until_us = self.even_until_us(now_us).max(now_us).saturating_add(each_us);
        }
    }

    /// Nobody gets further ahead than a minute. Who is by far was counted before the clock was set back, and is counted anew: else
    /// everybody would be turned away for as long as it was set back.
    fn even_until_us(&self, now_us: i64) -> i64 {
        if self.even_until_us.saturating_sub(now_us) > 2 * MINUTE_US { now_us } else { self.even_until_us }
    }

    fn give_back(&mut self, allowance: Allowance) {
        self.even_until_us = self.even_until_us.saturating_sub(each_us(allowance).unwrap_or(0));
    }
}

/// `None` where there is no limit.
fn each_us(allowance: Allowance) -> Option<i64> {
    MINUTE_US.checked_div(i64::try_from(allowance.requests_per_minute_max).unwrap_or(i64::MAX))
}

#[derive(Default)]
struct Counts {
    tokens: HashMap<TokenNumber, Count>,
    accounts: HashMap<AccountId, Count>,
}

/// The counts of this node.
pub(super) struct Limits {
    token: Allowance,
    account: Allowance,
    counts: Mutex<Counts>,
}

impl Limits {
    pub(super) fn new(token: Allowance, account: Allowance) -> Limits {
        Limits { token, account, counts: Mutex::default() }
    }

    /// Counts a request, or says when it may come again; one that is refused counts for nobody.
    fn request(&self, token: &Token, now_ms: i64) -> Result<(), Problem> {
        if self.token.requests_per_minute_max == 0 && self.account.requests_per_minute_max == 0 {
            return Ok(());
        }
        let now_us = now_ms.saturating_mul(1_000);
        let mut counts = self.counts();
        let counts = &mut *counts;
        let of_token = entry(&mut counts.tokens, token.number, now_us);
        let of_account = entry(&mut counts.accounts, token.account, now_us);
        let waits = [
            (Limit::TokenRequests, of_token.wait_s(self.token, now_us), self.token),
            (Limit::AccountRequests, of_account.wait_s(self.account, now_us), self.account),
        ];
        if let Some((limit, wait_s, allowance)) = waits.into_iter().max_by_key(|(_, wait_s, _)| *wait_s)
            && wait_s > 0
        {
            return Err(limit.turns_away(allowance.requests_per_minute_max, wait_s));
        }
        of_token.charge(self.token, now_us);
        of_account.charge(self.account, now_us);
        Ok(())
    }

    /// A request that was counted has been refused after all.
    fn give_back(&self, (token, account): (TokenNumber, AccountId)) {
        let mut counts = self.counts();
        if let Some(count) = counts.tokens.get_mut(&token) {
            count.give_back(self.token);
        }
        if let Some(count) = counts.accounts.get_mut(&account) {
            count.give_back(self.account);
        }
    }

    /// Counts an import that comes in, for as long as what is given is kept.
    pub(super) fn upload(self: &Arc<Self>, token: &Token, now_ms: i64) -> Result<Upload, Problem> {
        let now_us = now_ms.saturating_mul(1_000);
        let mut counts = self.counts();
        let counts = &mut *counts;
        let of_token = entry(&mut counts.tokens, token.number, now_us);
        let of_account = entry(&mut counts.accounts, token.account, now_us);
        for (limit, count, allowance) in
            [(Limit::TokenUploads, &*of_token, self.token), (Limit::AccountUploads, &*of_account, self.account)]
        {
            let max = allowance.uploads_max;
            if max > 0 && count.uploads >= max {
                return Err(limit.turns_away(max, UPLOAD_RETRY_S));
            }
        }
        of_token.uploads += 1;
        of_account.uploads += 1;
        Ok(Upload { limits: Arc::clone(self), token: token.number, account: token.account })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Nothing in here can panic between two changes that belong together.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An import that is coming in.
pub(super) struct Upload {
    limits: Arc<Limits>,
    token: TokenNumber,
    account: AccountId,
}

impl Drop for Upload {
    fn drop(&mut self) {
        let mut counts = self.limits.counts();
        let counts = &mut *counts;
        for count in [counts.tokens.get_mut(&self.token), counts.accounts.get_mut(&self.account)].into_iter().flatten()
        {
            count.uploads = count.uploads.saturating_sub(1);
        }
    }
}

/// Forgets, where there are many, whose count is as if it were new.
fn entry<K: Hash + Eq>(counts: &mut HashMap<K, Count>, key: K, now_us: i64) -> &mut Count {
    if counts.len() >= COUNTS_ENOUGH && !counts.contains_key(&key) {
        counts.retain(|_, count| count.uploads > 0 || count.even_until_us > now_us);
    }
    counts.entry(key).or_default()
}

/// Whether one request has been counted. Kept beside it until its answer is known.
#[derive(Clone, Default)]
pub(super) struct Tally(Arc<Mutex<Counted>>);

#[derive(Default)]
enum Counted {
    /// Nothing has been done for it yet.
    #[default]
    NotYet,
    /// It is let in without being counted.
    Free,
    /// It was counted.
    Once(Arc<Limits>, (TokenNumber, AccountId)),
}

impl Tally {
    /// Counts the request, the first time that it is asked.
    pub(super) fn count(&self, limits: &Arc<Limits>, token: &Token, now_ms: i64) -> Result<(), Problem> {
        let mut counted = self.counted();
        if let Counted::NotYet = *counted {
            limits.request(token, now_ms)?;
            *counted = Counted::Once(Arc::clone(limits), (token.number, token.account));
        }
        Ok(())
    }

    /// Lets the request in whatever was counted.
    pub(super) fn let_in(&self) {
        *self.counted() = Counted::Free;
    }

    /// The request was refused.
    pub(super) fn give_back(&self) {
        if let Counted::Once(limits, whose) = std::mem::take(&mut *self.counted()) {
            limits.give_back(whose);
        }
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What can be too much.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Limit {
    TokenRequests,
    AccountRequests,
    TokenUploads,
    AccountUploads,
    ProgramQueue,
    AccountQueue,
    /// Of bodies in memory, on this node.
    Bodies,
    /// Files of the stream form, on this node.
    Streams,
    /// On this node.
    Exports,
    /// On this node.
    Connections,
}

impl Limit {
    /// All of them.
    pub(super) const ALL: [Limit; 10] = [
        Limit::TokenRequests,
        Limit::AccountRequests,
        Limit::TokenUploads,
        Limit::AccountUploads,
        Limit::ProgramQueue,
        Limit::AccountQueue,
        Limit::Bodies,
        Limit::Streams,
        Limit::Exports,
        Limit::Connections,
    ];

    /// As it is told and counted.
    pub(super) fn word(self) -> &'static str {
        match self {
            Limit::TokenRequests => "token_requests",
            Limit::AccountRequests => "account_requests",
            Limit::TokenUploads => "token_uploads",
            Limit::AccountUploads => "account_uploads",
            Limit::ProgramQueue => "program_queue",
            Limit::AccountQueue => "account_queue",
            Limit::Bodies => "bodies",
            Limit::Streams => "streams",
            Limit::Exports => "exports",
            Limit::Connections => "connections",
        }
    }

    /// Counts and tells that a request is turned away; what is the node's own business is 503.
    pub(super) fn turns_away(self, max: u64, retry_after_s: u64) -> Problem {
        let detail = match self {
            Limit::TokenRequests => format!("This token may send {max} requests in a minute"),
            Limit::AccountRequests => format!("This account may send {max} requests in a minute, with all its tokens"),
            Limit::TokenUploads => format!("This token may send {max} imports at the same time"),
            Limit::AccountUploads => {
                format!("This account may send {max} imports at the same time, with all its tokens")
            }
            Limit::ProgramQueue => format!("The queue of this program is full: {max} imports wait"),
            Limit::AccountQueue => {
                format!("The queues of this account are full: {max} imports wait, in all its programs")
            }
            Limit::Bodies => format!("Too many large requests at the same moment; there is room for {max} bytes"),
            Limit::Streams => format!("Too many files at the same moment; {max} come in"),
            Limit::Exports => format!("Too many exports at the same moment; {max} are read"),
            Limit::Connections => format!("Too many connections at the same moment; {max} are at work"),
        };
        TURNED_AWAY.add(&[self.word()], 1);
        let problem = Problem::new(Code::Busy, format!("{detail}. Nothing was done"));
        let status = match self {
            Limit::Bodies | Limit::Streams | Limit::Exports | Limit::Connections => problem.status,
            _ => StatusCode::TOO_MANY_REQUESTS.as_u16(),
        };
        Problem { status, retry_after_s: Some(retry_after_s), ..problem.with("limit", self.word()) }
    }
}

/// The problem of a full queue.
pub(super) fn queue_full(of: QueueOf, max: u32) -> Problem {
    let limit = match of {
        QueueOf::Program => Limit::ProgramQueue,
        QueueOf::Account => Limit::AccountQueue,
    };
    limit.turns_away(max.into(), QUEUE_FULL_RETRY_S)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::tenant::{Scope, Secret};

    const NOW: i64 = 1_763_812_800_000;
    const NONE: Allowance = Allowance { requests_per_minute_max: 0, uploads_max: 0 };

    fn token(number: i64, account: u128) -> Token {
        Token {
            number: TokenNumber(number),
            account: AccountId(Uuid::from_u128(account)),
            token: "T".to_owned(),
            name: "T".to_owned(),
            secret: Secret::new("S".to_owned()),
            old_secret: None,
            scope: Scope::FULL,
        }
    }

    fn requests(requests_per_minute_max: u64) -> Allowance {
        Allowance { requests_per_minute_max, ..NONE }
    }

    fn uploads(uploads_max: u64) -> Allowance {
        Allowance { uploads_max, ..NONE }
    }

    fn limits(token: Allowance, account: Allowance) -> Arc<Limits> {
        Arc::new(Limits::new(token, account))
    }

    fn wait_s(limits: &Limits, token: &Token, now_ms: i64) -> u64 {
        limits.request(token, now_ms).map_or_else(|problem| problem.retry_after_s.expect("a time"), |()| 0)
    }

    #[test]
    fn a_clock_that_was_set_back_turns_nobody_away() {
        const HOUR: i64 = 3_600_000;
        for max in [1, 60] {
            let (limits, token) = (limits(requests(max), requests(max)), token(1, 1));
            (0..max).for_each(|_| assert_eq!(wait_s(&limits, &token, NOW + 3 * HOUR), 0));
            assert!(wait_s(&limits, &token, NOW + 3 * HOUR) > 0);
            (0..max).for_each(|_| assert_eq!(wait_s(&limits, &token, NOW), 0, "it is counted anew"));
            assert!(wait_s(&limits, &token, NOW) > 0, "and counted");
        }
    }

    /// Who comes again when told is let in, and a second earlier is not; whatever they tried meanwhile.
    #[test]
    fn the_time_to_wait_is_true() {
        for max in [1, 2, 7, 59, 60, 61, 600, 6_000] {
            for into_the_second_ms in [0, 1, 500, 999] {
                let (limits, one, now) = (limits(requests(max), NONE), token(1, 1), NOW + into_the_second_ms);
                for _ in 0..max {
                    assert_eq!(wait_s(&limits, &one, now), 0);
                }
                let wait = wait_s(&limits, &one, now);
                assert_eq!(wait, 60_u64.div_ceil(max), "{max} in a minute");
                let then = now + 1_000 * i64::try_from(wait).expect("small");
                for early_ms in [1_000, 1_001] {
                    assert!(wait_s(&limits, &one, then - early_ms) > 0, "too early");
                }
                assert_eq!(wait_s(&limits, &one, then), 0);
            }
        }
    }

    /// Over an hour of trying all the time: as many as come evenly, and once as many as wait for a quiet minute.
    #[test]
    fn in_the_long_run_it_is_so_many_in_a_minute() {
        for max in [1, 7, 600] {
            let (limits, one) = (limits(NONE, requests(max)), token(1, 1));
            let let_in = (0..60 * 60 * 100).filter(|at| wait_s(&limits, &one, NOW + at * 10) == 0).count() as u64;
            // Not one more: what is cut off a request's share of a minute is less than that.
            assert!((60 * max + max - 1..=60 * max + max).contains(&let_in), "{let_in} of {max} in a minute");
        }
    }

    #[test]
    fn every_limit_stands_in_the_pages() {
        for (name, page) in
            [("API", include_str!("../../docs/API.md")), ("OPERATIONS", include_str!("../../docs/OPERATIONS.md"))]
        {
            for limit in Limit::ALL {
                assert!(page.contains(&format!("`{}`", limit.word())), "{name}: {}", limit.word());
            }
        }
    }

    #[test]
    fn tokens_and_accounts_count_apart() {
        let limits = limits(requests(2), requests(3));
        let (one, beside, stranger) = (token(1, 1), token(2, 1), token(3, 2));
        assert_eq!([wait_s(&limits, &one, NOW), wait_s(&limits, &one, NOW)], [0, 0]);
        assert_eq!(wait_s(&limits, &one, NOW), 30, "the token's");
        assert_eq!(wait_s(&limits, &beside, NOW), 0, "what was refused did not count for the account");
        let refused = limits.request(&beside, NOW).expect_err("the account's");
        assert_eq!((refused.status, refused.code, refused.retry_after_s), (429, Code::Busy, Some(20)));
        assert!(refused.detail.contains("This account may send 3 requests in a minute"), "{}", refused.detail);
        assert_eq!(wait_s(&limits, &stranger, NOW), 0);
        // The longer one of two is told.
        assert_eq!(wait_s(&limits, &one, NOW), 30);
    }

    #[test]
    fn a_request_counts_once_and_only_if_it_is_not_refused() {
        let (limits, one) = (limits(requests(1), requests(1)), token(1, 1));
        let (first, second) = (Tally::default(), Tally::default());
        for _ in 0..3 {
            first.count(&limits, &one, NOW).expect("within the limit");
        }
        second.count(&limits, &one, NOW).expect_err("too many");
        second.give_back();
        second.count(&limits, &one, NOW).expect_err("it had nothing to give back");
        // Whoever may look at the answer knows it as well.
        first.clone().give_back();
        first.give_back();
        second.count(&limits, &one, NOW).expect("the other one was refused");
        let replay = Tally::default();
        replay.let_in();
        replay.count(&limits, &one, NOW).expect("it is not counted");
        replay.give_back();
        Tally::default().count(&limits, &one, NOW).expect_err("still too many");
    }

    #[test]
    fn an_upload_counts_until_it_is_over() {
        let limits = limits(uploads(2), uploads(3));
        let (one, beside, stranger) = (token(1, 1), token(2, 1), token(3, 2));
        let upload =
            |token: &Token| limits.upload(token, NOW).map_err(|problem| (problem.status, problem.retry_after_s));
        let first = upload(&one).expect("a place");
        let _second = upload(&one).expect("a place");
        assert_eq!(upload(&one).map(|_| ()), Err((429, Some(UPLOAD_RETRY_S))));
        let _third = upload(&beside).expect("a place");
        assert!(upload(&beside).is_err(), "the account's");
        assert!(upload(&stranger).is_ok());
        drop(first);
        assert!(upload(&one).is_ok() && upload(&beside).is_ok());
    }

    #[test]
    fn without_limits_nobody_waits_and_who_is_quiet_is_forgotten() {
        let open = limits(NONE, NONE);
        assert!((0..100_000).all(|_| wait_s(&open, &token(1, 1), NOW) == 0));
        let limited = limits(requests(1), NONE);
        for number in 0..5_000 {
            assert_eq!(wait_s(&limited, &token(number, 1), NOW + number * 1_000), 0);
        }
        assert!(limited.counts().tokens.len() <= COUNTS_ENOUGH);
        assert!(wait_s(&limited, &token(4_999, 1), NOW + 4_999_000) > 0, "not who has just asked");
    }
}
