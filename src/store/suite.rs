//! What every home of the data must do, told once: each scene is written against `dyn Store`, and runs on all homes.
//!
//! A home is one line in `scenes!`. No scene sleeps, and every moment is an argument.

use std::collections::HashSet;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::postgres::{PostgresSettings, PostgresStore};
use super::secrets::MasterKeySource;
use super::sqlite::{SqliteSettings, SqliteStore};
use super::{
    AccountPageStart, Begin, ContactFilter, ContactPage, ContactQuery, ImportTx, Lookup, OpenAs, PageStart,
    QueueLimits, Store, StoreError, test_server,
};
use crate::command::{
    Accepted, Claim, Command, CommandId, CommandState, IdempotencyKey, NewCommand, Payload, QueueOf, Reach, Sender,
};
use crate::contact::{
    Contact, ContactId, ContactNumber, FieldNumber, FieldTimes, FieldType, Phone, Profile, ProfileBuilder, ProgramTag,
    Region, ValueType,
};
use crate::import::{
    Addition, Change, Counts, Existing, IdentityKeys, ImportOptions, Mode, New, NotApplied, Report, RowFound, Update,
};
use crate::tenant::{AccountId, NewProgram, NewToken, Program, ProgramId, Programs, Scope, Secret, TokenNumber};

pub(super) const NOW: i64 = 1_763_812_800_000;
pub(super) const HOUR: i64 = 60 * 60 * 1_000;
const QUEUE_LIMITS: QueueLimits = QueueLimits { of_program_max: 5, of_account_max: 1_000 };

/// A place where a store's data lives, so that it can be opened again.
#[async_trait]
trait Home: Send + Sync {
    /// Opens the store to serve; at most so many commands wait and run. Who served before has gone or died, long enough ago to be
    /// missed.
    async fn open_with(&self, queue_limits: QueueLimits) -> Arc<dyn Store>;
    /// The same with [`QUEUE_LIMITS`].
    async fn open(&self) -> Arc<dyn Store> {
        self.open_with(QUEUE_LIMITS).await
    }
    /// Opens it beside the server that has it open, as an operator's command does.
    async fn open_beside(&self) -> Arc<dyn Store>;
    /// How many files there are that are not rows of a catalogue, accepted or not.
    fn files(&self) -> u64;
    /// Whoever was receiving a file died long ago.
    fn forsake(&self);
    /// What somebody does who gets at the rows past the store: one statement on the catalogue. Its first number, if it gives one.
    fn past_the_store(&self, sql: &str) -> i64;
}

struct SqliteHome(tempfile::TempDir);

#[async_trait]
impl Home for SqliteHome {
    async fn open_with(&self, queue_limits: QueueLimits) -> Arc<dyn Store> {
        let settings = SqliteSettings { queue_limits, ..SqliteSettings::new(self.0.path().to_owned(), OpenAs::Server) };
        Arc::new(SqliteStore::open(settings).expect("the store opens"))
    }

    async fn open_beside(&self) -> Arc<dyn Store> {
        let settings = SqliteSettings::new(self.0.path().to_owned(), OpenAs::Operator);
        Arc::new(SqliteStore::open(settings).expect("the store opens"))
    }

    fn files(&self) -> u64 {
        std::fs::read_dir(self.0.path().join("payloads")).expect("the directory").count() as u64
    }

    /// Whoever opens the directory knows it.
    fn forsake(&self) {}

    fn past_the_store(&self, sql: &str) -> i64 {
        let catalogue = rusqlite::Connection::open(self.0.path().join("catalogue.db")).expect("the catalogue");
        let mut statement = catalogue.prepare(sql).expect("a statement");
        let mut rows = statement.query([]).expect("carried out");
        rows.next().expect("carried out").map_or(0, |row| row.get(0).expect("a number"))
    }
}

/// The URL of a database.
struct PostgresHome(String);

#[async_trait]
impl Home for PostgresHome {
    async fn open_with(&self, queue_limits: QueueLimits) -> Arc<dyn Store> {
        let store =
            PostgresStore::open(PostgresSettings { queue_limits, ..settings(&self.0) }).await.expect("the store opens");
        // Nobody waits here until the leases of who died have run out.
        test_server::query_in(&self.0, "UPDATE lane SET lease_until_ms = 0");
        Arc::new(store)
    }

    async fn open_beside(&self) -> Arc<dyn Store> {
        let settings = PostgresSettings { open_as: OpenAs::Operator, ..settings(&self.0) };
        Arc::new(PostgresStore::open(settings).await.expect("the store opens"))
    }

    fn files(&self) -> u64 {
        let count = "SELECT (SELECT count(DISTINCT command) FROM payload)";
        test_server::query_in(&self.0, count).trim().parse().expect("a number")
    }

    fn forsake(&self) {
        test_server::query_in(&self.0, "UPDATE receiving SET touched_ms = 0");
    }

    fn past_the_store(&self, sql: &str) -> i64 {
        test_server::query_in(&self.0, sql).trim().parse().unwrap_or(0)
    }
}

/// The settings of a store in the tests' database of this URL.
pub(super) fn settings(url: &str) -> PostgresSettings {
    PostgresSettings {
        url: Secret::new(url.to_owned()),
        master_key: MasterKeySource::Text("0".repeat(64).into()),
        open_as: OpenAs::Server,
        queue_limits: QUEUE_LIMITS,
        lease: Duration::from_secs(15),
        connections_max: 8,
        direct_url: None,
        look_every: Duration::from_secs(1),
    }
}

fn sqlite() -> Box<dyn Home> {
    Box::new(SqliteHome(tempfile::tempdir().expect("a directory")))
}

fn postgres() -> Box<dyn Home> {
    Box::new(PostgresHome(test_server::new_database()))
}

/// Every transaction gets any of the pooler's connections: nothing may be kept in a session.
fn pooled_postgres() -> Box<dyn Home> {
    Box::new(PostgresHome(test_server::new_pooled_database()))
}

