//! What only this home does: its files, its locks, its key. What every home does is told in `store::suite`.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::payloads::INLINE_BYTES_MAX;
use super::*;
use crate::command::{Payload, Reach, Sender};
use crate::contact::{ContactNumber, Phone, Profile, Region};
use crate::import::{Addition, Change, Counts, Existing, ImportOptions, Mode, New};
use crate::store::suite::history::old::{old_commands, old_commands_are_told, old_id};
use crate::store::suite::new_token;
use crate::store::{PageStart, People};
use crate::tenant::{PasswordHash, UserName};

pub(super) const NOW: i64 = 1_763_812_800_000;

fn try_open(data: &Path, open_as: OpenAs) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(SqliteSettings::new(data.to_owned(), open_as))
}

pub(super) fn serve(data: &Path) -> SqliteStore {
    try_open(data, OpenAs::Server).expect("the store opens")
}

pub(super) fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

pub(super) fn refusal<T>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Refused(sentence)) => sentence,
        Err(other) => unreachable!("{other}"),
        Ok(_) => unreachable!("it was not refused"),
    }
}

pub(super) async fn tenant(store: &SqliteStore) -> (Program, TokenNumber) {
    let account = store.create_account("One", NOW).await.expect("an account").id;
    let new = NewProgram { name: "Fall".to_owned(), region: Region::US, phone: None, timezone: None };
    let program = store.create_program(account, new, NOW).await.expect("a program");
    store.create_token(account, new_token("T", "Nightly", "a very secret secret"), NOW).await.expect("a token");
    (program, store.token("T").await.expect("readable").expect("the token").number)
}

pub(super) fn request(program: &Program, token: TokenNumber, number: u8) -> NewCommand {
    NewCommand {
        id: CommandId(Uuid::new_v4()),
        account: program.account,
        program: program.id,
        sender: Sender::Token(token),
        created_ms: NOW,
        options: ImportOptions::new(New::Add, Existing::Ignore, Mode::Tx),
        payload: Payload::text("x".repeat(INLINE_BYTES_MAX + 1)),
        signature: [number; 32],
        request_digest: [number; 32],
        body_digest: Some([number; 32]),
        remember_until_ms: NOW,
        forget_before_ms: NOW,
        idempotency: None,
    }
}

fn payload_files(data: &Path) -> Vec<String> {
    let entries = fs::read_dir(data.join("payloads")).expect("the directory");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_second_server_is_refused_until_the_first_is_gone() {
    let data = directory();
    let first = serve(data.path());
    let sentence = refusal(try_open(data.path(), OpenAs::Server));
    assert!(sentence.starts_with("another roster is serving the data directory "), "{sentence}");
    drop(first);
    serve(data.path());
}

/// Whatever was still being looked up for somebody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_dropped_can_be_opened_at_once() {
    let data = directory();
    for _ in 0..100 {
        let server = serve(data.path());
        let (token, command) =
            tokio::join!(server.token("T"), server.command(AccountId(Uuid::nil()), CommandId(Uuid::nil())));
        assert_eq!((token, command), (Ok(None), Ok(None)));
    }
}

#[tokio::test]
async fn an_operator_works_beside_the_server_and_disturbs_no_command() {
    let data = directory();
    let server = serve(data.path());
    let (program, token) = tenant(&server).await;
    let waiting = request(&program, token, 1);
    server.accept(waiting.clone()).await.expect("accepted");
    let claim = server.claim(Reach::Any, NOW).await.expect("claimable").expect("a claim");

    let operator = try_open(data.path(), OpenAs::Operator).expect("the store opens");
    operator.create_account("Two", NOW).await.expect("an account");
    operator.revoke_token("T", NOW).await.expect("revoked");
    assert_eq!(server.accounts().await.expect("accounts").len(), 2);
    assert_eq!(server.token("T").await.expect("readable"), None, "at once");
    let seen = operator.command(program.account, waiting.id).await.expect("readable").expect("the command");
    assert_eq!(seen.state, crate::command::CommandState::Running { rows: 0 });
    refusal(operator.accept(request(&program, token, 2)).await);
    refusal(operator.claim(Reach::Any, NOW).await);
    operator.close().await.expect("closed");
    drop(operator);

    // It still runs, and its file is still there.
    match server.begin_import(&claim, NOW).expect("begun") {
        Begin::Open(mut import) => import.payload().map(drop).expect("a payload"),
        Begin::AlreadyApplied(_) => unreachable!("it was never applied"),
    }
    let report = Report::of_fault(Mode::Tx, "none");
    server.finish(&claim, &report, "t", NOW).await.expect("still claimed");
}

