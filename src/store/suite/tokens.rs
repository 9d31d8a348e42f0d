//! What every home keeps of a token beside its secret: what it may do.

use super::*;
use crate::store::AccountPageStart;

scenes![
    a_scope_is_kept_and_listed,
    a_rotated_token_has_two_secrets_for_a_while,
    a_rotation_needs_a_token,
    the_last_use_is_kept_and_never_goes_back,
    a_rotated_token_is_the_same_token,
    a_scope_has_programs_of_its_account_only,
    a_page_is_of_the_programs_reached
];

/// New secret and, at this moment, old one.
async fn secrets(store: &dyn Store, now_ms: i64) -> (String, Option<String>) {
    let token = store.token("T").await.expect("readable").expect("the token");
    let old = token.old_secret_at(now_ms).map(|secret| secret.expose().to_owned());
    (token.secret.expose().to_owned(), old)
}

async fn rotate(store: &dyn Store, secret: &str, overlap_ms: u64, now_ms: i64) -> Option<i64> {
    let secret = Secret::new(secret.to_owned());
    let rotated = store.rotate_token("T", &secret, overlap_ms, now_ms).await.expect("rotated");
    assert_eq!(rotated.name, "Limited");
    rotated.old_secret_until_ms
}

async fn a_rotated_token_has_two_secrets_for_a_while(home: &dyn Home) {
    let store = home.open().await;
    let one = tenant(&*store, "One").await;
    let scope = Scope { read_only: true, programs: only(&[one.program]) };
    store.create_token(one.account, limited("T", scope.clone()), NOW).await.expect("a token");
    assert_eq!(secrets(&*store, NOW).await, ("a secret".to_owned(), None));

    assert_eq!(rotate(&*store, "second", 1_000, NOW).await, Some(NOW + 1_000));
    store.close().await.expect("closed");
    drop(store);
    let store = home.open().await;
    assert_eq!(secrets(&*store, NOW + 999).await, ("second".to_owned(), Some("a secret".to_owned())));
    assert_eq!(secrets(&*store, NOW + 1_000).await, ("second".to_owned(), None), "the overlap is over");
    assert_eq!(store.token("T").await.expect("readable").expect("the token").scope, scope);
    let until = store.tokens(Some(one.account)).await.expect("tokens")[1].old_secret_until_ms;
    assert_eq!(until, Some(NOW + 1_000));

    // Within the overlap once more: what was older is void at once.
    assert_eq!(rotate(&*store, "third", 5_000, NOW + 10).await, Some(NOW + 5_010));
    assert_eq!(secrets(&*store, NOW + 11).await, ("third".to_owned(), Some("second".to_owned())));
    // And without an overlap.
    assert_eq!(rotate(&*store, "fourth", 0, NOW + 20).await, None);
    assert_eq!(secrets(&*store, NOW + 20).await, ("fourth".to_owned(), None));
}

async fn a_rotation_needs_a_token(home: &dyn Home) {
    let store = home.open().await;
    let one = tenant(&*store, "One").await;
    store.create_token(one.account, limited("T", Scope::FULL), NOW).await.expect("a token");
    let secret = Secret::new("new".to_owned());
    refused(store.rotate_token("T9", &secret, 1_000, NOW).await);
    // Of two at once each is done whole or refused, and one is done.
    let (first, second) = (Secret::new("first".to_owned()), Secret::new("second".to_owned()));
    let (left, right) =
        tokio::join!(store.rotate_token("T", &first, 1_000, NOW), store.rotate_token("T", &second, 1_000, NOW));
    let (now, old) = secrets(&*store, NOW).await;
    let old = old.expect("an old secret");
    match (left.is_ok(), right.is_ok()) {
        (true, true) => assert!([("second", "first"), ("first", "second")].contains(&(&*now, &*old))),
        (true, false) => assert_eq!((&*now, &*old), ("first", "a secret")),
        (false, true) => assert_eq!((&*now, &*old), ("second", "a secret")),
        (false, false) => unreachable!("one of them comes first"),
    }
    store.revoke_token("T", NOW + 5).await.expect("revoked");
    refused(store.rotate_token("T", &secret, 1_000, NOW + 6).await);
    assert_eq!(store.token("T").await.expect("readable"), None, "with either secret");
}

async fn the_last_use_is_kept_and_never_goes_back(home: &dyn Home) {
    let store = home.open().await;
    let (one, two) = (tenant(&*store, "One").await, tenant(&*store, "Two").await);
    let uses = async |store: &dyn Store| {
        let listed = store.tokens(None).await.expect("tokens");
        listed.into_iter().map(|token| token.last_used_ms).collect::<Vec<_>>()
    };
    assert_eq!(uses(&*store).await, [None, None]);
    store.note_use(one.token, NOW + 10).await.expect("noted");
    // Another node, whose clock is behind.
    store.note_use(one.token, NOW + 5).await.expect("noted");
    assert_eq!(uses(&*store).await, [Some(NOW + 10), None]);
    store.note_use(two.token, NOW + 20).await.expect("noted");
    store.note_use(one.token, NOW + 30).await.expect("noted");
    store.close().await.expect("closed");
    drop(store);
    assert_eq!(uses(&*home.open().await).await, [Some(NOW + 30), Some(NOW + 20)]);
}

