//! What every home keeps of those who sign in: users, roles, passwords, sessions, and links.

use super::*;
use crate::tenant::{NewSession, PasswordHash, Role, Session, TicketDigest, User, UserId, UserName};

scenes![
    users_are_listed_with_what_they_may,
    a_name_is_taken_once_in_any_case,
    a_role_is_set_changed_and_taken_away,
    a_password_is_kept_sealed_and_bound_to_its_user,
    a_changed_password_ends_sessions_and_links,
    a_disabled_user_is_out_until_let_in_again,
    a_link_lets_in_once_and_in_time,
    of_two_who_use_a_link_one_gets_in,
    a_session_ends_at_its_moment,
    a_session_is_prolonged_and_never_shortened,
    a_session_needs_a_member,
    a_session_goes_on_with_the_role_of_now,
    a_session_goes_to_another_account,
    what_is_over_is_forgotten_bit_by_bit
];

const MINUTE: i64 = 60 * 1_000;
const NOBODY: UserId = UserId(Uuid::from_u128(1));

fn name(text: &str) -> UserName {
    UserName::parse(text).expect("a name")
}

fn ticket(number: u8) -> TicketDigest {
    TicketDigest([number; 32])
}

/// The PHC form is no concern of the store.
fn hash(text: &str) -> PasswordHash {
    PasswordHash::new(format!("$argon2id${text}"))
}

async fn user(store: &dyn Store, text: &str) -> User {
    store.create_user(&name(text), NOW).await.expect("a user")
}

async fn account(store: &dyn Store, text: &str) -> AccountId {
    store.create_account(text, NOW).await.expect("an account").id
}

/// A user with a role in a new account.
async fn member(store: &dyn Store, text: &str, role: Role) -> (UserId, AccountId) {
    let (user, account) = (user(store, text).await.id, account(store, text).await);
    store.set_role(user, account, Some(role)).await.expect("set");
    (user, account)
}

fn new_session(number: u8, user: UserId, account: AccountId) -> NewSession {
    let (until_ms, idle_until_ms) = (NOW + 12 * HOUR, NOW + HOUR);
    NewSession { digest: ticket(number), user, account, until_ms, idle_until_ms }
}

async fn begin_session(store: &dyn Store, number: u8, user: UserId, account: AccountId) {
    store.create_session(new_session(number, user, account), NOW).await.expect("begun");
}

async fn session_at(store: &dyn Store, number: u8, now_ms: i64) -> Option<Session> {
    store.session(ticket(number), now_ms).await.expect("readable")
}

async fn session(store: &dyn Store, number: u8) -> Option<Session> {
    session_at(store, number, NOW).await
}

async fn found(store: &dyn Store, text: &str) -> User {
    store.user_by_name(&name(text)).await.expect("readable").expect("the user")
}

async fn users_are_listed_with_what_they_may(home: &dyn Home) {
    let store = home.open().await;
    assert_eq!(store.users().await.expect("users"), []);
    let (first, second) = (account(&*store, "First").await, account(&*store, "Second").await);
    let zoe = user(&*store, "zoe").await;
    // A clock that went back does not change the order.
    let ada = store.create_user(&name("ada@example.edu"), NOW - HOUR).await.expect("a user");
    assert_eq!((zoe.has_password, zoe.last_signed_in_ms, zoe.disabled_ms), (false, None, None));
    assert!(zoe.memberships.is_empty());
    store.set_role(zoe.id, second, Some(Role::Admin)).await.expect("set");
    store.set_role(zoe.id, first, Some(Role::Viewer)).await.expect("set");
    store.set_password(ada.id, Some(&hash("x"))).await.expect("set");
    store.set_user_disabled(ada.id, true, NOW + 5).await.expect("disabled");
    begin_session(&*store, 1, zoe.id, first).await;
    store.close().await.expect("closed");
    drop(store);
    let store = home.open().await;
    let users = store.users().await.expect("users");
    assert_eq!(users.iter().map(|user| user.name.as_str()).collect::<Vec<_>>(), ["zoe", "ada@example.edu"]);
    let of_zoe: Vec<_> = users[0].memberships.iter().map(|of| (&*of.account.name, of.role)).collect();
    assert_eq!(of_zoe, [("First", Role::Viewer), ("Second", Role::Admin)], "in the order of the accounts' creation");
    assert_eq!((users[0].created_ms, users[0].last_signed_in_ms), (NOW, Some(NOW)));
    let of_ada = User { has_password: true, disabled_ms: Some(NOW + 5), ..ada };
    assert_eq!(users[1], of_ada);
    assert_eq!((found(&*store, "zoe").await, found(&*store, "ada@example.edu").await), (users[0].clone(), of_ada));
    assert!(session(&*store, 1).await.is_some(), "a session outlives a start");
    // A sign-in by a node whose clock is behind does not set it back.
    store.create_session(new_session(2, zoe.id, first), NOW - 9).await.expect("begun");
    assert_eq!(found(&*store, "zoe").await.last_signed_in_ms, Some(NOW));
}