#[test]
fn a_key_that_does_not_fit_is_told_at_opening() {
    let data = directory();
    drop(serve(data.path()));
    let other = MasterKeySource::Text(Zeroizing::new("00".repeat(32)));
    let settings = SqliteSettings { master_key: other, ..SqliteSettings::new(data.path().to_owned(), OpenAs::Server) };
    assert!(refusal(SqliteStore::open(settings)).starts_with("the master key is not the one that"));

    let key = data.path().join("master.key");
    let kept = fs::read_to_string(&key).expect("the key");
    assert_eq!(fs::metadata(&key).expect("the key").permissions().mode() & 0o777, 0o600);
    fs::remove_file(&key).expect("removed");
    assert!(refusal(try_open(data.path(), OpenAs::Server)).starts_with("there is no master key file "));
    assert!(!key.exists(), "no new key that opens nothing");
    let text = MasterKeySource::Text(Zeroizing::new(kept));
    let settings = SqliteSettings { master_key: text, ..SqliteSettings::new(data.path().to_owned(), OpenAs::Server) };
    SqliteStore::open(settings).map(drop).expect("the same key from elsewhere");
}

#[tokio::test]
async fn secrets_are_in_no_file() {
    let data = directory();
    let store = serve(data.path());
    tenant(&store).await;
    let ada = store.create_user(&UserName::parse("ada").expect("a name"), NOW).await.expect("a user").id;
    store.set_password(ada, Some(&PasswordHash::new("$argon2id$of ada".to_owned()))).await.expect("set");
    let holds = |name: &str, text: &[u8]| {
        let bytes = fs::read(data.path().join(name)).expect("the file");
        bytes.windows(text.len()).any(|part| part == text)
    };
    let (name, secret) = (b"Nightly".as_slice(), b"very secret".as_slice());
    assert!(holds("catalogue.db-wal", name) && !holds("catalogue.db-wal", secret));
    store.close().await.expect("closed");
    assert!(holds("catalogue.db", name) && !holds("catalogue.db", secret));
    // Not even the hash of a password.
    assert!(holds("catalogue.db", b"ada") && !holds("catalogue.db", b"$argon2id$"));
}

#[tokio::test]
async fn files_of_a_newer_roster_are_refused() {
    let data = directory();
    let store = serve(data.path());
    let (program, token) = tenant(&store).await;
    store.accept(request(&program, token, 1)).await.expect("accepted");
    let claim = store.claim(Reach::Any, NOW).await.expect("claimable").expect("a claim");
    let file = data.path().join(format!("programs/{}.db", program.id));
    let newer = |path: &Path| {
        let connection = Connection::open(path).expect("a connection");
        connection.pragma_update(None, "user_version", 99).expect("set");
    };
    newer(&file);
    assert!(refusal(store.begin_import(&claim, NOW)).contains(".db has schema 99, but this roster knows"));
    drop(store);
    newer(&data.path().join("catalogue.db"));
    assert!(refusal(try_open(data.path(), OpenAs::Operator)).contains("catalogue.db has schema 99, but"));
}

#[tokio::test]
async fn the_file_of_another_program_is_refused() {
    let data = directory();
    let store = serve(data.path());
    let (program, token) = tenant(&store).await;
    let new = NewProgram { name: "Spring".to_owned(), region: Region::US, phone: None, timezone: None };
    let other = store.create_program(program.account, new, NOW).await.expect("a program");
    store.accept(request(&program, token, 1)).await.expect("accepted");
    let claim = store.claim(Reach::Any, NOW).await.expect("claimable").expect("a claim");
    store.begin_import(&claim, NOW).map(drop).expect("begun");
    store.close().await.expect("closed");
    drop(store);
    let path = |program: &Program| data.path().join(format!("programs/{}.db", program.id));
    fs::copy(path(&program), path(&other)).expect("copied");
    let store = serve(data.path());
    let query = ContactQuery {
        filter: ContactFilter { active_only: false, updated_after_ms: None },
        start: PageStart::Offset(0),
        count: 1,
    };
    assert!(refusal(store.contacts(other.account, other.id, query).await).contains("another program"));
    store.contacts(program.account, program.id, query).await.map(drop).expect("the right one");
}