/// So what it sent before is remembered whichever secret signs it again.
async fn a_rotated_token_is_the_same_token(home: &dyn Home) {
    let store = home.open().await;
    let one = tenant(&*store, "One").await;
    let id = accept(&*store, &one, 1).await;
    let secret = Secret::new("new".to_owned());
    store.rotate_token("token of One", &secret, 1_000, NOW).await.expect("rotated");
    let token = store.token("token of One").await.expect("readable").expect("the token");
    assert_eq!(token.number, one.token);
    let remembered = store.remembered(token.number, &[1; 32]).await.expect("readable").expect("remembered");
    assert_eq!(remembered.command, id);
    assert_eq!(store.accept(request(&one, 1)).await.expect("an answer"), Accepted::Replayed(id));
}

fn only(programs: &[ProgramId]) -> Programs {
    Programs::Only(programs.iter().copied().collect())
}

fn limited(token: &str, scope: Scope) -> NewToken {
    NewToken { scope, ..new_token(token, "Limited", "a secret") }
}

async fn a_scope_is_kept_and_listed(home: &dyn Home) {
    let store = home.open().await;
    let one = tenant(&*store, "One").await;
    let second = program(&*store, one.account, "Second").await.id;
    let scopes = [
        Scope { read_only: true, ..Scope::FULL },
        Scope { read_only: false, programs: only(&[one.program]) },
        Scope { read_only: true, programs: only(&[second, one.program]) },
    ];
    for (number, scope) in scopes.iter().enumerate() {
        let token = limited(&format!("T{number}"), scope.clone());
        store.create_token(one.account, token, NOW).await.expect("a token");
    }
    store.close().await.expect("closed");
    drop(store);
    let store = home.open().await;
    for (number, scope) in scopes.iter().enumerate() {
        let token = store.token(&format!("T{number}")).await.expect("readable").expect("the token");
        assert_eq!((&token.scope, token.secret.expose()), (scope, "a secret"));
    }
    let listed: Vec<Scope> =
        store.tokens(Some(one.account)).await.expect("tokens").into_iter().map(|token| token.scope).collect();
    assert_eq!(listed, [&[Scope::FULL], &scopes[..]].concat());
}

async fn a_scope_has_programs_of_its_account_only(home: &dyn Home) {
    let store = home.open().await;
    let (one, two) = (tenant(&*store, "One").await, tenant(&*store, "Two").await);
    let nowhere = ProgramId(Uuid::from_u128(7));
    for programs in [only(&[two.program]), only(&[one.program, two.program]), only(&[nowhere]), only(&[])] {
        let token = limited("T", Scope { read_only: false, programs });
        refused(store.create_token(one.account, token, NOW).await);
    }
    assert_eq!(store.token("T").await.expect("readable"), None, "nothing was made");
    assert_eq!(store.tokens(Some(one.account)).await.expect("tokens").len(), 1);
}

async fn a_page_is_of_the_programs_reached(home: &dyn Home) {
    let store = home.open().await;
    let first = tenant(&*store, "One").await;
    let second = program(&*store, first.account, "Second").await;
    let second = Tenant { program: second.id, tag: second.tag, ..first };
    import(&*store, &first, 1, &[addition(1), addition(2)], NOW).await;
    import(&*store, &second, 2, &[addition(1), addition(2), addition(3)], NOW).await;
    let filter = ContactFilter { active_only: false, updated_after_ms: None };
    let page = async |programs: Programs, start| {
        let page = store.contacts_of_account(first.account, &programs, filter, start, 10).await.expect("a page");
        let parts = page.parts.iter().map(|(program, contacts)| (program.id, contacts.len()));
        (page.total, parts.collect::<Vec<_>>())
    };
    let start = AccountPageStart::Offset(0);
    assert_eq!(page(Programs::All, start).await, (5, vec![(first.program, 2), (second.program, 3)]));
    assert_eq!(page(only(&[second.program]), start).await, (3, vec![(second.program, 3)]));
    assert_eq!(page(only(&[first.program]), AccountPageStart::Offset(1)).await, (2, vec![(first.program, 1)]));
    assert_eq!(page(only(&[]), start).await, (0, Vec::new()));
    // After a contact that is not reached comes nothing, as after one that is not there.
    let foreign = contacts(&*store, &first).await[0].id;
    assert_eq!(page(only(&[second.program]), AccountPageStart::After(foreign)).await, (3, Vec::new()));
}