/// Makes each scene a test on every home, which it gets empty.
macro_rules! scenes {
    (@ $module:ident, $home:ident, $($scene:ident),*) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $scene() {
                    super::$scene(&*super::$home()).await;
                }
            )*
        }
    };
    ($($scene:ident),* $(,)?) => {
        scenes!(@ on_sqlite, sqlite, $($scene),*);
        scenes!(@ on_postgres, postgres, $($scene),*);
        scenes!(@ on_pooled_postgres, pooled_postgres, $($scene),*);
    };
}

mod ahead;
mod cancelling;
mod finding;
pub(super) mod history;
mod keeping;
mod limits;
mod people;
mod reading;
mod receiving;
mod senders;
mod together;
mod tokens;
pub(super) mod uploads;

scenes![
    accounts_and_programs_are_listed_in_the_order_of_creation,
    fields_are_added_removed_and_come_back,
    tokens_are_kept_and_revoked,
    a_foreign_tenant_sees_nothing,
    an_accepted_command_is_there_with_its_payload,
    fifty_equal_requests_make_one_command,
    a_signature_is_one_request,
    an_idempotency_key_is_one_request,
    expired_memories_go,
    a_full_queue_turns_away,
    what_is_refused_leaves_nothing,
    a_program_runs_in_order_and_accounts_take_turns,
    a_claim_that_is_given_back_is_first_again,
    an_old_attempt_is_refused,
    arrivals_wake_workers,
    a_finish_wakes_who_waits,
    after_a_crash_everything_is_queued_again,
    what_was_applied_is_not_applied_again,
    a_rollback_leaves_nothing,
    readers_see_nothing_of_an_open_import,
    lookups_see_earlier_batches,
    lookups_tell_what_was_asked,
    updates_change_what_they_say,
    a_report_that_does_not_add_up_is_not_kept,
    a_clean_close_keeps_everything,
];

// Makers.

/// An account with a program and a token.
pub(super) struct Tenant {
    pub(super) account: AccountId,
    pub(super) program: ProgramId,
    tag: ProgramTag,
    pub(super) token: TokenNumber,
}

pub(super) async fn tenant(store: &dyn Store, name: &str) -> Tenant {
    let account = store.create_account(name, NOW).await.expect("an account").id;
    let program = program(store, account, name).await;
    let text = format!("token of {name}");
    store.create_token(account, new_token(&text, name, &format!("secret of {name}")), NOW).await.expect("a token");
    let token = store.token(&text).await.expect("readable").expect("the token").number;
    Tenant { account, program: program.id, tag: program.tag, token }
}

/// A token that may do everything.
pub(super) fn new_token(token: &str, name: &str, secret: &str) -> NewToken {
    let secret = Secret::new(secret.to_owned());
    NewToken { token: token.to_owned(), name: name.to_owned(), secret, scope: Scope::FULL }
}

pub(super) async fn program(store: &dyn Store, account: AccountId, name: &str) -> Program {
    let new = NewProgram { name: name.to_owned(), region: Region::US, phone: None, timezone: None };
    store.create_program(account, new, NOW).await.expect("a program")
}

fn options() -> ImportOptions {
    ImportOptions::new(New::Add, Existing::Fields(vec!["first_name".to_owned()]), Mode::Row)
}

/// A request; its number is in its signature and digest.
pub(super) fn request(tenant: &Tenant, number: u8) -> NewCommand {
    NewCommand {
        id: CommandId(Uuid::new_v4()),
        account: tenant.account,
        program: tenant.program,
        sender: Sender::Token(tenant.token),
        created_ms: NOW,
        options: options(),
        payload: Payload::text(format!("phone\n{number}\n")),
        signature: [number; 32],
        request_digest: [number; 32],
        body_digest: Some([number; 32]),
        remember_until_ms: NOW + HOUR,
        forget_before_ms: NOW,
        idempotency: None,
    }
}

pub(super) fn with_key(new: NewCommand, key: &str, body: u8) -> NewCommand {
    let forgotten_before_ms = new.created_ms - 24 * HOUR;
    let idempotency = Some(IdempotencyKey { key: key.to_owned(), body_digest: [body; 32], forgotten_before_ms });
    NewCommand { idempotency, ..new }
}

pub(super) async fn accept(store: &dyn Store, tenant: &Tenant, number: u8) -> CommandId {
    match store.accept(request(tenant, number)).await.expect("accepted") {
        Accepted::New(id) => id,
        other => unreachable!("{other:?}"),
    }
}

pub(super) async fn claim(store: &dyn Store) -> Claim {
    store.claim(Reach::Any, NOW).await.expect("claimable").expect("a claim")
}

async fn claimed_ids(store: &dyn Store) -> Vec<CommandId> {
    let mut ids = Vec::new();
    while let Some(claim) = store.claim(Reach::Any, NOW).await.expect("claimable") {
        ids.push(claim.command);
        store.finish(&claim, &report(0), "trace", NOW).await.expect("finished");
    }
    ids
}

async fn command(store: &dyn Store, tenant: &Tenant, id: CommandId) -> Command {
    store.command(tenant.account, id).await.expect("readable").expect("the command")
}

/// The report of an import that added so many and was applied.
pub(super) fn report(added: u64) -> Report {
    let counts = Counts { read: added, added, ..Counts::default() };
    Report {
        mode: Mode::Row,
        counts,
        not_applied: None,
        errors: Vec::new(),
        error_count: 0,
        changes: None,
        dialect: None,
    }
}

pub(super) fn number(number: u64) -> ContactNumber {
    ContactNumber::new(number).expect("in range")
}

fn phone(number: u64) -> Phone {
    Phone::from_digits(13_035_550_000 + number)
}

fn profile(first_name: &str) -> Profile {
    let mut builder = ProfileBuilder::default();
    builder.push(FieldNumber::FIRST_NAME, first_name);
    builder.finish()
}