#[tokio::test]
async fn payload_files_are_those_of_accepted_commands() {
    let data = directory();
    let store = serve(data.path());
    let (program, token) = tenant(&store).await;
    let first = request(&program, token, 1);
    store.accept(first.clone()).await.expect("accepted");
    store.accept(request(&program, token, 1)).await.expect("replayed");
    let nobodys = NewCommand { sender: Sender::Token(TokenNumber(77)), ..request(&program, token, 2) };
    refusal(store.accept(nobodys).await);
    let expected = [format!("{}.csv", first.id)];
    assert_eq!(payload_files(data.path()), expected);
    drop(store);
    for orphan in [format!("{}.csv", Uuid::new_v4()), format!("{}.part", Uuid::new_v4())] {
        fs::write(data.path().join("payloads").join(orphan), "x").expect("written");
    }
    drop(try_open(data.path(), OpenAs::Operator).expect("the store opens"));
    assert_eq!(payload_files(data.path()).len(), 3, "an operator's command removes nothing");
    drop(serve(data.path()));
    assert_eq!(payload_files(data.path()), expected);
}

/// The files as a kill would leave them: nothing closed, nothing copied back.
fn copy_as_if_killed(from: &Path, to: &Path) {
    for directory in ["", "programs", "payloads"] {
        fs::create_dir_all(to.join(directory)).expect("made");
        for entry in fs::read_dir(from.join(directory)).expect("the directory") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name");
            // The index of a WAL is shared memory, and is made anew.
            if path.is_file() && !name.to_string_lossy().ends_with("-shm") {
                fs::copy(&path, to.join(directory).join(name)).expect("copied");
            }
        }
    }
}

/// Carries the next command out; it adds one contact. Answers with the length of the catalogue's WAL before it was told.
async fn import(store: &SqliteStore, data: &Path, at: u64) -> u64 {
    let claim = store.claim(Reach::Any, NOW).await.expect("claimable").expect("a claim");
    let Begin::Open(mut tx) = store.begin_import(&claim, NOW).expect("begun") else { unreachable!("it is new") };
    tx.apply(vec![addition(at)]).expect("applied");
    tx.commit(&added_one()).expect("committed");
    let told = fs::metadata(data.join("catalogue.db-wal")).expect("the WAL").len();
    store.finish(&claim, &added_one(), "t", NOW).await.expect("finished");
    told
}

pub(super) fn addition(at: u64) -> Change {
    Change::Add(Addition {
        number: ContactNumber::new(at).expect("in range"),
        customer_id: String::new(),
        phone: Phone::from_digits(13_035_551_000 + at),
        active: true,
        profile: Profile::default(),
    })
}

pub(super) fn added_one() -> Report {
    let counts = Counts { read: 1, added: 1, ..Counts::default() };
    Report {
        mode: Mode::Tx,
        counts,
        not_applied: None,
        errors: Vec::new(),
        error_count: 0,
        changes: None,
        dialect: None,
    }
}

#[tokio::test]
async fn a_kill_loses_nothing() {
    let (data, copy) = (directory(), directory());
    let store = serve(data.path());
    let (program, token) = tenant(&store).await;
    let requests = [1, 2, 3].map(|number| request(&program, token, number));
    for new in &requests {
        store.accept(new.clone()).await.expect("accepted");
    }
    import(&store, data.path(), 1).await;
    // The second import is half done when it happens.
    let claim = store.claim(Reach::Any, NOW).await.expect("claimable").expect("a claim");
    let Begin::Open(mut tx) = store.begin_import(&claim, NOW).expect("begun") else { unreachable!("it is new") };
    tx.apply(vec![addition(2)]).expect("applied");
    copy_as_if_killed(data.path(), copy.path());

    let store = serve(copy.path());
    let query = ContactQuery {
        filter: ContactFilter { active_only: false, updated_after_ms: None },
        start: PageStart::Offset(0),
        count: 10,
    };
    assert_eq!(store.contacts(program.account, program.id, query).await.expect("a page").total, 1);
    assert_eq!(payload_files(copy.path()).len(), 3);
    import(&store, copy.path(), 2).await;
    import(&store, copy.path(), 3).await;
    assert_eq!(store.claim(Reach::Any, NOW).await.expect("claimable"), None);
    assert_eq!(store.contacts(program.account, program.id, query).await.expect("a page").total, 3);
}