async fn a_name_is_taken_once_in_any_case(home: &dyn Home) {
    let store = home.open().await;
    let ada = user(&*store, "Ada@Example.edu").await;
    assert_eq!(ada.name.as_str(), "ada@example.edu");
    for taken in ["ada@example.edu", "ADA@EXAMPLE.EDU", " Ada@example.edu "] {
        assert!(refused(store.create_user(&name(taken), NOW).await).contains("'ada@example.edu'"));
        assert_eq!(found(&*store, taken).await, ada);
    }
    // What some languages call the same letter is another one here, on every home.
    for other in ["áda@example.edu", "ada@example.ed", "ada_example.edu"] {
        assert_eq!(store.user_by_name(&name(other)).await.expect("readable"), None, "{other}");
    }
    user(&*store, "áda@example.edu").await;
    let (one, other) = (name("zoe"), name("Zoe"));
    let (left, right) = tokio::join!(store.create_user(&one, NOW), store.create_user(&other, NOW));
    assert!(left.is_ok() != right.is_ok(), "{left:?} {right:?}");
    assert_eq!(store.users().await.expect("users").len(), 3);
}

async fn a_role_is_set_changed_and_taken_away(home: &dyn Home) {
    let store = home.open().await;
    let (ada, one) = member(&*store, "ada", Role::Viewer).await;
    let roles = async || found(&*store, "ada").await.memberships.into_iter().map(|of| of.role).collect::<Vec<_>>();
    assert_eq!(roles().await, [Role::Viewer]);
    store.set_role(ada, one, Some(Role::Admin)).await.expect("set");
    assert_eq!(roles().await, [Role::Admin]);
    for _ in 0..2 {
        store.set_role(ada, one, None).await.expect("taken away, or so already");
        assert_eq!(roles().await, []);
    }
    let nowhere = AccountId(Uuid::from_u128(1));
    for role in [Some(Role::Viewer), None] {
        assert!(refused(store.set_role(NOBODY, one, role).await).contains("there is no user"));
        assert!(refused(store.set_role(ada, nowhere, role).await).contains("there is no account"));
    }
}

async fn a_password_is_kept_sealed_and_bound_to_its_user(home: &dyn Home) {
    let store = home.open().await;
    let (ada, zoe) = (user(&*store, "ada").await.id, user(&*store, "zoe").await.id);
    let password = async |user| store.password(user).await.expect("readable");
    assert_eq!((password(ada).await, password(NOBODY).await), (None, None));
    store.set_password(ada, Some(&hash("of ada"))).await.expect("set");
    store.set_password(zoe, Some(&hash("of zoe"))).await.expect("set");
    assert_eq!((password(ada).await, password(zoe).await), (Some(hash("of ada")), Some(hash("of zoe"))));
    let length = "SELECT length(password) FROM console_user WHERE name = 'ada'";
    assert!(home.past_the_store(length) > 40, "a nonce and a seal are there");

    // Whoever puts the row of a user with a password that he knows in the place of another's gets nowhere.
    home.past_the_store(
        "UPDATE console_user SET password = (SELECT password FROM console_user AS other WHERE other.name = 'zoe')
         WHERE name = 'ada'",
    );
    assert!(
        matches!(store.password(ada).await, Err(StoreError::Fault(sentence)) if sentence.contains("cannot be opened"))
    );
    assert_eq!(password(zoe).await, Some(hash("of zoe")));

    store.set_password(zoe, None).await.expect("taken away");
    assert_eq!((password(zoe).await, found(&*store, "zoe").await.has_password), (None, false));
    for password in [Some(hash("x")), None] {
        refused(store.set_password(NOBODY, password.as_ref()).await);
    }
}

