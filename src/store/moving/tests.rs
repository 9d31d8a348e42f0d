//! Moves between all homes: everything is there, works on, and is there once, wherever the move was cut off.

mod failing;
mod people;

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use expect_test::expect;

use super::*;
use crate::command::{Accepted, CommandState, NewCommand, Payload, Reach, Sender};
use crate::contact::{FieldType, ValueType};
use crate::import::{Change, Update};
use crate::store::postgres::{PostgresMovable, PostgresSettings, PostgresStore};
use crate::store::secrets::MasterKeySource;
use crate::store::sqlite::{SqliteMovable, SqliteSettings, SqliteStore};
use crate::store::suite::uploads::received;
use crate::store::suite::{
    ACTIVE, ALL, HOUR, NOW, Tenant, accept, addition, begin, claim, contacts, import, new_token, program, refused,
    report, request, settings, tenant, unchanged, with_key,
};
use crate::store::test_server::{new_database, new_pooled_database, query_in};
use crate::store::{Begin, Cancellation, ContactQuery, Forgotten, ImportsQuery, Past, Store, UploadId};
use crate::tenant::{NewSession, NewToken, Programs, Scope, Secret, TicketDigest, Token, TokenNumber};
use failing::{Failing, cut_off};
use people::{COOKIE, LINK, fill_people, passwords, people_are_not_changed, people_go_on, session_of, user_name};

const CONTACTS: u64 = 130;

/// A place for a home, with a key of its own.
enum Home {
    Directory(tempfile::TempDir),
    Database(String),
}

impl Home {
    fn directory() -> Home {
        Home::Directory(tempfile::tempdir().expect("a directory"))
    }

    fn database() -> Home {
        Home::Database(new_database())
    }

    async fn open_as(&self, open_as: OpenAs) -> Result<Arc<dyn Store>, StoreError> {
        Ok(match self {
            Home::Directory(data) => Arc::new(SqliteStore::open(SqliteSettings::new(data.path().to_owned(), open_as))?),
            Home::Database(url) => {
                let settings = PostgresSettings { open_as, ..settings(url) };
                Arc::new(PostgresStore::open(settings).await?)
            }
        })
    }

    async fn open(&self) -> Arc<dyn Store> {
        self.open_as(OpenAs::Server).await.expect("the store opens")
    }

    async fn movable(&self) -> Box<dyn Movable> {
        match self {
            Home::Directory(data) => {
                let key = MasterKeySource::FileOrNew(data.path().join("master.key"));
                Box::new(SqliteMovable::open(data.path().to_owned(), key).expect("it opens"))
            }
            Home::Database(url) => {
                let key = MasterKeySource::Text("0".repeat(64).into());
                Box::new(PostgresMovable::open(&Secret::new(url.clone()), key).await.expect("it opens"))
            }
        }
    }

    /// Who was at work is long gone.
    fn forget_leases(&self) {
        if let Home::Database(url) = self {
            query_in(url, "UPDATE lane SET lease_until_ms = 0");
        }
    }
}

async fn try_move(source: &Home, target: &Home) -> Result<Ended, StoreError> {
    let (source, target) = (source.movable().await, target.movable().await);
    carry(&*source, &*target, NOW, &|_, _, _| ()).await
}

async fn moved(source: &Home, target: &Home) -> Vec<Line> {
    match try_move(source, target).await.expect("moved") {
        Ended::Complete(lines) => lines,
        other => unreachable!("{other:?}"),
    }
}

/// What was put into a home.
struct Filled {
    one: Tenant,
    two: Tenant,
    applied: CommandId,
    large: CommandId,
    cancelled: CommandId,
    small: CommandId,
    keyed: NewCommand,
    /// A user's.
    of_user: CommandId,
    upload: UploadId,
}

fn large_request(tenant: &Tenant) -> NewCommand {
    // Two pieces and a half, no two alike.
    let text: String = (0..PIECE_BYTES * 5 / 2 / 8).map(|at| format!("{at:07}\n")).collect();
    NewCommand { payload: Payload::text(text), ..request(tenant, 103) }
}

fn is_new(accepted: Accepted) -> CommandId {
    match accepted {
        Accepted::New(id) => id,
        other => unreachable!("{other:?}"),
    }
}