/// The contact of a number, with a phone and a customer's id that tell it.
pub(super) fn addition(at: u64) -> Change {
    Change::Add(Addition {
        number: number(at),
        customer_id: format!("c{at}"),
        phone: phone(at),
        active: true,
        profile: profile(&format!("name {at}")),
    })
}

pub(super) fn unchanged(at: u64) -> Update {
    let times = FieldTimes::default();
    Update { number: number(at), customer_id: None, phone: None, active: None, profile: None, times }
}

pub(super) fn begin(store: &dyn Store, claim: &Claim, now_ms: i64) -> Box<dyn ImportTx> {
    match store.begin_import(claim, now_ms).expect("begun") {
        Begin::Open(import) => import,
        Begin::AlreadyApplied(_) => unreachable!("it was applied already"),
    }
}

/// Imports changes as one whole command.
pub(super) async fn import(store: &dyn Store, tenant: &Tenant, number: u8, changes: &[Change], now_ms: i64) {
    accept(store, tenant, number).await;
    let claim = claim(store).await;
    let mut tx = begin(store, &claim, now_ms);
    tx.apply(changes.to_vec()).expect("applied");
    tx.commit(&report(changes.len() as u64)).expect("committed");
    store.finish(&claim, &report(changes.len() as u64), "trace", now_ms).await.expect("finished");
}

const EVERYBODY: ContactFilter = ContactFilter { active_only: false, updated_after_ms: None };
pub(super) const ACTIVE: ContactFilter = ContactFilter { active_only: true, updated_after_ms: None };
pub(super) const ALL: ContactQuery = ContactQuery { filter: EVERYBODY, start: PageStart::Offset(0), count: 1_000 };

async fn page(store: &dyn Store, tenant: &Tenant, query: ContactQuery) -> ContactPage {
    store.contacts(tenant.account, tenant.program, query).await.expect("a page")
}

pub(super) async fn contacts(store: &dyn Store, tenant: &Tenant) -> Vec<Contact> {
    page(store, tenant, ALL).await.contacts
}

fn customer_id(key: &str) -> IdentityKeys<'_> {
    IdentityKeys { customer_id: Some(key), ..IdentityKeys::default() }
}

fn look_up(tx: &mut dyn ImportTx, keys: &[IdentityKeys<'_>]) -> Vec<RowFound> {
    tx.lookup(lookup(keys)).expect("looked up")
}

fn lookup<'a>(keys: &'a [IdentityKeys<'a>]) -> Lookup<'a> {
    Lookup { keys, values: true, phones_of_existing: true, phones_of_new: true }
}

pub(super) fn refused<T>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Refused(sentence)) => sentence,
        Err(other) => unreachable!("{other}"),
        Ok(_) => unreachable!("it was not refused"),
    }
}

// Operators.

async fn accounts_and_programs_are_listed_in_the_order_of_creation(home: &dyn Home) {
    let store = home.open().await;
    let one = store.create_account("One", NOW).await.expect("an account");
    // A clock that went back does not change the order.
    let two = store.create_account("Two", NOW - HOUR).await.expect("an account");
    assert_eq!(store.accounts().await.expect("accounts"), [one.clone(), two.clone()]);
    refused(store.create_account(" ", NOW).await);

    let new = NewProgram {
        name: "Fall".to_owned(),
        region: Region::parse("DE").expect("a region"),
        phone: Some(phone(1)),
        timezone: Some("Europe/Berlin".to_owned()),
    };
    let fall = store.create_program(two.id, new.clone(), NOW).await.expect("a program");
    let spring = program(&*store, one.id, "Spring").await;
    assert_eq!((fall.active, fall.region, fall.phone), (true, new.region, new.phone));
    assert_ne!(fall.tag, spring.tag);
    assert_eq!(store.programs(None).await.expect("programs"), [fall.clone(), spring.clone()]);
    assert_eq!(store.programs(Some(one.id)).await.expect("programs"), [spring]);
    assert_eq!(store.find_program(fall.id).await.expect("readable"), Some(fall.clone()));
    assert_eq!(store.find_program(ProgramId(Uuid::from_u128(1))).await.expect("readable"), None);

    store.set_program_active(two.id, fall.id, false).await.expect("archived");
    assert!(!store.program(two.id, fall.id).await.expect("readable").expect("the program").active);
    refused(store.set_program_active(one.id, fall.id, true).await);
    let nobody = AccountId(Uuid::from_u128(1));
    assert!(refused(store.create_program(nobody, new, NOW).await).contains("there is no account"));
}

async fn fields_are_added_removed_and_come_back(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    let (account, program) = (tenant.account, tenant.program);
    let text = FieldType::plain(ValueType::String);
    let honors = FieldType::maybe(ValueType::Boolean);
    let variables = async || -> Vec<(u32, String, FieldType)> {
        let schema = store.schema(account, program).await.expect("a schema");
        schema.variables().map(|field| (field.number.0, field.name.clone(), field.field_type)).collect()
    };
    store.add_field(account, program, "honors", honors, NOW).await.expect("added");
    store.add_field(account, program, "major", text, NOW).await.expect("added");
    assert_eq!(variables().await, [(32, "honors".to_owned(), honors), (33, "major".to_owned(), text)]);
    for (name, field_type) in [("honors", honors), ("Honors", honors), ("phone", text)] {
        refused(store.add_field(account, program, name, field_type, NOW).await);
    }
    store.remove_field(account, program, "major", NOW).await.expect("removed");
    refused(store.remove_field(account, program, "major", NOW).await);
    refused(store.remove_field(account, program, "phone", NOW).await);
    store.add_field(account, program, "minor", text, NOW).await.expect("added");
    assert!(refused(store.add_field(account, program, "major", honors, NOW).await).contains("of type String"));
    assert_eq!(variables().await, [(32, "honors".to_owned(), honors), (34, "minor".to_owned(), text)]);
    store.add_field(account, program, "major", text, NOW).await.expect("come back");
    assert_eq!(variables().await[1], (33, "major".to_owned(), text));
}