/// The end of an applied import is told to the catalogue without a flush, so a power cut may take it back: then the end
/// of the catalogue's WAL is missing. The program's file knows better.
#[tokio::test]
async fn a_power_cut_that_takes_the_end_back_applies_nothing_twice() {
    let (data, copy) = (directory(), directory());
    let store = serve(data.path());
    let (program, token) = tenant(&store).await;
    let new = request(&program, token, 1);
    store.accept(new.clone()).await.expect("accepted");
    let told = import(&store, data.path(), 1).await;
    copy_as_if_killed(data.path(), copy.path());
    let wal = File::options().write(true).open(copy.path().join("catalogue.db-wal")).expect("the WAL");
    assert!(wal.metadata().expect("its length").len() > told, "the end was told in it");
    wal.set_len(told).expect("cut");

    let store = serve(copy.path());
    let claim = store.claim(Reach::Any, NOW).await.expect("claimable").expect("not told, so it comes again");
    assert_eq!(claim.command, new.id);
    match store.begin_import(&claim, NOW).expect("begun") {
        Begin::AlreadyApplied(report) => assert_eq!(report, added_one()),
        Begin::Open(_) => unreachable!("it would be applied twice"),
    }
}

#[test]
fn only_the_owner_reads_the_directories() {
    let parent = directory();
    let data = parent.path().join("deep/data");
    drop(serve(&data));
    for directory in [data.clone(), data.join("programs"), data.join("payloads")] {
        assert_eq!(fs::metadata(directory).expect("there").permissions().mode() & 0o777, 0o700);
    }
}

#[test]
fn processes_that_open_a_new_directory_at_once_agree() {
    let parent = directory();
    let data = parent.path().join("data");
    std::thread::scope(|scope| {
        let starts: Vec<_> = (0..6).map(|_| scope.spawn(|| try_open(&data, OpenAs::Operator).map(drop))).collect();
        for start in starts {
            start.join().expect("no panic").expect("opened");
        }
    });
}

#[tokio::test]
async fn a_file_whose_removal_was_written_down_goes_at_the_next_start_if_not_at_once() {
    let data = directory();
    let store = serve(data.path());
    let (program, token) = tenant(&store).await;
    let first = request(&program, token, 1);
    store.accept(first.clone()).await.expect("accepted");
    store.accept(request(&program, token, 2)).await.expect("accepted");
    import(&store, data.path(), 1).await;
    let name = format!("payloads/{}.csv", first.id);
    let kept = fs::read(data.path().join(&name)).expect("its file");
    let past = Past { payloads_before_ms: i64::MAX, commands_before_ms: 0 };
    assert_eq!(store.forget(past, 10).await.expect("forgotten"), Forgotten { uploads: 1, commands: 0 });
    assert!(!data.path().join(&name).exists());
    assert_eq!(payload_files(data.path()).len(), 1, "that of the command that waits");
    // As if the process had died between the two.
    drop(store);
    fs::write(data.path().join(&name), kept).expect("written");
    drop(serve(data.path()));
    assert!(!data.path().join(&name).exists());
    assert_eq!(payload_files(data.path()).len(), 1);
}