/// Everything that a home can have: finished, applied and waiting commands, memories, removed fields, revoked tokens.
async fn fill(store: &dyn Store) -> Filled {
    let one = tenant(store, "One").await;
    let two = tenant(store, "Two").await;
    let empty = program(store, two.account, "Empty").await;
    store.set_program_active(two.account, empty.id, false).await.expect("archived");
    for (name, value_type) in [("honors", ValueType::Boolean), ("gone", ValueType::Date), ("note", ValueType::String)] {
        let field_type = FieldType::maybe(value_type);
        store.add_field(one.account, one.program, name, field_type, NOW).await.expect("added");
    }
    store.remove_field(one.account, one.program, "gone", NOW + 1).await.expect("removed");
    store.create_token(one.account, new_token("old", "old", "s"), NOW).await.expect("a token");
    store.revoke_token("old", NOW + 2).await.expect("revoked");
    let scope = Scope { read_only: true, programs: Programs::Only([one.program].into()) };
    let limited = NewToken { scope, ..new_token("limited", "limited", "a secret") };
    store.create_token(one.account, limited, NOW).await.expect("a token");
    store.rotate_token("limited", &Secret::new("another".to_owned()), 5_000, NOW).await.expect("rotated");
    store.note_use(one.token, NOW + 3).await.expect("noted");
    fill_people(store, &one, &two).await;

    let added: Vec<Change> = (1..=CONTACTS).map(addition).collect();
    import(store, &one, 1, &added, NOW).await;
    let blank = Change::Update(Update { customer_id: Some(String::new()), active: Some(false), ..unchanged(3) });
    import(store, &one, 2, &[blank], NOW + HOUR).await;
    import(store, &two, 3, &[addition(1)], NOW).await;
    let keyed = with_key(request(&two, 4), "a key", 4);
    is_new(store.accept(keyed.clone()).await.expect("accepted"));
    let of_keyed = claim(store).await;
    store.finish(&of_keyed, &report(0), "trace", NOW).await.expect("finished");
    is_new(store.accept(NewCommand { payload: Payload::text(""), ..request(&two, 5) }).await.expect("accepted"));
    let of_empty = claim(store).await;
    store.finish(&of_empty, &report(0), "trace", NOW).await.expect("finished");
    let new = NewCommand { sender: Sender::User("zoë".to_owned()), body_digest: None, ..request(&two, 6) };
    let of_user = is_new(store.accept(new).await.expect("accepted"));
    let claimed = claim(store).await;
    store.finish(&claimed, &report(0), "trace", NOW).await.expect("finished");
    let upload = store.keep_upload(received(store, &two, b"phone\n6\n")).await.expect("kept");
    store.note_upload(two.account, upload, of_user).await.expect("noted");
    for (tenant, name, now_ms) in [(&one, "Ä", NOW), (&one, "b", NOW + 1), (&two, "", NOW)] {
        let columns = [(name.to_owned(), "phone".to_owned())];
        store.remember_columns(tenant.account, tenant.program, &columns, now_ms).await.expect("remembered");
    }

    // It dies between the commit and the word of it.
    let applied = accept(store, &one, 101).await;
    let of_applied = claim(store).await;
    let mut tx = begin(store, &of_applied, NOW);
    tx.apply(vec![addition(CONTACTS + 1)]).expect("applied");
    tx.commit(&report(1)).expect("committed");
    let large = is_new(store.accept(large_request(&one)).await.expect("accepted"));
    // It is complete before those that were accepted before it.
    let cancelled = accept(store, &one, 104).await;
    let done = store.cancel(one.account, cancelled, "someone", NOW).await;
    assert_eq!(done, Ok(Some(Cancellation::Done)));
    let small = accept(store, &one, 102).await;
    Filled { one, two, applied, large, cancelled, small, keyed, of_user, upload }
}