async fn tokens_are_kept_and_revoked(home: &dyn Home) {
    let store = home.open().await;
    let one = store.create_account("One", NOW).await.expect("an account").id;
    let two = store.create_account("Two", NOW).await.expect("an account").id;
    store.create_token(one, new_token("T1", "Nightly", "a secret"), NOW).await.expect("a token");
    store.create_token(two, new_token("T2", "Other", "a secret"), NOW + 1).await.expect("a token");
    refused(store.create_token(two, new_token("T1", "Again", "a secret"), NOW).await);
    refused(store.create_token(AccountId(Uuid::from_u128(1)), new_token("T3", "Nobody's", "a secret"), NOW).await);
    let token = store.token("T1").await.expect("readable").expect("the token");
    assert_eq!((token.account, token.name.as_str(), token.secret.expose()), (one, "Nightly", "a secret"));
    assert_eq!(store.token("t1").await.expect("readable"), None, "a token is its exact text");

    store.revoke_token("T1", NOW + 5).await.expect("revoked");
    assert_eq!(store.token("T1").await.expect("readable"), None);
    refused(store.revoke_token("T1", NOW).await);
    refused(store.revoke_token("T9", NOW).await);
    let listed = store.tokens(None).await.expect("tokens");
    let revoked: Vec<_> = listed.iter().map(|token| (token.token.as_str(), token.revoked_ms)).collect();
    assert_eq!(revoked, [("T1", Some(NOW + 5)), ("T2", None)]);
    assert_eq!(store.tokens(Some(two)).await.expect("tokens"), listed[1..]);
}

async fn a_foreign_tenant_sees_nothing(home: &dyn Home) {
    let store = home.open().await;
    let mine = tenant(&*store, "Mine").await;
    let other = tenant(&*store, "Other").await;
    import(&*store, &mine, 1, &[addition(1)], NOW).await;
    let command = accept(&*store, &mine, 2).await;
    let contact = contacts(&*store, &mine).await[0].id;

    assert_eq!(store.program(other.account, mine.program).await.expect("readable"), None);
    assert_eq!(store.command(other.account, command).await.expect("readable"), None);
    assert_eq!(store.contact(other.account, contact).await.expect("readable"), None);
    assert_eq!(store.remembered(other.token, &[1; 32]).await.expect("readable"), None);
    refused(store.schema(other.account, mine.program).await);
    refused(store.contacts(other.account, mine.program, ALL).await);
    let text = FieldType::plain(ValueType::String);
    refused(store.add_field(other.account, mine.program, "honors", text, NOW).await);
    refused(store.remove_field(other.account, mine.program, "honors", NOW).await);
    // Nor can it write there, with its own token or with a stranger's.
    refused(store.accept(NewCommand { program: mine.program, ..request(&other, 3) }).await);
    refused(store.accept(NewCommand { sender: Sender::Token(mine.token), ..request(&other, 4) }).await);
}

// Accepting.

async fn an_accepted_command_is_there_with_its_payload(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    // A small one and one that is a file.
    for (number, rows) in [(1, 1), (2, 20_000)] {
        let new =
            NewCommand { payload: Payload::text("phone\n+13035551000\n".repeat(rows)), ..request(&tenant, number) };
        assert_eq!(store.accept(new.clone()).await.expect("accepted"), Accepted::New(new.id));
        let found = command(&*store, &tenant, new.id).await;
        assert_eq!((found.from.as_str(), found.created_ms), ("One", NOW));
        assert_eq!(found.payload_bytes, new.payload.bytes());
        assert_eq!(found.state, CommandState::Queued { position: 1 });

        let claim = claim(&*store).await;
        assert_eq!((claim.command, claim.attempt, &claim.options), (new.id, 1, &new.options));
        assert_eq!((claim.account, claim.program), (tenant.account, tenant.program));
        let mut text = String::new();
        let mut tx = begin(&*store, &claim, NOW);
        // Read while the transaction goes on, in another thread.
        let mut payload = tx.payload().expect("a payload");
        std::thread::scope(|scope| {
            scope.spawn(|| payload.read_to_string(&mut text).expect("readable"));
            for at in 0..20 {
                look_up(&mut *tx, &[customer_id(&format!("c{at}"))]);
            }
        });
        assert!(text.as_bytes() == new.payload.held());
        drop(payload);
        tx.rollback().expect("rolled back");
        store.progress(&claim, 17);
        assert_eq!(command(&*store, &tenant, new.id).await.state, CommandState::Running { rows: 17 });
        store.finish(&claim, &report(0), "t", NOW + 9).await.expect("finished");
        let state = command(&*store, &tenant, new.id).await.state;
        let complete =
            CommandState::Complete { report: Box::new(report(0)), trace: "t".to_owned(), finished_ms: NOW + 9 };
        assert_eq!(state, complete);
    }
}

async fn fifty_equal_requests_make_one_command(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    for (number, rows) in [(1, 1), (2, 20_000)] {
        let requests: Vec<_> = (0..50)
            .map(|_| {
                let payload = Payload::text("phone\n".repeat(rows));
                let new = NewCommand { payload, ..request(&tenant, number) };
                let store = Arc::clone(&store);
                tokio::spawn(async move { store.accept(new).await.expect("accepted") })
            })
            .collect();
        let (mut new, mut replayed) = (Vec::new(), Vec::new());
        for request in requests {
            match request.await.expect("no panic") {
                Accepted::New(id) => new.push(id),
                Accepted::Replayed(id) => replayed.push(id),
                other => unreachable!("{other:?}"),
            }
        }
        assert_eq!((new.len(), replayed.len()), (1, 49));
        assert_eq!(replayed.into_iter().collect::<HashSet<_>>(), HashSet::from([new[0]]));
        assert_eq!(claimed_ids(&*store).await, new);
    }
}