/// Two sessions and a link of the user, and one of each of somebody else.
async fn signed_in(store: &dyn Store) -> (UserId, AccountId) {
    let (ada, one) = member(store, "ada", Role::Admin).await;
    let (zoe, two) = member(store, "zoe", Role::Admin).await;
    begin_session(store, 1, ada, one).await;
    begin_session(store, 2, ada, one).await;
    begin_session(store, 3, zoe, two).await;
    store.create_link(ticket(11), ada, NOW + HOUR).await.expect("a link");
    store.create_link(ticket(12), zoe, NOW + HOUR).await.expect("a link");
    (ada, one)
}

/// Which of these sessions and links hold.
async fn standing(store: &dyn Store) -> ([bool; 3], [bool; 2]) {
    let holds = async |link| store.link_holds(ticket(link), NOW).await.expect("readable");
    let is_in = async |number| session(store, number).await.is_some();
    ([is_in(1).await, is_in(2).await, is_in(3).await], [holds(11).await, holds(12).await])
}

async fn a_changed_password_ends_sessions_and_links(home: &dyn Home) {
    let store = home.open().await;
    let (ada, one) = signed_in(&*store).await;
    assert_eq!(standing(&*store).await, ([true; 3], [true; 2]));
    store.set_password(ada, Some(&hash("new"))).await.expect("set");
    assert_eq!(standing(&*store).await, ([false, false, true], [false, true]));
    // Taking it away is a change too.
    begin_session(&*store, 1, ada, one).await;
    store.create_link(ticket(11), ada, NOW + HOUR).await.expect("a link");
    store.set_password(ada, None).await.expect("taken away");
    assert_eq!(standing(&*store).await, ([false, false, true], [false, true]));
}

async fn a_disabled_user_is_out_until_let_in_again(home: &dyn Home) {
    let store = home.open().await;
    let (ada, one) = signed_in(&*store).await;
    store.set_user_disabled(ada, true, NOW + 1).await.expect("disabled");
    assert_eq!(standing(&*store).await, ([false, false, true], [false, true]));
    refused(store.create_session(new_session(4, ada, one), NOW).await);
    refused(store.create_link(ticket(13), ada, NOW + HOUR).await);
    assert_eq!(store.use_link(ticket(11), NOW).await, Ok(None));
    assert_eq!(found(&*store, "ada").await.disabled_ms, Some(NOW + 1));
    // Once more, it is so since the first time.
    store.set_user_disabled(ada, true, NOW + 2).await.expect("disabled already");
    assert_eq!(found(&*store, "ada").await.disabled_ms, Some(NOW + 1));

    store.set_user_disabled(ada, false, NOW + 3).await.expect("let in again");
    assert_eq!(standing(&*store).await, ([false, false, true], [false, true]), "what was ended stays so");
    assert_eq!(found(&*store, "ada").await.memberships.len(), 1);
    begin_session(&*store, 4, ada, one).await;
    assert!(session(&*store, 4).await.is_some());
    for disabled in [true, false] {
        refused(store.set_user_disabled(NOBODY, disabled, NOW).await);
    }
}