/// The target goes on as if nothing had happened.
async fn goes_on(store: &dyn Store, filled: &Filled) {
    people_go_on(store, filled).await;
    let Filled { one, two, applied, large, cancelled: _, small, keyed, of_user: _, upload: _ } = filled;
    // What was applied is not cancelled as if it had never run.
    assert_eq!(store.cancel(one.account, *applied, "someone", NOW).await, Ok(Some(Cancellation::Asked)));
    // What clients send again is known.
    let again = |new| async { store.accept(new).await.expect("answered") };
    assert_eq!(
        again(NewCommand { id: CommandId(Uuid::new_v4()), ..large_request(one) }).await,
        Accepted::Replayed(*large)
    );
    let other = NewCommand { request_digest: [9; 32], ..request(one, 1) };
    assert_eq!(again(other).await, Accepted::SignatureReused);
    let by_key = NewCommand { signature: [77; 32], id: CommandId(Uuid::new_v4()), ..keyed.clone() };
    assert_eq!(again(by_key).await, Accepted::Replayed(keyed.id));

    // What waited runs in its order, and what was applied does not run again.
    let of_applied = claim(store).await;
    assert_eq!(of_applied.command, *applied);
    match store.begin_import(&of_applied, NOW).expect("begun") {
        Begin::AlreadyApplied(told) => assert_eq!(told, report(1)),
        Begin::Open(_) => unreachable!("it runs again"),
    }
    store.finish(&of_applied, &report(1), "trace", NOW).await.expect("finished");
    let of_large = claim(store).await;
    assert_eq!(of_large.command, *large);
    let mut tx = begin(store, &of_large, NOW);
    let mut text = String::new();
    tx.payload().expect("a payload").read_to_string(&mut text).expect("readable");
    assert_eq!(text.as_bytes(), large_request(one).payload.held());
    assert_eq!(tx.context().next_number.get(), CONTACTS + 2);
    tx.apply(vec![addition(CONTACTS + 2)]).expect("applied");
    tx.commit(&report(1)).expect("committed");
    store.finish(&of_large, &report(1), "trace", NOW).await.expect("finished");
    let of_small = claim(store).await;
    assert_eq!(of_small.command, *small);
    let mut text = String::new();
    let mut tx = begin(store, &of_small, NOW);
    tx.payload().expect("a payload").read_to_string(&mut text).expect("readable");
    assert_eq!(text, "phone\n102\n");
    tx.rollback().expect("rolled back");
    store.finish(&of_small, &report(0), "trace", NOW).await.expect("finished");
    assert_eq!(store.claim(Reach::Any, NOW).await.expect("claimable"), None);
    assert_eq!(contacts(store, one).await.len() as u64, CONTACTS + 2);

    // A removed field comes back, with its number; one of another type does not.
    let text = FieldType::plain(ValueType::String);
    refused(store.add_field(one.account, one.program, "gone", text, NOW).await);
    store.add_field(one.account, one.program, "gone", FieldType::maybe(ValueType::Date), NOW).await.expect("added");
    let schema = store.schema(one.account, one.program).await.expect("a schema");
    assert_eq!(schema.variables().map(|field| &*field.name).collect::<Vec<_>>(), ["honors", "gone", "note"]);

    // New ones get numbers of their own.
    let three = tenant(store, "Three").await;
    assert!(![TokenNumber(0), one.token, two.token].contains(&three.token));
    import(store, &three, 1, &[addition(1)], NOW).await;
    let names: Vec<String> =
        store.accounts().await.expect("accounts").into_iter().map(|account| account.name).collect();
    assert_eq!(names, ["One", "Two", "Three"]);
}