async fn a_signature_is_one_request(home: &dyn Home) {
    let store = home.open().await;
    let (one, two) = (tenant(&*store, "One").await, tenant(&*store, "Two").await);
    let id = accept(&*store, &one, 1).await;
    assert_eq!(store.accept(request(&one, 1)).await.expect("accepted"), Accepted::Replayed(id));
    let other_bytes = NewCommand { request_digest: [9; 32], ..request(&one, 1) };
    assert_eq!(store.accept(other_bytes.clone()).await.expect("accepted"), Accepted::SignatureReused);
    // Also a large one, which is looked at before its file is written.
    let large = NewCommand { payload: Payload::text("x".repeat(100_000)), ..other_bytes };
    assert_eq!(store.accept(large).await.expect("accepted"), Accepted::SignatureReused);
    let remembered = store.remembered(one.token, &[1; 32]).await.expect("readable").expect("remembered");
    assert_eq!((remembered.command, remembered.request_digest), (id, [1; 32]));
    assert_eq!(store.remembered(one.token, &[2; 32]).await.expect("readable"), None);
    // Another token's equal signature is another request.
    accept(&*store, &two, 1).await;
    // Also when it is over, and after a restart.
    assert_eq!(claimed_ids(&*store).await.len(), 2);
    drop(store);
    let store = home.open().await;
    assert_eq!(store.accept(request(&one, 1)).await.expect("accepted"), Accepted::Replayed(id));
}

async fn an_idempotency_key_is_one_request(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    let accept = async |new: NewCommand| store.accept(new).await.expect("accepted");
    let first = with_key(request(&tenant, 1), "K", 1);
    let id = first.id;
    assert_eq!(accept(first).await, Accepted::New(id));
    assert_eq!(accept(with_key(request(&tenant, 2), "K", 1)).await, Accepted::Replayed(id));
    // That signature is the same request from now on, also without the key.
    assert_eq!(accept(request(&tenant, 2)).await, Accepted::Replayed(id));
    assert_eq!(accept(with_key(request(&tenant, 3), "K", 9)).await, Accepted::IdempotencyKeyReused);
    assert_eq!(store.remembered(tenant.token, &[3; 32]).await.expect("readable"), None);
    // A large body by key: its file does not stay, and does not disturb.
    let large = NewCommand { payload: Payload::text("x".repeat(100_000)), ..with_key(request(&tenant, 4), "K", 1) };
    assert_eq!(accept(large).await, Accepted::Replayed(id));
    // Another key, and another program: other requests.
    assert!(matches!(accept(with_key(request(&tenant, 5), "k", 1)).await, Accepted::New(_)));
    let second = program(&*store, tenant.account, "Second").await;
    let there = NewCommand { program: second.id, ..with_key(request(&tenant, 6), "K", 1) };
    assert!(matches!(accept(there).await, Accepted::New(_)));
    // After a day it is forgotten, to the millisecond.
    let later = |number, created_ms| {
        let remember_until_ms = created_ms + HOUR;
        with_key(NewCommand { created_ms, remember_until_ms, ..request(&tenant, number) }, "K", 1)
    };
    assert_eq!(accept(later(7, NOW + 24 * HOUR - 1)).await, Accepted::Replayed(id));
    assert!(matches!(accept(later(8, NOW + 24 * HOUR)).await, Accepted::New(_)));
}

async fn expired_memories_go(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    for number in 1..=3 {
        accept(&*store, &tenant, number).await;
    }
    let at = |number, created_ms| NewCommand {
        created_ms,
        remember_until_ms: created_ms + HOUR,
        forget_before_ms: created_ms,
        ..request(&tenant, number)
    };
    // What the clock says by itself makes nothing go.
    let jumped = NewCommand { forget_before_ms: NOW + HOUR, ..at(4, NOW + 9 * HOUR) };
    store.accept(jumped).await.expect("accepted");
    assert!(store.remembered(tenant.token, &[1; 32]).await.expect("readable").is_some(), "its last moment");
    store.accept(at(5, NOW + HOUR + 1)).await.expect("accepted");
    for (number, there) in [(1, false), (2, false), (3, false), (4, true), (5, true)] {
        let remembered = store.remembered(tenant.token, &[number; 32]).await.expect("readable");
        assert_eq!(remembered.is_some(), there, "{number}");
    }
}

const FULL: Accepted = Accepted::QueueFull { of: QueueOf::Program, max: QUEUE_LIMITS.of_program_max };

async fn a_full_queue_turns_away(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    for number in 1..=5 {
        accept(&*store, &tenant, number).await;
    }
    assert_eq!(store.accept(request(&tenant, 6)).await.expect("accepted"), FULL);
    let large = NewCommand { payload: Payload::text("x".repeat(100_000)), ..request(&tenant, 6) };
    assert_eq!(store.accept(large).await.expect("accepted"), FULL);
    // What is known is told all the same.
    assert!(matches!(store.accept(request(&tenant, 5)).await.expect("accepted"), Accepted::Replayed(_)));
    // Running ones count; complete ones do not. What was turned away may be sent again as it is.
    let claim = claim(&*store).await;
    assert_eq!(store.accept(request(&tenant, 6)).await.expect("accepted"), FULL);
    store.finish(&claim, &report(0), "t", NOW).await.expect("finished");
    accept(&*store, &tenant, 6).await;
}

async fn what_is_refused_leaves_nothing(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    let nowhere = ProgramId(Uuid::from_u128(7));
    refused(store.accept(NewCommand { program: nowhere, ..request(&tenant, 1) }).await);
    assert_eq!(store.remembered(tenant.token, &[1; 32]).await.expect("readable"), None);
    assert_eq!(store.claim(Reach::Any, NOW).await.expect("claimable"), None);
}

