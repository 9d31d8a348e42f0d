//! What happens to a command that changes while the copy is made. The whole way there and back is a scene.

use std::path::PathBuf;

use tokio::runtime::Runtime;

use super::*;
use crate::command::{Claim, Reach};
use crate::contact::{FieldType, ValueType};
use crate::import::Report;
use crate::store::sqlite::tests::{NOW, added_one, addition, directory, refusal, request, serve, tenant};
use crate::store::sqlite::{SqliteSettings, SqliteStore};
use crate::store::{Begin, History, ImportsOf, ImportsQuery, NewUpload, OpenAs, PageStart, Store, Uploads};
use crate::store::{ContactFilter, ContactQuery};

fn runtime() -> Runtime {
    Runtime::new().expect("a runtime")
}

fn settings(data: &Path, to: PathBuf) -> BackupSettings {
    BackupSettings { data: data.to_owned(), to, with_key: true, now_ms: NOW }
}

async fn claim(store: &SqliteStore) -> Claim {
    store.claim(Reach::Any, NOW).await.expect("claimable").expect("a command waits")
}

/// Commits one contact; the catalogue is not told yet.
fn apply(store: &SqliteStore, claim: &Claim, at: u64) {
    let Begin::Open(mut tx) = store.begin_import(claim, NOW).expect("begun") else { unreachable!("it is new") };
    tx.apply(vec![addition(at)]).expect("applied");
    tx.commit(&added_one()).expect("committed");
}

fn restored(from: &Path, to: &Path) -> SqliteStore {
    let settings = RestoreSettings { from: from.to_owned(), data: to.to_owned() };
    restore(&settings, &mut |_| ()).expect("restored");
    SqliteStore::open(SqliteSettings::new(to.to_owned(), OpenAs::Server)).expect("the copy opens")
}

/// Two commands, the first applied before a backup; `meanwhile` happens when the program's file has been copied.
fn backed_up(
    data: &Path,
    to: &Path,
    meanwhile: impl FnOnce(&Runtime, &SqliteStore, &crate::tenant::Program),
) -> (Result<BackedUp, StoreError>, crate::tenant::Program) {
    let (runtime, store) = (runtime(), serve(data));
    let program = runtime.block_on(async {
        let (program, token) = tenant(&store).await;
        for number in 1..=2 {
            store.accept(request(&program, token, number)).await.expect("accepted");
        }
        let first = claim(&store).await;
        apply(&store, &first, 1);
        store.finish(&first, &added_one(), "t", NOW).await.expect("finished");
        program
    });
    let mut meanwhile = Some(meanwhile);
    let done = backup(&settings(data, to.to_owned()), &mut |_| {
        // The first thing that is told of is the program's file, which is what it is from here on.
        if let Some(meanwhile) = meanwhile.take() {
            meanwhile(&runtime, &store, &program);
        }
    });
    runtime.block_on(store.close()).expect("closed");
    (done, program)
}