/// What can be read of a home, by what the service itself asks.
async fn seen(store: &dyn Store, filled: &Filled) -> String {
    let Filled { one, two, applied, large, cancelled, small, keyed, of_user, upload: _ } = filled;
    let mut seen = format!("{:?}\n", store.accounts().await.expect("accounts"));
    seen += &format!("{:?}\n", store.programs(None).await.expect("programs"));
    seen += &format!("{:?}\n", store.tokens(None).await.expect("tokens"));
    for token in ["token of One", "token of Two", "old", "limited"] {
        let token = store.token(token).await.expect("readable");
        let old = |token: &Token| token.old_secret_at(NOW + 4_999).map(|secret| secret.expose().to_owned());
        let secrets = token.as_ref().map(|token| (token.secret.expose().to_owned(), old(token)));
        seen += &format!("{token:?} {secrets:?}\n");
    }
    seen += &passwords(store).await;
    for tenant in [one, two] {
        seen += &format!("{:?}\n", store.schema(tenant.account, tenant.program).await.expect("a schema"));
        seen += &format!("{:?}\n", contacts(store, tenant).await);
        seen += &format!("{:?}\n", store.columns(tenant.account, tenant.program).await.expect("readable"));
        let active = ContactQuery { filter: ACTIVE, ..ALL };
        seen += &format!("{}\n", store.contacts(tenant.account, tenant.program, active).await.expect("a page").total);
    }
    for tenant in [one, two] {
        let imports = store.imports(tenant.account, ImportsQuery::all(50)).await.expect("listed");
        seen += &format!("{imports:?}\n{:?}\n", store.days(tenant.account, 0).await.expect("days"));
    }
    for (tenant, id) in [(one, applied), (one, large), (one, cancelled), (one, small), (two, &keyed.id), (two, of_user)]
    {
        let command = store.command(tenant.account, *id).await.expect("readable").expect("the command");
        seen += &format!("{command:?}\n");
    }
    seen
}