// The queue.

async fn a_program_runs_in_order_and_accounts_take_turns(home: &dyn Home) {
    let store = home.open().await;
    let (one, two) = (tenant(&*store, "One").await, tenant(&*store, "Two").await);
    let mut ids = Vec::new();
    for number in 1..=3 {
        ids.push(accept(&*store, &one, number).await);
    }
    ids.push(accept(&*store, &two, 1).await);
    let place = |state| match state {
        CommandState::Queued { position } => position,
        other => unreachable!("{other:?}"),
    };
    for (at, id) in ids[..3].iter().enumerate() {
        assert_eq!(place(command(&*store, &one, *id).await.state), at as u64 + 1);
    }
    assert_eq!(place(command(&*store, &two, ids[3]).await.state), 1);

    let (first, second) = (claim(&*store).await, claim(&*store).await);
    assert_eq!((first.command, second.command), (ids[0], ids[3]), "accounts take turns");
    assert_eq!(store.claim(Reach::Any, NOW).await.expect("claimable"), None, "a program runs one at a time");
    assert_eq!(place(command(&*store, &one, ids[1]).await.state), 2, "the running one is before it");
    store.finish(&first, &report(0), "t", NOW).await.expect("finished");
    assert_eq!(place(command(&*store, &one, ids[1]).await.state), 1);
    let third = claim(&*store).await;
    assert!(first.sequence < third.sequence, "in the order of acceptance");
    store.finish(&third, &report(0), "t", NOW).await.expect("finished");
    assert_eq!((third.command, claimed_ids(&*store).await), (ids[1], vec![ids[2]]));
}

async fn a_claim_that_is_given_back_is_first_again(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    let (first, second) = (accept(&*store, &tenant, 1).await, accept(&*store, &tenant, 2).await);
    let one = claim(&*store).await;
    store.give_back(&one).await.expect("given back");
    assert_eq!(command(&*store, &tenant, first).await.state, CommandState::Queued { position: 1 });
    let again = claim(&*store).await;
    assert_eq!((again.command, again.attempt), (first, 2));
    store.finish(&again, &report(0), "t", NOW).await.expect("finished");
    assert_eq!(claimed_ids(&*store).await, [second]);
}

async fn an_old_attempt_is_refused(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    accept(&*store, &tenant, 1).await;
    let old = claim(&*store).await;
    store.give_back(&old).await.expect("given back");
    let new = claim(&*store).await;
    assert_eq!(store.give_back(&old).await, Err(StoreError::LostClaim));
    assert_eq!(store.finish(&old, &report(0), "t", NOW).await, Err(StoreError::LostClaim));
    assert!(matches!(store.begin_import(&old, NOW), Err(StoreError::LostClaim)));
    // Begun while it held the claim, ended when it did not: nothing of it stays.
    let mut tx = begin(&*store, &new, NOW);
    tx.apply(vec![addition(1)]).expect("applied");
    store.give_back(&new).await.expect("given back");
    assert_eq!(tx.commit(&report(1)), Err(StoreError::LostClaim));
    assert!(contacts(&*store, &tenant).await.is_empty());
    let last = claim(&*store).await;
    assert_eq!(last.attempt, 3);
    store.finish(&last, &report(0), "t", NOW).await.expect("finished");
    assert_eq!(store.finish(&last, &report(0), "t", NOW).await, Err(StoreError::LostClaim));
    assert_eq!(store.claim(Reach::Any, NOW).await.expect("claimable"), None);
}

/// Four workers carry out what arrives while they run; if a wake-up were lost, this would not end.
async fn arrivals_wake_workers(home: &dyn Home) {
    const COMMANDS: usize = 20;
    let store = home.open().await;
    let mut tenants = Vec::new();
    for name in ["One", "Two", "Three", "Four"] {
        tenants.push(tenant(&*store, name).await);
    }
    let (finished, mut all) = tokio::sync::mpsc::unbounded_channel();
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let (store, finished) = (Arc::clone(&store), finished.clone());
            tokio::spawn(async move {
                loop {
                    while let Some(claim) = store.claim(Reach::Any, NOW).await.expect("claimable") {
                        store.finish(&claim, &report(0), "t", NOW).await.expect("finished");
                        finished.send(claim.command).expect("somebody counts");
                    }
                    store.work_arrived(Reach::Any).await;
                }
            })
        })
        .collect();
    let mut accepted = HashSet::new();
    for number in 1..=(COMMANDS / tenants.len()) {
        for tenant in &tenants {
            accepted.insert(accept(&*store, tenant, u8::try_from(number).expect("small")).await);
        }
    }
    let mut done = HashSet::new();
    while done.len() < COMMANDS {
        done.insert(all.recv().await.expect("a worker"));
    }
    assert_eq!(done, accepted);
    workers.iter().for_each(tokio::task::JoinHandle::abort);
}

async fn a_finish_wakes_who_waits(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    let id = accept(&*store, &tenant, 1).await;
    let watch = store.completions().watch(id);
    let announced = watch.announced();
    let claim = claim(&*store).await;
    store.finish(&claim, &report(0), "t", NOW).await.expect("finished");
    announced.await;
    assert!(matches!(command(&*store, &tenant, id).await.state, CommandState::Complete { .. }));
}