#[test]
fn what_is_applied_meanwhile_waits_again_in_the_copy_whoever_cancelled_it_too_late() {
    let (data, place) = (directory(), directory());
    let to = place.path().join("copy");
    let (done, program) = backed_up(data.path(), &to, |runtime, store, program| {
        runtime.block_on(async {
            let second = claim(store).await;
            apply(store, &second, 2);
            store.cancel(program.account, second.command, "somebody", NOW).await.expect("asked");
            store.finish(&second, &added_one(), "t", NOW).await.expect("finished");
        });
    });
    let done = done.expect("backed up");
    assert_eq!((done.commands, done.commands_open, done.commands_again, done.uploads), (2, 1, 1, 2));
    let copy = restored(&to, &place.path().join("data"));
    runtime().block_on(async {
        let query = ContactQuery {
            filter: ContactFilter { active_only: false, updated_after_ms: None },
            start: PageStart::Offset(0),
            count: 10,
        };
        let contacts = async || copy.contacts(program.account, program.id, query).await.expect("readable").total;
        assert_eq!(contacts().await, 1);
        // It is told as one that waits, and counted once.
        let counted = async || {
            let days = copy.days(program.account, 0).await.expect("readable");
            days.iter().map(|day| (day.imports, day.counts.added)).collect::<Vec<_>>()
        };
        let good = ImportsQuery { of: ImportsOf::Good, ..ImportsQuery::all(9) };
        let listed = async || copy.imports(program.account, good.clone()).await.expect("listed").len();
        assert_eq!((counted().await, listed().await), (vec![(1, 1)], 1));
        let again = claim(&copy).await;
        assert_eq!(again.attempt, 2);
        let Begin::Open(mut tx) = copy.begin_import(&again, NOW).expect("begun") else { unreachable!("not applied") };
        let mut upload = Vec::new();
        tx.payload().expect("its upload").read_to_end(&mut upload).expect("readable");
        assert!(!upload.is_empty());
        tx.apply(vec![addition(2)]).expect("applied");
        tx.commit(&added_one()).expect("committed");
        copy.finish(&again, &added_one(), "t", NOW).await.expect("finished");
        assert_eq!(contacts().await, 2);
        assert_eq!((counted().await, listed().await), (vec![(2, 2)], 2));
        assert!(copy.claim(Reach::Any, NOW).await.expect("claimable").is_none(), "the first one is not run again");
    });
}

#[test]
fn what_is_applied_and_not_told_is_found_applied_and_what_had_no_effect_stays_as_it_is() {
    let (data, place) = (directory(), directory());
    let to = place.path().join("copy");
    let (done, _) = backed_up(data.path(), &to, |runtime, store, _| {
        runtime.block_on(async {
            let second = claim(store).await;
            let nothing = Report::of_fault(second.options.mode, "none");
            store.finish(&second, &nothing, "t", NOW).await.expect("finished");
        });
    });
    let done = done.expect("backed up");
    assert_eq!((done.commands_open, done.commands_again), (0, 0));
    let copy = restored(&to, &place.path().join("data"));
    assert!(runtime().block_on(copy.claim(Reach::Any, NOW)).expect("claimable").is_none());

    let (data, place) = (directory(), directory());
    let (runtime, store, to) = (runtime(), serve(data.path()), place.path().join("copy"));
    runtime.block_on(async {
        let (program, token) = tenant(&store).await;
        store.accept(request(&program, token, 1)).await.expect("accepted");
        apply(&store, &claim(&store).await, 1);
    });
    let done = backup(&settings(data.path(), to.clone()), &mut |_| ()).expect("backed up");
    assert_eq!((done.commands_open, done.commands_again), (1, 0));
    let copy = restored(&to, &place.path().join("data"));
    let again = runtime.block_on(claim(&copy));
    assert!(
        matches!(copy.begin_import(&again, NOW).expect("begun"), Begin::AlreadyApplied(report) if report == added_one())
    );
}

/// A file that is no import yet is a day old at most: neither it nor its row is in the copy, and the service keeps both.
#[test]
fn what_was_put_into_the_console_is_not_copied() {
    let (data, place) = (directory(), directory());
    let (runtime, store, to) = (runtime(), serve(data.path()), place.path().join("copy"));
    let (account, upload, command) = runtime.block_on(async {
        let (program, token) = tenant(&store).await;
        let new = request(&program, token, 1);
        store.accept(new.clone()).await.expect("accepted");
        let id = CommandId(uuid::Uuid::new_v4());
        let mut writer = store.receive(program.account, program.id, id).expect("begun");
        writer.write(b"phone\n").expect("written");
        let upload = NewUpload {
            account: program.account,
            program: program.id,
            received: writer.finish().expect("finished"),
            by: "zoë".to_owned(),
            file_name: "Fall.csv".to_owned(),
            digest: [0; 32],
            created_ms: NOW,
        };
        let upload = store.keep_upload(upload).await.expect("kept");
        store.note_upload(program.account, upload, new.id).await.expect("noted");
        (program.account, upload, new.id)
    });
    let done = backup(&settings(data.path(), to.clone()), &mut |_| ()).expect("backed up");
    assert_eq!((done.uploads, done.commands), (1, 1));
    assert!(store.upload_file(account, upload).expect("readable").is_some());
    let copy = restored(&to, &place.path().join("data"));
    assert_eq!(runtime.block_on(copy.upload(account, upload)), Ok(None));
    assert_eq!(runtime.block_on(copy.upload_of(account, command)), Ok(None));
    assert!(copy.upload_file(account, upload).expect("readable").is_none());
    let left = files_of(&place.path().join("data").join(PAYLOADS), "csv", CommandId::parse).expect("listed");
    assert_eq!(left.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [command]);
}

