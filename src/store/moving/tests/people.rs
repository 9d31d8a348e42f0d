//! Who signs in to the console: users are moved, and nobody is in who was.

use super::*;
use crate::contact::{FieldType, Region, ValueType};
use crate::store::suite::new_token;
use crate::tenant::NewProgram;
use crate::tenant::{PasswordHash, Role, UserId, UserName};

pub(super) fn user_name(text: &str) -> UserName {
    UserName::parse(text).expect("a name")
}

/// A session's cookie, and a link: whoever holds them would get in.
pub(super) const COOKIE: TicketDigest = TicketDigest([1; 32]);
pub(super) const LINK: TicketDigest = TicketDigest([2; 32]);

/// Users with and without a password, disabled ones, and some who are in.
pub(super) async fn fill_people(store: &dyn Store, one: &Tenant, two: &Tenant) {
    let zoe = store.create_user(&user_name("zoe"), NOW).await.expect("a user").id;
    let ada = store.create_user(&user_name("ada@example.edu"), NOW).await.expect("a user").id;
    let gone = store.create_user(&user_name("gone"), NOW + 1).await.expect("a user").id;
    store.set_password(ada, Some(&PasswordHash::new("$argon2id$of ada".to_owned()))).await.expect("set");
    store.set_password(gone, Some(&PasswordHash::new("$argon2id$of gone".to_owned()))).await.expect("set");
    for (user, account, role) in [
        (zoe, one.account, Role::Viewer),
        (ada, two.account, Role::Editor),
        (ada, one.account, Role::Admin),
        (gone, two.account, Role::Admin),
    ] {
        store.set_role(user, account, Some(role)).await.expect("set");
    }
    store.set_user_disabled(gone, true, NOW + 2).await.expect("disabled");
    store.create_session(session_of(ada, one), NOW + 3).await.expect("begun");
    store.create_link(LINK, zoe, NOW + HOUR).await.expect("a link");
}

pub(super) fn session_of(user: UserId, tenant: &Tenant) -> NewSession {
    let (until_ms, idle_until_ms) = (NOW + HOUR, NOW + HOUR);
    NewSession { digest: COOKIE, user, account: tenant.account, until_ms, idle_until_ms }
}

/// Nobody is in who did not sign in here; who signs in, may what the user might there; new users get numbers of their own.
pub(super) async fn people_go_on(store: &dyn Store, filled: &Filled) {
    let Filled { one, two, .. } = filled;
    assert_eq!(store.session(COOKIE, NOW).await, Ok(None));
    assert_eq!(store.link_holds(LINK, NOW).await, Ok(false));
    let ada = store.user_by_name(&user_name("ada@example.edu")).await.expect("readable").expect("the user").id;
    store.create_session(session_of(ada, two), NOW + 4).await.expect("begun");
    let session = store.session(COOKIE, NOW + 4).await.expect("readable").expect("the session");
    assert_eq!((session.role, session.accounts, session.account.id), (Role::Editor, 2, two.account));
    let gone = store.user_by_name(&user_name("gone")).await.expect("readable").expect("the user").id;
    refused(store.create_session(session_of(gone, one), NOW).await);
    refused(store.create_user(&user_name("Zoe"), NOW).await);
    store.create_user(&user_name("new"), NOW).await.expect("a user");
    let users = store.users().await.expect("users");
    let names: Vec<&str> = users.iter().map(|user| user.name.as_str()).collect();
    assert_eq!(names, ["zoe", "ada@example.edu", "gone", "new"]);
}

/// What was changed here would be lost to the other home.
pub(super) async fn people_are_not_changed(store: &dyn Store, filled: &Filled) {
    let ada = store.user_by_name(&user_name("ada@example.edu")).await.expect("readable").expect("the user").id;
    let Tenant { account, program, .. } = filled.one;
    let late = NewProgram { name: "late".to_owned(), region: Region::US, phone: None, timezone: None };
    let changes = [
        store.create_user(&user_name("late"), NOW).await.map(|_| ()),
        store.set_role(ada, filled.two.account, None).await,
        store.set_password(ada, None).await,
        store.set_user_disabled(ada, true, NOW).await,
        store.create_account("late", NOW).await.map(|_| ()),
        store.create_program(account, late, NOW).await.map(|_| ()),
        store.set_program_active(account, program, false).await,
        store.add_field(account, program, "late", FieldType::plain(ValueType::String), NOW).await,
        store.create_token(account, new_token("late", "late", "secret"), NOW).await,
        store.revoke_token("token of One", NOW).await,
    ];
    for changed in changes {
        assert!(matches!(changed, Err(StoreError::Unavailable(_))), "{changed:?}");
    }
}

/// Everybody, with the passwords as they are kept.
pub(super) async fn passwords(store: &dyn Store) -> String {
    let mut seen = String::new();
    for user in store.users().await.expect("users") {
        let password = store.password(user.id).await.expect("readable");
        seen += &format!("{user:?} {:?}\n", password.as_ref().map(PasswordHash::expose));
    }
    seen
}