async fn after_a_crash_everything_is_queued_again(home: &dyn Home) {
    let store = home.open().await;
    let (one, two) = (tenant(&*store, "One").await, tenant(&*store, "Two").await);
    let mut ids = Vec::new();
    for number in 1..=3 {
        ids.push(accept(&*store, &one, number).await);
    }
    let other = accept(&*store, &two, 1).await;
    let done = claim(&*store).await;
    store.finish(&done, &report(0), "t", NOW).await.expect("finished");
    let (running, running_too) = (claim(&*store).await, claim(&*store).await);
    assert_eq!((running.command, running_too.command), (other, ids[1]));
    drop(store);

    let store = home.open().await;
    assert_eq!(command(&*store, &one, ids[1]).await.state, CommandState::Queued { position: 1 });
    // Both run again, whichever account's turn it is, and the third waits for its program's first.
    let (mut again, mut other_again) = (claim(&*store).await, claim(&*store).await);
    if again.command == other {
        (again, other_again) = (other_again, again);
    }
    assert_eq!([(again.command, again.attempt), (other_again.command, other_again.attempt)], [(ids[1], 2), (other, 2)]);
    assert_eq!(store.claim(Reach::Any, NOW).await.expect("claimable"), None);
    assert_eq!(store.finish(&running_too, &report(0), "t", NOW).await, Err(StoreError::LostClaim));
    for claim in [again, other_again] {
        store.finish(&claim, &report(0), "t", NOW).await.expect("finished");
    }
    assert_eq!(claimed_ids(&*store).await, [ids[2]]);
}

// Importing.

async fn what_was_applied_is_not_applied_again(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    let id = accept(&*store, &tenant, 1).await;
    let claim_one = claim(&*store).await;
    let mut tx = begin(&*store, &claim_one, NOW);
    tx.apply(vec![addition(1)]).expect("applied");
    tx.commit(&report(1)).expect("committed");
    // It stops here: committed, and nobody was told.
    drop(store);

    let store = home.open().await;
    let again = claim(&*store).await;
    assert_eq!((again.command, again.attempt), (id, 2));
    let told = match store.begin_import(&again, NOW).expect("begun") {
        Begin::AlreadyApplied(told) => told,
        Begin::Open(_) => unreachable!("it would be applied twice"),
    };
    assert_eq!(told, report(1));
    store.finish(&again, &told, "t", NOW).await.expect("finished");
    assert_eq!(contacts(&*store, &tenant).await.len(), 1);
    // The file is free for the next.
    import(&*store, &tenant, 2, &[addition(2)], NOW).await;
    assert_eq!(contacts(&*store, &tenant).await.len(), 2);
}

async fn a_rollback_leaves_nothing(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    import(&*store, &tenant, 1, &[addition(1)], NOW).await;
    let before = contacts(&*store, &tenant).await;
    accept(&*store, &tenant, 2).await;
    let claim = claim(&*store).await;
    let rename = Change::Update(Update { profile: Some(profile("other")), ..unchanged(1) });
    for explicit in [true, false] {
        let mut tx = begin(&*store, &claim, NOW + 1);
        assert_eq!(tx.context().next_number, number(2));
        tx.apply(vec![addition(2), rename.clone()]).expect("applied");
        if explicit {
            tx.rollback().expect("rolled back");
        } else {
            drop(tx);
        }
        assert_eq!(contacts(&*store, &tenant).await, before);
        assert_eq!(page(&*store, &tenant, ALL).await.total, 1);
    }
    let not_applied = Report { not_applied: Some(NotApplied::TooManyErrors), ..report(1) };
    store.finish(&claim, &not_applied, "t", NOW).await.expect("finished");
    drop(store);
    let store = home.open().await;
    assert_eq!(contacts(&*store, &tenant).await, before);
    assert_eq!(store.claim(Reach::Any, NOW).await.expect("claimable"), None);
}

async fn readers_see_nothing_of_an_open_import(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    assert_eq!(page(&*store, &tenant, ALL).await, ContactPage { total: 0, contacts: Vec::new() });
    accept(&*store, &tenant, 1).await;
    let claim = claim(&*store).await;
    let mut tx = begin(&*store, &claim, NOW);
    tx.apply((1..=50).map(addition).collect()).expect("applied");
    assert_eq!(page(&*store, &tenant, ALL).await, ContactPage { total: 0, contacts: Vec::new() });
    // Nor does an open import hold anything else up.
    accept(&*store, &tenant, 2).await;
    tx.commit(&report(50)).expect("committed");
    let seen = page(&*store, &tenant, ALL).await;
    assert_eq!((seen.total, seen.contacts.len()), (50, 50));
}

async fn lookups_see_earlier_batches(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    accept(&*store, &tenant, 1).await;
    let claim = claim(&*store).await;
    let mut tx = begin(&*store, &claim, NOW);
    assert_eq!((tx.context().tag, tx.context().region), (tenant.tag, Region::US));
    assert_eq!(look_up(&mut *tx, &[customer_id("c1")]), [RowFound::default()]);
    tx.apply(vec![addition(1), addition(2)]).expect("applied");
    let keys = [
        customer_id("c2"),
        customer_id("c3"),
        IdentityKeys { phone: Some(phone(1)), ..IdentityKeys::default() },
        customer_id("c1"),
    ];
    let found = look_up(&mut *tx, &keys);
    assert_eq!(found[0].by_customer_id, Some(number(2)));
    assert_eq!(found[0].contact.as_ref().map(|contact| &contact.profile), Some(&profile("name 2")));
    assert_eq!(found[1], RowFound::default());
    assert_eq!(found[2].by_phone, Some(number(1)));
    assert_eq!(found[3].by_customer_id, Some(number(1)));
    // A phone that is given up is free for the next row.
    let moved = Update { phone: Some(phone(9)), ..unchanged(1) };
    let taken = Update { phone: Some(phone(1)), ..unchanged(2) };
    tx.apply(vec![Change::Update(moved), Change::Update(taken)]).expect("applied");
    assert_eq!(look_up(&mut *tx, &keys[2..3])[0].by_phone, Some(number(2)));
    let moved_to = IdentityKeys { phone: Some(phone(9)), ..IdentityKeys::default() };
    assert_eq!(look_up(&mut *tx, &[moved_to])[0].by_phone, Some(number(1)));
    tx.commit(&report(2)).expect("committed");
    let phones: Vec<Phone> = contacts(&*store, &tenant).await.iter().map(|contact| contact.phone).collect();
    assert_eq!(phones, [phone(9), phone(1)]);
}