#[test]
fn fields_that_change_while_something_is_applied_are_told() {
    let (data, place) = (directory(), directory());
    let to = place.path().join("copy");
    let (done, _) = backed_up(data.path(), &to, |runtime, store, program| {
        runtime.block_on(async {
            let second = claim(store).await;
            apply(store, &second, 2);
            store.finish(&second, &added_one(), "t", NOW).await.expect("finished");
            store
                .add_field(program.account, program.id, "age", FieldType::plain(ValueType::String), NOW)
                .await
                .expect("added");
        });
    });
    assert!(matches!(done, Err(StoreError::Unavailable(why)) if why.contains("make the backup again")));
    let settings = RestoreSettings { from: to, data: place.path().join("data") };
    assert!(refusal(restore(&settings, &mut |_| ())).contains("it has no manifest.json"));
}

#[test]
fn a_manifest_does_not_lead_out_of_the_directory() {
    let entry = |path: &str| Entry { path: path.to_owned(), bytes: 0, sha256: String::new() };
    let id = "018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10";
    for path in ["catalogue.db", "master.key", &format!("programs/{id}.db"), &format!("payloads/{id}.csv")] {
        assert!(entry(path).has_a_place(), "{path}");
    }
    for path in ["", "lock", "../catalogue.db", "/etc/passwd", "programs/../x.db", "programs/x.db", "payloads/x.csv"] {
        assert!(!entry(path).has_a_place(), "{path}");
    }
}

/// A copy that is put in place lets nobody in again who had signed out since.
#[test]
fn users_are_copied_and_nobody_is_in_who_was() {
    use crate::store::People;
    use crate::tenant::{NewSession, PasswordHash, Role, TicketDigest, UserName};
    let (data, to, back) = (directory(), directory(), directory());
    let (cookie, link) = (TicketDigest([1; 32]), TicketDigest([2; 32]));
    let name = UserName::parse("ada").expect("a name");
    let password = PasswordHash::new("$argon2id$of ada".to_owned());
    let to = to.path().join("copy");
    let (done, _) = backed_up(data.path(), &to, |runtime, store, program| {
        runtime.block_on(async {
            let ada = store.create_user(&name, NOW).await.expect("a user").id;
            store.set_password(ada, Some(&password)).await.expect("set");
            store.set_role(ada, program.account, Some(Role::Editor)).await.expect("set");
            let (account, until_ms) = (program.account, NOW + 1_000);
            let session = NewSession { digest: cookie, user: ada, account, until_ms, idle_until_ms: until_ms };
            store.create_session(session, NOW).await.expect("begun");
            store.create_link(link, ada, until_ms).await.expect("a link");
        });
    });
    done.expect("backed up");
    let store = restored(&to, &back.path().join("data"));
    runtime().block_on(async {
        assert_eq!(store.session(cookie, NOW).await, Ok(None));
        assert_eq!(store.link_holds(link, NOW).await, Ok(false));
        let ada = store.user_by_name(&name).await.expect("readable").expect("the user");
        assert_eq!(ada.memberships.iter().map(|of| of.role).collect::<Vec<_>>(), [Role::Editor]);
        assert_eq!(store.password(ada.id).await, Ok(Some(password.clone())));
    });
}