async fn everything_is_moved(source: Home, target: Home) {
    let store = source.open().await;
    let filled = fill(&*store).await;
    drop(store);
    source.forget_leases();
    let before = {
        let store = source.open().await;
        let seen = seen(&*store, &filled).await;
        store.close().await.expect("closed");
        seen
    };
    let lines = moved(&source, &target).await;
    let rows = |what: &str| lines.iter().find(|line| line.what == what).map(|line| line.target.rows);
    assert_eq!((rows("accounts"), rows("fields"), rows("tokens")), (Some(2), Some(3), Some(4)));
    assert_eq!((rows("users"), rows("memberships")), (Some(3), Some(4)));
    assert_eq!((rows("signatures"), rows("idempotency keys")), (Some(10), Some(1)));
    assert_eq!((rows("columns"), rows("days")), (Some(3), Some(2)));
    assert_eq!(rows(&format!("contacts of {}", filled.one.program)), Some(CONTACTS + 1));
    assert_eq!(rows(&format!("commands of {}", filled.one.program)), Some(6));

    let store = target.open().await;
    assert_eq!(seen(&*store, &filled).await, before);
    // What was no import yet is not worth a move.
    let Filled { two, of_user, upload, .. } = &filled;
    assert_eq!(store.upload(two.account, *upload).await, Ok(None));
    assert_eq!(store.upload_of(two.account, *of_user).await, Ok(None));
    goes_on(&*store, &filled).await;
    drop(store);

    // The source shows what it had, and takes on nothing.
    let store = source.open().await;
    assert_eq!(seen(&*store, &filled).await, before);
    let refusal = store.accept(request(&filled.one, 200)).await.expect_err("it was moved");
    assert!(matches!(&refusal, StoreError::Unavailable(words) if words.contains("was moved to")), "{refusal}");
    let kept = store.keep_upload(received(&*store, two, b"phone\n")).await;
    assert!(matches!(kept, Err(StoreError::Unavailable(words)) if words.contains("was moved to")));
    let cancelled = store.cancel(filled.one.account, filled.small, "someone", NOW).await;
    assert!(matches!(cancelled, Err(StoreError::Unavailable(_))));
    assert_eq!(store.claim(Reach::Any, NOW).await.expect("answered"), None);
    people_are_not_changed(&*store, &filled).await;
    // Who looks at it there may still do so.
    let session = store.session(COOKIE, NOW).await.expect("readable").expect("the session");
    store
        .create_session(NewSession { digest: LINK, ..session_of(session.user, &filled.one) }, NOW)
        .await
        .expect("begun");
    drop(store);
    assert!(source.open_as(OpenAs::Operator).await.is_err_and(|error| error.to_string().contains("work there")));

    // The same again does nothing; anything else is refused.
    assert_eq!(try_move(&source, &target).await, Ok(Ended::Before(NOW)));
    assert!(refused(try_move(&source, &Home::directory()).await).contains("was moved to"));
    assert!(refused(try_move(&target, &source).await).contains("is not empty"));
    let source = source.movable().await;
    assert!(refused(abandon(&*source).await).contains("that is complete"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_moved_from_a_directory_into_a_database() {
    everything_is_moved(Home::directory(), Home::database()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_moved_from_a_directory_through_a_pooler() {
    everything_is_moved(Home::directory(), Home::Database(new_pooled_database())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_moved_from_a_database_into_a_directory() {
    everything_is_moved(Home::database(), Home::directory()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_moved_from_a_directory_into_another() {
    everything_is_moved(Home::directory(), Home::directory()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_and_back_is_the_same() {
    let (one, two, three) = (Home::directory(), Home::database(), Home::directory());
    let store = one.open().await;
    fill(&*store).await;
    drop(store);
    let there = moved(&one, &two).await;
    let back = moved(&two, &three).await;
    assert_eq!(back, there);
}

/// Cut off at every step there is, one after the other, with the step done and not done.
async fn goes_on_where_it_was(source: Home, target: Home, back: Home) {
    let store = source.open().await;
    let filled = fill(&*store).await;
    drop(store);
    source.forget_leases();
    let mut cuts = 0;
    let ended = loop {
        assert!(cuts < 100, "it does not get on");
        let failing = Failing {
            home: target.movable().await,
            writes: AtomicUsize::new(0),
            // The last word can be cut off only before it is said; then it is the first.
            fails_at: 1 + usize::from(cuts % 3 == 0),
            has_written: cuts % 2 == 0,
        };
        let from = source.movable().await;
        match carry(&*from, &failing, NOW, &|_, _, _| ()).await {
            Ok(ended) => break ended,
            Err(error) => assert_eq!(error, cut_off()),
        }
        drop((from, failing));
        cuts += 1;
        if cuts == 1 {
            // Nobody can serve, or work on, either side.
            for open_as in [OpenAs::Server, OpenAs::Operator] {
                for (home, words) in [(&source, "is being moved to"), (&target, "is not complete")] {
                    let refusal = home.open_as(open_as).await.map(|_| ());
                    assert!(refused(refusal).contains(words));
                }
            }
            assert!(refused(try_move(&source, &back).await).contains("is being moved to"));
            assert!(refused(try_move(&target, &back).await).contains("is not complete"));
        }
    };
    assert!(cuts > 6, "only {cuts}");
    assert!(matches!(ended, Ended::Complete(_)), "{ended:?}");
    goes_on(&*target.open().await, &filled).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_cut_off_goes_on_into_a_database() {
    goes_on_where_it_was(Home::directory(), Home::database(), Home::directory()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_cut_off_goes_on_into_a_directory() {
    goes_on_where_it_was(Home::database(), Home::directory(), Home::directory()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_is_given_up_and_begun_anew() {
    let (source, target) = (Home::directory(), Home::database());
    let store = source.open().await;
    let filled = fill(&*store).await;
    drop(store);
    let failing = Failing { home: target.movable().await, writes: 3.into(), fails_at: 5, has_written: true };
    let from = source.movable().await;
    assert_eq!(carry(&*from, &failing, NOW, &|_, _, _| ()).await, Err(cut_off()));
    assert_eq!(abandon(&*from).await, Ok(failing.place()));
    drop((from, failing));
    // The source takes on imports again; so what the target has of it is of no use.
    let store = source.open().await;
    accept(&*store, &filled.one, 150).await;
    drop(store);
    assert!(refused(try_move(&source, &target).await).contains("a part of another move"));
    assert!(target.open_as(OpenAs::Server).await.is_err());
    moved(&source, &Home::database()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_difference_is_told_and_the_target_stays_closed() {
    let (source, target) = (Home::directory(), Home::database());
    let store = source.open().await;
    fill(&*store).await;
    drop(store);
    let failing = Failing { home: target.movable().await, writes: 0.into(), fails_at: 13, has_written: true };
    carry(&*source.movable().await, &failing, NOW, &|_, _, _| ()).await.expect_err("cut off");
    drop(failing);
    let Home::Database(url) = &target else { unreachable!() };
    query_in(url, "UPDATE contact SET updated_ms = updated_ms + 1 WHERE number = 7");
    let Ended::Different(lines) = try_move(&source, &target).await.expect("compared") else { unreachable!() };
    let different: Vec<&str> = lines.iter().filter(|line| !line.is_same()).map(|line| &*line.what).collect();
    assert!(matches!(&*different, [one] if one.starts_with("contacts of ")), "{different:?}");
    assert!(target.open_as(OpenAs::Server).await.is_err());
    query_in(url, "UPDATE contact SET updated_ms = updated_ms - 1 WHERE number = 7");
    moved(&source, &target).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_run_heed_a_move_from_their_database() {
    let (source, target) = (Home::database(), Home::directory());
    let node = source.open().await;
    let filled = fill(&*node).await;
    let Home::Database(url) = &source else { unreachable!() };
    // One that is at work is told; and nothing is held up by it.
    assert!(refused(try_move(&source, &target).await).contains("a node is at work"));
    assert_eq!(query_in(url, "SELECT count(*) FROM moving"), "0");
    accept(&*node, &filled.two, 201).await;

    source.forget_leases();
    let failing = Failing { home: target.movable().await, writes: 0.into(), fails_at: 2, has_written: true };
    carry(&*source.movable().await, &failing, NOW, &|_, _, _| ()).await.expect_err("cut off");
    assert!(matches!(node.accept(request(&filled.two, 202)).await, Err(StoreError::Unavailable(_))));
    // It answers questions, and does not note who asked; what is past its time stays, too.
    node.note_use(filled.one.token, NOW + HOUR).await.expect("passed over");
    people_are_not_changed(&*node, &filled).await;
    let ada = node.session(COOKIE, NOW).await.expect("readable").expect("the session").user;
    let other = NewSession { digest: TicketDigest([3; 32]), ..session_of(ada, &filled.one) };
    node.create_session(other, NOW + 9).await.expect("begun");
    assert_eq!(node.users().await.expect("users")[1].last_signed_in_ms, Some(NOW + 3), "it is not noted");
    let past = Past { payloads_before_ms: NOW + HOUR, commands_before_ms: NOW + HOUR };
    assert_eq!(node.forget(past, 100).await, Ok(Forgotten { uploads: 0, commands: 0 }));
    assert_eq!(node.claim(Reach::Any, NOW).await.expect("answered"), None);
    drop(failing);
    moved(&source, &target).await;
    assert!(matches!(node.accept(request(&filled.two, 203)).await, Err(StoreError::Unavailable(_))));
    let cancelled = node.cancel(filled.one.account, filled.small, "someone", NOW).await;
    assert!(matches!(cancelled, Err(StoreError::Unavailable(_))));
    assert_eq!(node.claim(Reach::Any, NOW).await.expect("answered"), None);
    let command = node.command(filled.one.account, filled.small).await.expect("readable").expect("the command");
    assert_eq!(command.state, CommandState::Queued { position: 3 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_run_let_nobody_into_a_half_filled_database() {
    let (source, target) = (Home::directory(), Home::database());
    let store = source.open().await;
    let filled = fill(&*store).await;
    drop(store);
    let node = target.open().await;
    let failing = Failing { home: target.movable().await, writes: 0.into(), fails_at: 9, has_written: true };
    carry(&*source.movable().await, &failing, NOW, &|_, _, _| ()).await.expect_err("cut off");
    assert_eq!(node.token("token of One").await, Ok(None));
    let ada = node.user_by_name(&user_name("ada@example.edu")).await.expect("readable").expect("the user").id;
    let refusal = node.create_session(session_of(ada, &filled.one), NOW).await;
    assert!(matches!(refusal, Err(StoreError::Unavailable(_))), "{refusal:?}");
    assert_eq!(node.session(COOKIE, NOW).await, Ok(None));
    assert!(matches!(node.accept(request(&filled.one, 201)).await, Err(StoreError::Unavailable(_))));
    assert_eq!(node.claim(Reach::Any, NOW).await.expect("answered"), None);
    moved(&source, &target).await;
    assert!(node.token("token of One").await.expect("readable").is_some());
    goes_on(&*node, &filled).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_is_served_is_not_moved() {
    let source = Home::directory();
    let _serving = source.open().await;
    let Home::Directory(data) = &source else { unreachable!() };
    let key = MasterKeySource::FileOrNew(data.path().join("master.key"));
    let refusal = SqliteMovable::open(data.path().to_owned(), key.clone()).map(|_| ());
    assert!(refused(refusal).contains("another roster is serving"));
    let nowhere = data.path().join("nowhere");
    assert!(refused(SqliteMovable::source(nowhere.clone(), key).map(|_| ())).contains("there is no data in"));
    assert!(!nowhere.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_home_is_not_moved() {
    assert!(refused(try_move(&Home::directory(), &Home::database()).await).contains("nothing to be moved"));
}

/// A column that is added to a schema must be moved, or it must be known why not: then it is added here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_column_is_known() {
    let (directory, database) = (Home::directory(), Home::database());
    let store = directory.open().await;
    let filled = fill(&*store).await;
    drop(store);
    let Home::Directory(data) = &directory else { unreachable!() };
    let columns = |path: std::path::PathBuf| {
        let file = crate::store::sqlite::columns(&path).expect("readable");
        file.join("\n")
    };
    expect![[r#"
        account: number id name created_ms
        command: seq id account program from_name created_ms payload_bytes options state attempt claimed_ms finished_ms trace report cancelled_by file_removed token body_digest
        console_link: digest person until_ms
        console_membership: person account role
        console_session: digest person account until_ms idle_until_ms
        console_user: number id name password created_ms last_signed_in_ms disabled_ms
        day_tally: account day program imports bad_imports added updated unchanged ignored failed
        field: program number name type created_ms removed_ms
        idempotency_key: token program key command body_digest created_ms
        mapped_column: program name field remembered_ms
        master_key_check: one sealed
        moving: id direction peer begun_ms finished_ms
        outcome: seq bad applied summary
        payload: seq bytes
        program: number id account name active region phone timezone tag created_ms
        signature: token signature command request_digest remember_until_ms
        token: number token account name secret created_ms revoked_ms read_only programs old_secret old_secret_until_ms last_used_ms
        upload: id account program from_name file_name bytes digest created_ms
        upload_use: command upload"#]].assert_eq(&columns(data.path().join("catalogue.db")));
    expect![[r#"
        applied: command attempt applied_ms report
        contact: number salt phone active created_ms updated_ms customer_id profile times
        meta: one program tag next_number contacts active"#]]
    .assert_eq(&columns(data.path().join("programs").join(format!("{}.db", filled.one.program))));
    drop(database.open().await);
    let Home::Database(url) = &database else { unreachable!() };
    let columns = query_in(
        url,
        "SELECT table_name || ': ' || string_agg(column_name, ' ' ORDER BY ordinal_position)
         FROM information_schema.columns WHERE table_schema = 'public' GROUP BY table_name ORDER BY table_name",
    );
    expect![[r#"
        account: id number name created_ms
        command: program seq id account token from_name created_ms payload_bytes options finished_ms trace report cancelled_by file_removed body_digest outcome bad applied started_ms attempts
        console_link: digest person until_ms
        console_membership: person account role
        console_session: digest person account until_ms idle_until_ms
        console_user: id number name password created_ms last_signed_in_ms disabled_ms
        contact: program number salt phone created_ms updated_ms active customer_id profile times
        day_tally: account day program imports bad_imports added updated unchanged ignored failed
        field: program number name type created_ms removed_ms
        idempotency_key: token program key command body_digest created_ms
        lane: program account head next_seq running attempt lease_until_ms node rows ready_us claimed_ms
        mapped_column: program name field remembered_ms
        master_key_check: one sealed
        moving: id direction peer begun_ms finished_ms
        payload: program command piece bytes
        program: id number account name active region phone timezone tag created_ms
        receiving: program command touched_ms
        schema_step: step digest works_with done_at
        signature: token signature command request_digest remember_until_ms
        stock: program next_number contacts active version
        token: token number account name secret created_ms revoked_ms read_only programs old_secret old_secret_until_ms last_used_ms
        turn: account served_us
        upload: program id account from_name file_name bytes digest created_ms
        upload_use: account command upload"#]]
    .assert_eq(&columns);
}