async fn lookups_tell_what_was_asked(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    import(&*store, &tenant, 1, &[addition(1), addition(2)], NOW).await;
    let ids: Vec<ContactId> = contacts(&*store, &tenant).await.iter().map(|contact| contact.id).collect();
    accept(&*store, &tenant, 2).await;
    let claim = claim(&*store).await;
    let mut tx = begin(&*store, &claim, NOW);
    let key = |id: Option<ContactId>, customer_id: Option<&'static str>, at: Option<u64>| IdentityKeys {
        signalvine_id: id,
        customer_id,
        phone: at.map(phone),
    };
    let wrong_salt = ContactId::new(ids[0].tag, ids[0].number, ids[0].salt() + 1);
    let wrong_tag = ContactId::new(ProgramTag::from_bits(ids[0].tag.bits() + 1), ids[0].number, ids[0].salt());
    let keys = [
        key(Some(ids[0]), Some("c2"), Some(1)),
        key(Some(ids[0]), None, Some(2)),
        key(Some(wrong_salt), None, Some(1)),
        key(Some(wrong_tag), Some("c2"), Some(1)),
        key(None, Some("c1"), Some(2)),
        key(None, Some("c9"), Some(2)),
        key(None, None, Some(2)),
        key(None, None, None),
    ];
    let numbers = |found: Vec<RowFound>| -> Vec<[u64; 4]> {
        let of = |number: Option<ContactNumber>| number.map_or(0, ContactNumber::get);
        let row = |row: &RowFound| {
            let contact = row.contact.as_ref().map(|contact| contact.number);
            [of(row.by_signalvine_id), of(row.by_customer_id), of(row.by_phone), of(contact)]
        };
        found.iter().map(row).collect()
    };
    let everything = numbers(look_up(&mut *tx, &keys));
    assert_eq!(
        everything,
        [
            [1, 2, 1, 1],
            [1, 0, 2, 1],
            [0, 0, 1, 0],
            [0, 2, 1, 0],
            [0, 1, 2, 1],
            [0, 0, 2, 0],
            [0, 0, 2, 0],
            [0, 0, 0, 0]
        ]
    );
    let least = Lookup { keys: &keys, values: false, phones_of_existing: false, phones_of_new: false };
    let least = numbers(tx.lookup(least).expect("looked up"));
    assert_eq!(
        least,
        [
            [1, 2, 0, 0],
            [1, 0, 0, 0],
            [0, 0, 0, 0],
            [0, 2, 0, 0],
            [0, 1, 0, 0],
            [0, 0, 0, 0],
            [0, 0, 2, 0],
            [0, 0, 0, 0]
        ]
    );
    let found = look_up(&mut *tx, &keys[..1]).remove(0).contact.expect("the contact");
    assert_eq!((found.customer_id.as_str(), found.phone, found.active), ("c1", phone(1), true));
    assert_eq!((found.created_ms, found.profile, found.times), (NOW, profile("name 1"), FieldTimes::default()));
}

async fn updates_change_what_they_say(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    import(&*store, &tenant, 1, &(1..=5).map(addition).collect::<Vec<_>>(), NOW).await;
    let before = contacts(&*store, &tenant).await;
    let times = FieldTimes::default().with(&[FieldNumber::FIRST_NAME], 7);
    let changes = [
        Update { customer_id: Some(String::new()), ..unchanged(1) },
        Update { customer_id: Some("c1".to_owned()), ..unchanged(2) },
        Update { phone: Some(phone(30)), active: Some(false), ..unchanged(3) },
        Update { profile: Some(profile("new")), times: times.clone(), ..unchanged(4) },
    ];
    import(&*store, &tenant, 2, &changes.map(Change::Update), NOW + 7).await;
    let mut expected = before.clone();
    expected[..4].iter_mut().for_each(|contact| contact.updated_ms = NOW + 7);
    expected[0].customer_id = String::new();
    expected[1].customer_id = "c1".to_owned();
    expected[2].phone = phone(30);
    expected[2].active = false;
    expected[3].profile = profile("new");
    expected[3].times = times;
    assert_eq!(contacts(&*store, &tenant).await, expected);
    let active = ContactQuery { filter: ACTIVE, ..ALL };
    assert_eq!(page(&*store, &tenant, active).await.total, 4);
    // Back again, and two without a customer's id beside each other.
    let changes =
        [Update { active: Some(true), ..unchanged(3) }, Update { customer_id: Some(String::new()), ..unchanged(5) }];
    import(&*store, &tenant, 3, &changes.map(Change::Update), NOW + 8).await;
    assert_eq!(page(&*store, &tenant, active).await.total, 5);
}

// Ends.

async fn a_report_that_does_not_add_up_is_not_kept(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    accept(&*store, &tenant, 1).await;
    let claim = claim(&*store).await;
    let mut wrong = report(1);
    wrong.counts.read = 2;
    let mut tx = begin(&*store, &claim, NOW);
    tx.apply(vec![addition(1)]).expect("applied");
    assert!(matches!(tx.commit(&wrong), Err(StoreError::Fault(_))));
    assert!(contacts(&*store, &tenant).await.is_empty());
    assert!(matches!(store.finish(&claim, &wrong, "t", NOW).await, Err(StoreError::Fault(_))));
    store.finish(&claim, &report(0), "t", NOW).await.expect("finished");
}

async fn a_clean_close_keeps_everything(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    import(&*store, &tenant, 1, &[addition(1)], NOW).await;
    let waiting = accept(&*store, &tenant, 2).await;
    store.close().await.expect("closed");
    assert!(matches!(store.accept(request(&tenant, 3)).await, Err(StoreError::Unavailable(_))));
    drop(store);
    let store = home.open().await;
    assert_eq!(contacts(&*store, &tenant).await.len(), 1);
    assert_eq!(claimed_ids(&*store).await, [waiting]);
}