async fn a_link_lets_in_once_and_in_time(home: &dyn Home) {
    let store = home.open().await;
    let (ada, one) = member(&*store, "ada", Role::Editor).await;
    let until_ms = NOW + 15 * MINUTE;
    let holds = async |now_ms| store.link_holds(ticket(1), now_ms).await.expect("readable");
    let used = async |now_ms| store.use_link(ticket(1), now_ms).await.expect("used");
    assert_eq!((holds(NOW).await, used(NOW).await), (false, None), "there is none yet");
    store.create_link(ticket(1), ada, until_ms).await.expect("a link");
    assert_eq!((holds(NOW).await, holds(until_ms - 1).await, holds(until_ms).await), (true, true, false));
    assert_eq!(used(until_ms).await, None, "it is over");
    let user = used(until_ms - 1).await.expect("let in");
    assert_eq!((user.id, user.memberships.len()), (ada, 1));
    assert_eq!((holds(NOW).await, used(NOW).await), (false, None), "it was used");
    refused(store.create_link(ticket(2), NOBODY, until_ms).await);

    // One that an operator makes beside the service is known to it.
    let beside = home.open_beside().await;
    beside.create_link(ticket(3), ada, until_ms).await.expect("a link");
    begin_session(&*store, 9, ada, one).await;
    assert!(store.use_link(ticket(3), NOW).await.expect("used").is_some());
}

async fn of_two_who_use_a_link_one_gets_in(home: &dyn Home) {
    let store = home.open().await;
    let (ada, _) = member(&*store, "ada", Role::Editor).await;
    for number in 1..=20 {
        store.create_link(ticket(number), ada, NOW + HOUR).await.expect("a link");
        let (left, right) = tokio::join!(store.use_link(ticket(number), NOW), store.use_link(ticket(number), NOW));
        let got_in = [left, right].into_iter().filter(|used| used.as_ref().expect("answered").is_some()).count();
        assert_eq!(got_in, 1);
    }
}

async fn a_session_ends_at_its_moment(home: &dyn Home) {
    let store = home.open().await;
    let (ada, one) = member(&*store, "ada", Role::Viewer).await;
    let (until_ms, idle_until_ms) = (NOW + 2 * HOUR, NOW + HOUR);
    let new = NewSession { until_ms, idle_until_ms, ..new_session(1, ada, one) };
    store.create_session(new.clone(), NOW).await.expect("begun");
    assert!(session_at(&*store, 1, idle_until_ms - 1).await.is_some());
    assert_eq!(session_at(&*store, 1, idle_until_ms).await, None, "it was not used");
    store.prolong_session(ticket(1), NOW + 9 * HOUR).await.expect("prolonged");
    assert!(session_at(&*store, 1, until_ms - 1).await.is_some());
    assert_eq!(session_at(&*store, 1, until_ms).await, None, "however much it is used");
    // A cookie is one session's.
    assert!(store.create_session(new, NOW).await.is_err());
    assert_eq!(session(&*store, 2).await, None);
    for _ in 0..2 {
        store.end_session(ticket(1)).await.expect("ended, or so already");
        assert_eq!(session(&*store, 1).await, None);
    }
}

async fn a_session_is_prolonged_and_never_shortened(home: &dyn Home) {
    let store = home.open().await;
    let (ada, one) = member(&*store, "ada", Role::Viewer).await;
    begin_session(&*store, 1, ada, one).await;
    for (asked, is_then) in [(2 * HOUR, 2 * HOUR), (HOUR, 2 * HOUR), (3 * HOUR, 3 * HOUR)] {
        store.prolong_session(ticket(1), NOW + asked).await.expect("prolonged");
        let session = session(&*store, 1).await.expect("the session");
        assert_eq!((session.idle_until_ms, session.until_ms), (NOW + is_then, NOW + 12 * HOUR));
    }
    store.prolong_session(ticket(2), NOW + HOUR).await.expect("nothing");
    assert_eq!(session(&*store, 2).await, None);
}

async fn a_session_needs_a_member(home: &dyn Home) {
    let store = home.open().await;
    let (ada, one) = member(&*store, "ada", Role::Viewer).await;
    let (_, two) = member(&*store, "zoe", Role::Admin).await;
    for (user, account) in [(ada, two), (NOBODY, one), (ada, AccountId(Uuid::from_u128(1)))] {
        refused(store.create_session(new_session(1, user, account), NOW).await);
    }
    assert_eq!(session(&*store, 1).await, None);
    assert_eq!(found(&*store, "ada").await.last_signed_in_ms, None, "nobody signed in");
}

