//! What a request may by the clock: the time is set here, which it cannot be through the front door.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use super::answer::Refused;
use super::signed::Signed;
use super::{Allowance, HttpSettings, HttpState};
use crate::problem::Problem;
use crate::signature::{AUTHORIZATION, DATE, SCHEME, sign};
use crate::store::sqlite::{SqliteSettings, SqliteStore};
use crate::store::{OpenAs, Store};
use crate::tenant::{NewToken, Scope, Secret};

const NOW: i64 = 1_763_812_800_000;

/// A service whose clock stands still, with a token `T`.
struct Still {
    store: Arc<dyn Store>,
    state: Arc<HttpState>,
    now_ms: Arc<AtomicI64>,
    _data: tempfile::TempDir,
}

fn settings() -> HttpSettings {
    HttpSettings {
        freshness: SignedDuration::from_secs(900),
        body_bytes_max: 1_000_000,
        body_bytes_in_flight_max: 1_000_000,
        stream_bytes_max: 1_000_000,
        streams_max: 1,
        pause_max: Duration::from_secs(30),
        wait_max: Duration::ZERO,
        token: Allowance { requests_per_minute_max: 0, uploads_max: 0 },
        account: Allowance { requests_per_minute_max: 0, uploads_max: 0 },
    }
}

impl Still {
    async fn new(settings: HttpSettings) -> Still {
        let data = tempfile::tempdir().expect("a directory");
        let store = SqliteStore::open(SqliteSettings::new(data.path().to_owned(), OpenAs::Server)).expect("it opens");
        let store: Arc<dyn Store> = Arc::new(store);
        let account = store.create_account("College", NOW).await.expect("an account").id;
        let secret = Secret::new("first".to_owned());
        let token = NewToken { token: "T".to_owned(), name: "T".to_owned(), secret, scope: Scope::FULL };
        store.create_token(account, token, NOW).await.expect("a token");
        let now_ms = Arc::new(AtomicI64::new(NOW));
        let read = Arc::clone(&now_ms);
        let clock = Arc::new(move || read.load(Ordering::Relaxed));
        let clocks = (clock.clone() as crate::command::Clock, clock as crate::command::Clock);
        let state = Arc::new(HttpState::new(Arc::clone(&store), settings, clocks, watch::channel(false).1));
        Still { store, state, now_ms, _data: data }
    }

    fn set(&self, now_ms: i64) {
        self.now_ms.store(now_ms, Ordering::Relaxed);
    }

    /// What is noted of the token's last use, once something is.
    async fn last_used(&self) -> Option<i64> {
        self.store.tokens(None).await.expect("tokens")[0].last_used_ms
    }

    /// A GET that is signed now.
    async fn ask(&self, secret: &str) -> Result<Signed, Problem> {
        let date = Timestamp::from_millisecond(self.now_ms.load(Ordering::Relaxed)).expect("a time").to_string();
        let signature = sign("T", secret.as_bytes(), "GET", "/x", b"", &date);
        let request = Request::get("/x")
            .header(AUTHORIZATION, format!("{SCHEME} T:{signature}"))
            .header(DATE, date)
            .body(Body::empty())
            .expect("a request");
        Signed::from_request(request, &self.state).await.map_err(|refused| match refused {
            Refused::Problem(problem) => *problem,
            other => unreachable!("{other:?}"),
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_secret_holds_until_the_overlap_ends() {
    let service = Still::new(settings()).await;
    service.store.rotate_token("T", &Secret::new("second".to_owned()), 60_000, NOW).await.expect("rotated");
    for (secret, at, holds) in [
        ("first", NOW, true),
        ("second", NOW, true),
        ("first", NOW + 59_999, true),
        ("first", NOW + 60_000, false),
        ("second", NOW + 60_000, true),
        ("third", NOW, false),
    ] {
        service.set(at);
        let asked = service.ask(secret).await.map(|_| ());
        let code = asked.as_ref().map_err(|problem| problem.code.entry().word);
        assert_eq!(code, if holds { Ok(&()) } else { Err("signature_mismatch") }, "{secret} at {at}");
    }
    // A wrong secret is answered alike with one secret to try and with two.
    service.set(NOW);
    let with_two = service.ask("third").await.err();
    service.store.rotate_token("T", &Secret::new("fourth".to_owned()), 0, NOW).await.expect("rotated");
    assert!(with_two.is_some());
    assert_eq!(service.ask("third").await.err(), with_two);
}

/// The note goes beside the request. The store takes jobs in their order, so what was asked of it before is done when a later job is.
async fn settled(service: &Still) {
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    service.store.create_account("Later", NOW).await.expect("an account");
}

#[tokio::test]
async fn the_use_of_a_token_is_noted_once_a_minute_and_only_where_the_signature_holds() {
    let service = Still::new(settings()).await;
    service.ask("wrong").await.map(|_| ()).expect_err("it does not fit");
    settled(&service).await;
    assert_eq!(service.last_used().await, None, "anybody can name a token");
    for (at, noted) in [(NOW, NOW), (NOW + 59_999, NOW), (NOW + 60_000, NOW + 60_000)] {
        service.set(at);
        service.ask("first").await.map(|_| ()).expect("it fits");
        settled(&service).await;
        assert_eq!(service.last_used().await, Some(noted), "at {at}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_too_often_is_told_when_to_come_again() {
    let token = Allowance { requests_per_minute_max: 4, uploads_max: 0 };
    let service = Still::new(HttpSettings { token, ..settings() }).await;
    let admitted = async || service.ask("first").await.expect("it fits").data.admit();
    for _ in 0..10 {
        // Not signed by the token: that does not count for it. Nor does what is signed and comes to nothing.
        let refused = service.ask("wrong").await.err().expect("it does not fit");
        assert_eq!(refused.status, 401);
        service.ask("first").await.map(|_| ()).expect("it fits");
    }
    for _ in 0..4 {
        admitted().await.expect("within the limit");
    }
    let refused = admitted().await.expect_err("too many");
    assert_eq!((refused.status, refused.code.entry().word, refused.retry_after_s), (429, "busy", Some(15)));
    service.set(NOW + 14_000);
    assert_eq!(admitted().await.expect_err("too early").retry_after_s, Some(1));
    service.set(NOW + 15_000);
    admitted().await.expect("when it was told");
    assert_eq!(admitted().await.expect_err("one").retry_after_s, Some(15));
}