/// The indexes of a program's contacts, as its file tells them.
fn indexes_of(data: &Path, program: &Program) -> Vec<String> {
    let file = Connection::open(data.join("programs").join(format!("{}.db", program.id))).expect("opened");
    let check: String = file.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("checked");
    assert_eq!(check, "ok");
    let mut select = file
        .prepare("SELECT sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'contact' ORDER BY name")
        .expect("prepared");
    let rows = select.query_map([], |row| row.get(0)).expect("asked");
    rows.collect::<rusqlite::Result<_>>().expect("read")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_leaves_the_indexes_that_it_found() {
    let data = directory();
    let store = serve(data.path());
    let (program, token) = tenant(&store).await;
    let mut before = Vec::new();
    for (at, end, batches) in [(1, "dropped", 0), (2, "dropped", 3), (3, "rolled back", 3), (4, "committed", 3)] {
        store.accept(request(&program, token, at)).await.expect("accepted");
        let claim = store.claim(Reach::Any, NOW).await.expect("asked").expect("a claim");
        let Begin::Open(mut tx) = store.begin_import(&claim, NOW).expect("begun") else { unreachable!("it is new") };
        for batch in 0..batches {
            tx.apply((1 + batch * 1_500..=(batch + 1) * 1_500).map(addition).collect()).expect("applied");
        }
        let added = match end {
            "dropped" => {
                drop(tx);
                0
            }
            "rolled back" => {
                tx.rollback().expect("rolled back");
                0
            }
            _ => {
                tx.commit(&Report { counts: Counts { read: 4_500, added: 4_500, ..Counts::default() }, ..added_one() })
                    .expect("committed");
                4_500
            }
        };
        let report = Report { counts: Counts { read: added, added, ..Counts::default() }, ..added_one() };
        store.finish(&claim, &report, "trace", NOW).await.expect("finished");
        if before.is_empty() {
            before = indexes_of(data.path(), &program);
            assert_eq!(before.len(), 2, "{before:?}");
        }
        assert_eq!(indexes_of(data.path(), &program), before, "{end}");
    }
    // What breaks a unique index is told by its building, and nothing is kept.
    let (second, token) = {
        let new = NewProgram { name: "Second".to_owned(), region: Region::US, phone: None, timezone: None };
        (store.create_program(program.account, new, NOW).await.expect("a program"), token)
    };
    store.accept(request(&second, token, 9)).await.expect("accepted");
    let claim = store.claim(Reach::Any, NOW).await.expect("asked").expect("a claim");
    let Begin::Open(mut tx) = store.begin_import(&claim, NOW).expect("begun") else { unreachable!("it is new") };
    tx.apply((1..=1_500).map(addition).collect()).expect("applied");
    let again = (1_501..=3_000).map(|at| match addition(if at == 3_000 { 1 } else { at }) {
        Change::Add(twice) => Change::Add(Addition { number: ContactNumber::new(at).expect("in range"), ..twice }),
        other => other,
    });
    tx.apply(again.collect()).expect("taken for now");
    let report = Report { counts: Counts { read: 3_000, added: 3_000, ..Counts::default() }, ..added_one() };
    assert!(matches!(tx.commit(&report), Err(StoreError::Fault(_))));
    assert_eq!(indexes_of(data.path(), &second), before);
    let query = ContactQuery {
        filter: ContactFilter { active_only: false, updated_after_ms: None },
        start: PageStart::Offset(0),
        count: 1,
    };
    assert_eq!(store.contacts(program.account, second.id, query).await.expect("a page").total, 0);
}

/// What was complete before outcomes and days were kept has them after the migration.
#[tokio::test]
async fn what_was_complete_before_outcomes_were_kept_is_told() {
    let data = directory();
    let path = data.path().join("catalogue.db");
    let mut catalogue = Connection::open(&path).expect("opened");
    let steps = migration::CATALOGUE;
    let before = steps.iter().position(|step| step.contains("TABLE outcome ")).expect("the step");
    migration::migrate(&mut catalogue, &path, &steps[..before]).expect("migrated");
    let (account, program) = (AccountId(Uuid::from_u128(1)), ProgramId(Uuid::from_u128(2)));
    let (one, two) = (account.0.as_bytes().as_slice(), program.0.as_bytes().as_slice());
    catalogue
        .execute("INSERT INTO account VALUES (1, ?1, 'One', 1)", [one])
        .and_then(|_| {
            let insert = "INSERT INTO program (number, id, account, name, active, region, tag, created_ms)
               VALUES (1, ?2, ?1, 'P', 1, 'US', 1, 1)";
            catalogue.execute(insert, [one, two])
        })
        .expect("filled");
    for (number, options, report) in old_commands() {
        let created_ms = NOW + i64::from(number);
        let state = if report.is_some() { "complete" } else { "queued" };
        let finished_ms = report.as_ref().map(|_| created_ms + 24 * 3_600_000);
        let trace = report.as_ref().map(|_| "t");
        catalogue
            .execute(
                "INSERT INTO command (id, account, program, from_name, created_ms, payload_bytes, options, state, finished_ms,
                   trace, report)
                 VALUES (?1, ?2, ?3, 'One', ?4, 8, ?5, ?6, ?7, ?8, ?9)",
                rusqlite::params![
                    old_id(number).0.as_bytes().as_slice(),
                    one,
                    two,
                    created_ms,
                    options,
                    state,
                    finished_ms,
                    trace,
                    report
                ],
            )
            .expect("filled");
    }
    catalogue.close().expect("closed");
    old_commands_are_told(&serve(data.path()), account, program).await;
}

/// What its day came to stays.
#[tokio::test]
async fn an_outcome_goes_with_its_command() {
    let data = directory();
    let store = serve(data.path());
    let (program, token) = tenant(&store).await;
    for number in 1..=2 {
        store.accept(request(&program, token, number)).await.expect("accepted");
        import(&store, data.path(), u64::from(number)).await;
    }
    let past = Past { payloads_before_ms: i64::MAX, commands_before_ms: i64::MAX };
    assert_eq!(store.forget(past, 1).await.expect("forgotten").commands, 1);
    let catalogue = Connection::open(data.path().join("catalogue.db")).expect("opened");
    let left: (i64, i64) = catalogue
        .query_row("SELECT (SELECT count(*) FROM outcome), (SELECT sum(imports) FROM day_tally)", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .expect("counted");
    assert_eq!(left, (1, 2));
}