async fn a_session_goes_on_with_the_role_of_now(home: &dyn Home) {
    let store = home.open().await;
    let (ada, one) = member(&*store, "ada", Role::Viewer).await;
    let two = account(&*store, "Two").await;
    store.set_role(ada, two, Some(Role::Editor)).await.expect("set");
    begin_session(&*store, 1, ada, one).await;
    begin_session(&*store, 2, ada, two).await;
    let seen = session(&*store, 1).await.expect("the session");
    assert_eq!((seen.user, seen.name.as_str(), seen.account.id), (ada, "ada", one));
    assert_eq!((&*seen.account.name, seen.role, seen.accounts), ("ada", Role::Viewer, 2));
    store.set_role(ada, one, Some(Role::Admin)).await.expect("set");
    assert_eq!(session(&*store, 1).await.expect("it goes on").role, Role::Admin);

    store.set_role(ada, one, None).await.expect("taken away");
    assert_eq!(session(&*store, 1).await, None);
    let other = session(&*store, 2).await.expect("it is elsewhere");
    assert_eq!((other.role, other.accounts), (Role::Editor, 1));
    store.set_role(ada, one, Some(Role::Viewer)).await.expect("set");
    assert_eq!(session(&*store, 1).await, None, "it ended");
}

async fn a_session_goes_to_another_account(home: &dyn Home) {
    let store = home.open().await;
    let (ada, one) = member(&*store, "ada", Role::Admin).await;
    let (two, foreign) = (account(&*store, "Two").await, account(&*store, "Foreign").await);
    store.set_role(ada, two, Some(Role::Viewer)).await.expect("set");
    begin_session(&*store, 1, ada, one).await;
    store.set_session_account(ticket(1), two).await.expect("gone there");
    let there = session(&*store, 1).await.expect("the session");
    assert_eq!((there.account.id, there.role), (two, Role::Viewer));
    refused(store.set_session_account(ticket(1), foreign).await);
    assert_eq!(session(&*store, 1).await.expect("the session").account.id, two);
    // Taken away where it is now, and not where it began.
    store.set_role(ada, one, None).await.expect("taken away");
    assert!(session(&*store, 1).await.is_some());
    refused(store.set_session_account(ticket(1), one).await);
    store.set_role(ada, two, None).await.expect("taken away");
    refused(store.set_session_account(ticket(1), two).await);
    refused(store.set_session_account(ticket(2), two).await);
}

async fn what_is_over_is_forgotten_bit_by_bit(home: &dyn Home) {
    let store = home.open().await;
    let (ada, one) = member(&*store, "ada", Role::Admin).await;
    for number in 1..=60 {
        let new = new_session(number, ada, one);
        // By halves, of being old and of not being used.
        let new = match number % 2 {
            0 => NewSession { until_ms: NOW + 1, ..new },
            _ => NewSession { idle_until_ms: NOW + 1, ..new },
        };
        store.create_session(new, NOW).await.expect("begun");
        store.create_link(ticket(number), ada, NOW + 1).await.expect("a link");
    }
    begin_session(&*store, 100, ada, one).await;
    store.create_link(ticket(100), ada, NOW + HOUR).await.expect("a link");
    let kept = || {
        let count = |table| home.past_the_store(&format!("SELECT count(*) FROM {table}"));
        (count("console_session"), count("console_link"))
    };
    assert_eq!(kept(), (61, 61), "nothing is over yet");
    let later = async |number| {
        let new = NewSession { idle_until_ms: NOW + 2 * HOUR, ..new_session(number, ada, one) };
        store.create_session(new, NOW + 1).await.expect("begun");
    };
    later(101).await;
    assert_eq!(kept(), (12, 11), "so many at once");
    later(102).await;
    assert_eq!(kept(), (3, 1), "what holds is kept");
    assert!(session(&*store, 100).await.is_some());
    assert_eq!(store.link_holds(ticket(100), NOW).await, Ok(true));
}
