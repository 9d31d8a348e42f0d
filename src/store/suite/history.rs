//! What every home tells of what has been imported, for people who look at it.

use super::*;
use crate::import::Columns;
use crate::store::{
    Cancellation, ContactKey, DayTally, Forgotten, ImportDetails, ImportItem, ImportsOf, ImportsQuery, Outcome, Past,
    ProgramItem,
};

pub(in crate::store) mod old;

scenes![
    imports_are_listed_as_they_stand,
    a_list_is_walked_through_once,
    a_list_shows_what_is_asked_for,
    good_and_bad_imports_are_told_apart,
    a_list_reads_no_report,
    days_add_up,
    what_was_applied_before_a_crash_is_counted_once,
    the_import_that_changed_a_contact_is_known,
    the_version_of_contacts_changes_with_them,
    a_contact_is_found_by_each_key,
    senders_are_told_by_name,
    all_is_known_of_an_import,
    programs_are_shown_with_what_they_have,
    another_account_sees_nothing_of_it,
];

const DAY: i64 = 24 * HOUR;
const MANY: QueueLimits = QueueLimits { of_program_max: 1_000, of_account_max: 1_000 };

/// Ids are in the order of these moments, and of these numbers within one.
fn id_of(created_ms: i64, number: u8) -> CommandId {
    let millis = u64::try_from(created_ms).expect("after 1970");
    let rest = [0, number, 0, 0, 0, 0, 0, 0, 0, 0];
    CommandId(uuid::Builder::from_unix_timestamp_millis(millis, &rest).into_uuid())
}

fn at(tenant: &Tenant, number: u8, created_ms: i64) -> NewCommand {
    let remember_until_ms = created_ms + HOUR;
    NewCommand { id: id_of(created_ms, number), created_ms, remember_until_ms, ..request(tenant, number) }
}

fn of_user(new: NewCommand, name: &str) -> NewCommand {
    NewCommand { sender: Sender::User(name.to_owned()), ..new }
}

fn dry(new: NewCommand) -> NewCommand {
    let options = ImportOptions { dry_run: true, ..new.options };
    NewCommand { options, ..new }
}

/// A program beside the tenant's own, with the same token.
async fn beside(store: &dyn Store, tenant: &Tenant, name: &str) -> Tenant {
    let other = program(store, tenant.account, name).await;
    Tenant { account: tenant.account, program: other.id, tag: other.tag, token: tenant.token }
}

async fn put(store: &dyn Store, new: NewCommand) -> CommandId {
    assert_eq!(store.accept(new.clone()).await, Ok(Accepted::New(new.id)));
    new.id
}

/// Accepts a command and completes it; nothing else waits.
async fn complete(store: &dyn Store, new: NewCommand, report: &Report, finished_ms: i64) -> CommandId {
    let id = put(store, new).await;
    let claim = store.claim(Reach::Any, finished_ms).await.expect("claimable").expect("a claim");
    assert_eq!(claim.command, id);
    store.finish(&claim, report, "t", finished_ms).await.expect("finished");
    id
}

/// Carries out the next command, which changes contacts.
async fn carry_out(store: &dyn Store, [claimed_ms, begun_ms, finished_ms]: [i64; 3], changes: &[Change]) -> CommandId {
    let claim = store.claim(Reach::Any, claimed_ms).await.expect("claimable").expect("a claim");
    let mut tx = begin(store, &claim, begun_ms);
    tx.apply(changes.to_vec()).expect("applied");
    tx.commit(&report(changes.len() as u64)).expect("committed");
    store.finish(&claim, &report(changes.len() as u64), "t", finished_ms).await.expect("finished");
    claim.command
}

fn of_rows([added, updated, unchanged, ignored, failed]: [u64; 5]) -> Counts {
    Counts { read: added + updated + unchanged + ignored + failed, added, updated, unchanged, ignored, failed }
}

fn report_of(rows: [u64; 5], not_applied: Option<NotApplied>) -> Report {
    Report { counts: of_rows(rows), error_count: rows[4], not_applied, ..report(0) }
}

async fn listed(store: &dyn Store, tenant: &Tenant, query: ImportsQuery) -> Vec<CommandId> {
    let items = store.imports(tenant.account, query).await.expect("listed");
    items.iter().map(|item| item.id).collect()
}

async fn details(store: &dyn Store, tenant: &Tenant, id: CommandId) -> ImportDetails {
    store.import_details(tenant.account, id).await.expect("readable").expect("the import")
}

async fn forget(store: &dyn Store, payloads_before_ms: i64, commands_before_ms: i64) -> Forgotten {
    store.forget(Past { payloads_before_ms, commands_before_ms }, 100).await.expect("forgotten")
}

async fn imports_are_listed_as_they_stand(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    let told = report_of([2, 1, 1, 1, 3], None);
    let done = complete(&*store, at(&tenant, 1, NOW), &told, NOW + 9).await;
    let running = put(&*store, of_user(at(&tenant, 2, NOW + 1), "zoë")).await;
    let waiting = put(&*store, dry(at(&tenant, 3, NOW + 2))).await;
    let cancelled = put(&*store, at(&tenant, 4, NOW + 3)).await;
    assert_eq!(store.cancel(tenant.account, cancelled, "x", NOW + 5).await, Ok(Some(Cancellation::Done)));
    let claim = claim(&*store).await;
    assert_eq!(claim.command, running);
    store.progress(&claim, 17);
    let item = |id, from: &str, number, outcome| ImportItem {
        id,
        program: tenant.program,
        from: from.to_owned(),
        dry_run: id == waiting,
        created_ms: NOW + number,
        payload_bytes: 8,
        outcome,
    };
    let over = |counts, not_applied, error_count, finished_ms| Outcome::Complete {
        counts,
        not_applied,
        error_count,
        finished_ms,
    };
    let expected = [
        item(cancelled, "One", 3, over(Counts::default(), Some(NotApplied::Cancelled), 1, NOW + 5)),
        item(waiting, "One", 2, Outcome::Queued),
        item(running, "zoë", 1, Outcome::Running { rows: 17 }),
        item(done, "One", 0, over(told.counts, None, 3, NOW + 9)),
    ];
    let all = ImportsQuery::all(10);
    assert_eq!(store.imports(tenant.account, all.clone()).await.expect("listed"), expected);
    let of_program = ImportsQuery { program: Some(tenant.program), ..all.clone() };
    assert_eq!(store.imports(tenant.account, of_program.clone()).await.expect("listed"), expected);
    for (of, index) in [(ImportsOf::Queued, 1), (ImportsOf::Running, 2)] {
        for query in [&all, &of_program] {
            let query = ImportsQuery { of, ..query.clone() };
            assert_eq!(store.imports(tenant.account, query).await.expect("listed"), expected[index..=index]);
        }
    }
    // What was running when the process ended waits again.
    drop((claim, store));
    let store = home.open().await;
    let queued = ImportsQuery { of: ImportsOf::Queued, ..all.clone() };
    assert_eq!(listed(&*store, &tenant, queued).await, [waiting, running]);
    assert_eq!(listed(&*store, &tenant, ImportsQuery { of: ImportsOf::Running, ..all }).await, []);
}

async fn a_list_is_walked_through_once(home: &dyn Home) {
    let store = home.open_with(MANY).await;
    let one = tenant(&*store, "One").await;
    let two = beside(&*store, &one, "Two").await;
    let mut ids = Vec::new();
    for number in 1..=9 {
        let tenant = if number % 3 == 0 { &two } else { &one };
        ids.push(put(&*store, at(tenant, number, NOW + i64::from(number / 2))).await);
    }
    ids.reverse();
    let of_two: Vec<CommandId> = [9, 6, 3].map(|number: usize| ids[9 - number]).to_vec();
    // The same whether they wait or are over.
    for of in [ImportsOf::Queued, ImportsOf::Good] {
        for (program, expected) in [(None, &ids), (Some(two.program), &of_two)] {
            for count in [1, 2, 4, 100] {
                for of in [ImportsOf::All, of] {
                    let mut query = ImportsQuery { program, of, ..ImportsQuery::all(count) };
                    let mut walked = Vec::new();
                    loop {
                        let page = listed(&*store, &one, query.clone()).await;
                        assert!(page.len() <= count as usize);
                        let Some(last) = page.last() else { break };
                        query.after = Some(*last);
                        walked.extend(page);
                    }
                    assert_eq!(walked, *expected, "{of:?} {count}");
                }
            }
        }
        claimed_ids(&*store).await;
    }
}

async fn a_list_shows_what_is_asked_for(home: &dyn Home) {
    let store = home.open().await;
    let one = tenant(&*store, "One").await;
    let two = beside(&*store, &one, "Two").await;
    let first = put(&*store, at(&one, 1, NOW)).await;
    let second = put(&*store, of_user(at(&one, 2, NOW + DAY), "zoë")).await;
    let third = put(&*store, of_user(at(&two, 3, NOW + 2 * DAY), "zoë")).await;
    let fourth = put(&*store, at(&two, 4, NOW + 3 * DAY)).await;
    // Its file began to come in two days before it was accepted.
    let slow = NewCommand { id: id_of(NOW + 7 * DAY, 5), ..at(&two, 5, NOW + 9 * DAY) };
    let slow = put(&*store, slow).await;
    let all = ImportsQuery::all(10);
    let list = async |query| listed(&*store, &one, query).await;
    let of_one = ImportsQuery { program: Some(one.program), ..all.clone() };
    let of_two = ImportsQuery { program: Some(two.program), ..all.clone() };
    assert_eq!(list(all.clone()).await, [slow, fourth, third, second, first]);
    assert_eq!(list(of_two.clone()).await, [slow, fourth, third]);
    let from = |name: &str, query: &ImportsQuery| ImportsQuery { from: Some(name.to_owned()), ..query.clone() };
    assert_eq!(list(from("zoë", &all)).await, [third, second]);
    assert_eq!(list(from("zoë", &of_one)).await, [second]);
    assert_eq!(list(from("Zoë", &all)).await, [], "by the exact name");
    let within = |from: Option<i64>, before: Option<i64>, query: &ImportsQuery| ImportsQuery {
        created_from_ms: from,
        created_before_ms: before,
        ..query.clone()
    };
    assert_eq!(list(within(Some(NOW + DAY), None, &all)).await, [slow, fourth, third, second]);
    assert_eq!(list(within(Some(NOW + DAY + 1), None, &all)).await, [slow, fourth, third]);
    assert_eq!(list(within(None, Some(NOW + 2 * DAY), &all)).await, [second, first]);
    assert_eq!(list(within(None, Some(NOW + 2 * DAY + 1), &all)).await, [third, second, first]);
    assert_eq!(list(within(Some(NOW + DAY), Some(NOW + 2 * DAY), &all)).await, [second]);
    assert_eq!(list(within(Some(NOW + 9 * DAY), None, &all)).await, [slow]);
    assert_eq!(list(within(Some(NOW + 2 * DAY), Some(NOW + 9 * DAY), &of_two)).await, [fourth, third]);
    assert_eq!(list(within(Some(i64::MIN), Some(i64::MAX), &all)).await.len(), 5);
    // All of them together, and where they stand.
    let running = claim(&*store).await.command;
    let queued = ImportsQuery { of: ImportsOf::Queued, ..within(Some(NOW), Some(NOW + 3 * DAY), &from("zoë", &all)) };
    let expected: Vec<CommandId> = [third, second].into_iter().filter(|id| *id != running).collect();
    assert_eq!(list(queued.clone()).await, expected);
    assert_eq!(list(ImportsQuery { after: Some(third), ..queued }).await, [second]);
    assert_eq!(list(ImportsQuery { of: ImportsOf::Running, ..all.clone() }).await, [running]);
    assert_eq!(list(ImportsQuery { of: ImportsOf::Good, ..all.clone() }).await, []);
    assert_eq!(list(ImportsQuery { of: ImportsOf::Bad, ..all.clone() }).await, []);
    assert_eq!(list(ImportsQuery { program: Some(ProgramId(Uuid::from_u128(7))), ..all }).await, []);
}

async fn good_and_bad_imports_are_told_apart(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    let cases = [
        (false, report_of([1, 0, 0, 0, 0], None), true),
        (false, report_of([1, 0, 0, 0, 2], None), false),
        (false, report_of([1, 0, 0, 0, 0], Some(NotApplied::Limit)), false),
        (false, Report::of_fault(Mode::Row, "none"), false),
        (true, report_of([1, 0, 0, 0, 0], Some(NotApplied::DryRun)), true),
        (true, report_of([1, 0, 0, 0, 2], Some(NotApplied::DryRun)), false),
        (true, report_of([1, 0, 0, 0, 1], Some(NotApplied::TxErrors)), false),
    ];
    for (number, (is_dry, report, is_good)) in (1..).zip(cases) {
        let new = at(&tenant, number, NOW + i64::from(number));
        let new = if is_dry { dry(new) } else { new };
        let id = complete(&*store, new, &report, NOW + 100).await;
        if is_good { &mut good } else { &mut bad }.insert(0, id);
    }
    for number in [20, 21] {
        let id = put(&*store, at(&tenant, number, NOW + i64::from(number))).await;
        bad.insert(0, id);
    }
    // One is cancelled while it runs, and one before.
    let claim = claim(&*store).await;
    for id in &bad[..2] {
        store.cancel(tenant.account, *id, "x", NOW + 101).await.expect("cancelled");
    }
    store.finish(&claim, &Report::of_cancellation(Mode::Row, "x"), "t", NOW + 102).await.expect("finished");
    put(&*store, at(&tenant, 22, NOW + 22)).await;
    for program in [None, Some(tenant.program)] {
        for (of, expected) in [(ImportsOf::Good, &good), (ImportsOf::Bad, &bad)] {
            let query = ImportsQuery { program, of, ..ImportsQuery::all(50) };
            assert_eq!(listed(&*store, &tenant, query).await, *expected, "{of:?}");
        }
    }
}

/// A report may be as long as a file, and is needed where it is shown alone.
async fn a_list_reads_no_report(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    let id = complete(&*store, at(&tenant, 1, NOW), &report_of([1, 0, 0, 0, 1], None), NOW + 1).await;
    let before = store.imports(tenant.account, ImportsQuery::all(5)).await.expect("listed");
    home.past_the_store("UPDATE command SET report = 'broken'");
    assert!(matches!(store.command(tenant.account, id).await, Err(StoreError::Fault(_))));
    for query in [ImportsQuery::all(5), ImportsQuery { of: ImportsOf::Bad, ..ImportsQuery::all(5) }] {
        assert_eq!(store.imports(tenant.account, query).await.expect("listed"), before);
    }
    let items = store.program_items(tenant.account).await.expect("listed");
    assert_eq!(items[0].last.as_ref(), before.first());
}

async fn days_add_up(home: &dyn Home) {
    let store = home.open().await;
    let one = tenant(&*store, "One").await;
    let two = beside(&*store, &one, "Two").await;
    let day = NOW.div_euclid(DAY);
    let days = async |from_day| store.days(one.account, from_day).await.expect("readable");
    assert_eq!(days(0).await, []);
    let run = async |tenant: &Tenant, number: u8, rows, not_applied, finished_ms| {
        complete(&*store, at(tenant, number, NOW), &report_of(rows, not_applied), finished_ms).await
    };
    run(&one, 1, [2, 1, 1, 1, 0], None, NOW).await;
    run(&one, 2, [1, 0, 0, 0, 2], None, (day + 1) * DAY - 1).await;
    run(&one, 3, [3, 0, 0, 0, 1], Some(NotApplied::TxErrors), NOW).await;
    run(&one, 4, [3, 0, 0, 2, 0], Some(NotApplied::Limit), (day + 1) * DAY).await;
    run(&two, 5, [1, 0, 0, 0, 0], None, NOW).await;
    // None of these is one of the day's imports.
    let told = [report_of([5, 0, 0, 0, 1], Some(NotApplied::DryRun)), report_of([5; 5], Some(NotApplied::FileError))];
    for (number, told) in (6..).zip(told) {
        complete(&*store, dry(at(&one, number, NOW)), &told, NOW).await;
    }
    let running = put(&*store, at(&one, 8, NOW)).await;
    let claim = claim(&*store).await;
    let waiting = put(&*store, at(&one, 9, NOW)).await;
    for id in [running, waiting] {
        store.cancel(one.account, id, "x", NOW).await.expect("cancelled");
    }
    store.finish(&claim, &Report::of_cancellation(Mode::Row, "x"), "t", NOW).await.expect("finished");
    put(&*store, at(&one, 10, NOW)).await;

    let tally = |program, day, imports, bad_imports, rows| DayTally {
        program,
        day,
        imports,
        bad_imports,
        counts: of_rows(rows),
    };
    let mut first = [tally(one.program, day, 3, 2, [3, 1, 1, 1, 6]), tally(two.program, day, 1, 0, [1, 0, 0, 0, 0])];
    first.sort_by_key(|tally| tally.program.0);
    let next = tally(one.program, day + 1, 1, 1, [0, 0, 0, 0, 5]);
    assert_eq!(days(0).await, [first[0], first[1], next]);
    assert_eq!(days(day).await.len(), 3);
    assert_eq!(days(day + 1).await, [next]);
    assert_eq!(days(day + 2).await, []);
    // They are kept when the imports are not.
    assert!(forget(&*store, i64::MAX, i64::MAX).await.commands >= 8);
    assert_eq!(days(0).await, [first[0], first[1], next]);
}

async fn what_was_applied_before_a_crash_is_counted_once(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    let id = put(&*store, at(&tenant, 1, NOW)).await;
    let old = claim(&*store).await;
    let mut tx = begin(&*store, &old, NOW + 1);
    tx.apply(vec![addition(1)]).expect("applied");
    tx.commit(&report(1)).expect("committed");
    let version = store.contacts_version(tenant.account, tenant.program).await.expect("a number");
    // The process dies before it can tell.
    drop(store);
    let store = home.open().await;
    assert_eq!(store.days(tenant.account, 0).await, Ok(vec![]));
    let new = store.claim(Reach::Any, NOW + 50).await.expect("claimable").expect("a claim");
    let told = match store.begin_import(&new, NOW + 51).expect("begun") {
        Begin::AlreadyApplied(told) => told,
        Begin::Open(_) => unreachable!("it would be applied twice"),
    };
    store.finish(&new, &told, "t", NOW + 52).await.expect("finished");
    assert_eq!(store.finish(&new, &told, "t", NOW + 53).await, Err(StoreError::LostClaim));
    let days = store.days(tenant.account, 0).await.expect("readable");
    assert_eq!(days.iter().map(|day| (day.imports, day.counts)).collect::<Vec<_>>(), [(1, report(1).counts)]);
    let found = details(&*store, &tenant, id).await;
    assert_eq!((found.started_ms, found.attempts), (Some(NOW + 50), 2));
    // Its first attempt changed the contact, before the second one began.
    let contact = contacts(&*store, &tenant).await.remove(0);
    assert_eq!(store.last_import(tenant.account, &contact).await, Ok(Some(id)));
    assert_eq!(store.contacts_version(tenant.account, tenant.program).await, Ok(version));
}

async fn the_import_that_changed_a_contact_is_known(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    let first = put(&*store, at(&tenant, 1, NOW)).await;
    let second = put(&*store, at(&tenant, 2, NOW + 1)).await;
    carry_out(&*store, [NOW + 10, NOW + 11, NOW + 20], &[addition(1), addition(2)]).await;
    // It begins in the millisecond in which the one before is over.
    let rename = |name| Change::Update(Update { profile: Some(profile(name)), ..unchanged(1) });
    carry_out(&*store, [NOW + 20, NOW + 20, NOW + 30], &[rename("new")]).await;
    // Neither of these changes anything.
    let limit = report_of([3, 0, 0, 0, 0], Some(NotApplied::Limit));
    complete(&*store, at(&tenant, 3, NOW + 31), &limit, NOW + 33).await;
    complete(&*store, at(&tenant, 4, NOW + 35), &report_of([0, 0, 1, 0, 0], None), NOW + 40).await;
    let third = put(&*store, at(&tenant, 5, NOW + 50)).await;
    carry_out(&*store, [NOW + 51, NOW + 51, NOW + 60], &[addition(3)]).await;
    let last = async || {
        let mut last = Vec::new();
        for contact in contacts(&*store, &tenant).await {
            last.push(store.last_import(tenant.account, &contact).await.expect("readable"));
        }
        last
    };
    assert_eq!(last().await, [Some(second), Some(first), Some(third)]);
    // What is forgotten is not taken for the next one, which waited at that time.
    assert_eq!(forget(&*store, NOW + 21, NOW + 21).await, Forgotten { uploads: 1, commands: 1 });
    assert_eq!(last().await, [Some(second), None, Some(third)]);
    let again = put(&*store, at(&tenant, 6, NOW + 70)).await;
    carry_out(&*store, [NOW + 71, NOW + 72, NOW + 80], &[rename("newer")]).await;
    assert_eq!(last().await, [Some(again), None, Some(third)]);
}

async fn the_version_of_contacts_changes_with_them(home: &dyn Home) {
    let store = home.open().await;
    let one = tenant(&*store, "One").await;
    let two = beside(&*store, &one, "Two").await;
    let version =
        async |tenant: &Tenant| store.contacts_version(tenant.account, tenant.program).await.expect("a number");
    let of_two = version(&two).await;
    let mut seen = HashSet::from([version(&one).await]);
    let times = FieldTimes::default();
    let rename = Update { profile: Some(profile("new")), times, ..unchanged(1) };
    for (number, change) in (1..).zip([addition(1), addition(2), Change::Update(rename)]) {
        import(&*store, &one, number, &[change], NOW).await;
        assert!(seen.insert(version(&one).await), "change {number}");
    }
    let last = version(&one).await;
    // Nothing of this changes a contact.
    accept(&*store, &one, 4).await;
    assert_eq!(version(&one).await, last);
    let claim = claim(&*store).await;
    let mut tx = begin(&*store, &claim, NOW);
    tx.apply(vec![addition(3)]).expect("applied");
    tx.rollback().expect("rolled back");
    store.finish(&claim, &report_of([1, 0, 0, 0, 0], Some(NotApplied::Limit)), "t", NOW).await.expect("finished");
    let nothing = report_of([1, 0, 0, 0, 0], Some(NotApplied::DryRun));
    complete(&*store, dry(at(&one, 5, NOW)), &nothing, NOW).await;
    forget(&*store, i64::MAX, i64::MAX).await;
    assert_eq!(version(&one).await, last);
    store.close().await.expect("closed");
    drop(store);
    let store = home.open().await;
    assert_eq!(store.contacts_version(one.account, one.program).await, Ok(last));
    assert_eq!(store.contacts_version(two.account, two.program).await, Ok(of_two), "each program has its own");
    import(&*store, &one, 6, &[addition(3)], NOW).await;
    assert!(!seen.contains(&store.contacts_version(one.account, one.program).await.expect("a number")));
    let nowhere = ProgramId(Uuid::from_u128(7));
    refused(store.contacts_version(one.account, nowhere).await);
}

async fn a_contact_is_found_by_each_key(home: &dyn Home) {
    let store = home.open().await;
    let one = tenant(&*store, "One").await;
    let two = beside(&*store, &one, "Two").await;
    let blank = match addition(3) {
        Change::Add(third) => Change::Add(Addition { customer_id: String::new(), ..third }),
        Change::Update(_) => unreachable!("an addition"),
    };
    import(&*store, &one, 1, &[addition(1), addition(2), blank], NOW).await;
    let all = contacts(&*store, &one).await;
    let find =
        async |tenant: &Tenant, key| store.find_contact(tenant.account, tenant.program, key).await.expect("readable");
    let second = all[1].clone();
    let keys = [ContactKey::Id(second.id), ContactKey::CustomerId("c2".to_owned()), ContactKey::Phone(phone(2))];
    for key in keys {
        assert_eq!(find(&one, key.clone()).await, Some(second.clone()), "{key:?}");
        assert_eq!(find(&two, key.clone()).await, None, "another program has none");
    }
    // With a file of its own.
    let Change::Add(fifth) = addition(5) else { unreachable!("an addition") };
    import(&*store, &two, 2, &[Change::Add(Addition { number: number(1), ..fifth })], NOW).await;
    assert_eq!(find(&two, ContactKey::Id(second.id)).await, None);
    assert_eq!(find(&two, ContactKey::Phone(phone(2))).await, None);
    assert_eq!(find(&one, ContactKey::Phone(phone(3))).await.map(|found| found.id), Some(all[2].id));
    let wrong_salt = ContactId::new(second.id.tag, second.id.number, second.id.salt() + 1);
    let nobody = ["", "C2", "c2 ", "c2\0", "x"].map(|id| ContactKey::CustomerId(id.to_owned()));
    for key in [ContactKey::Id(wrong_salt), ContactKey::Phone(phone(77))].into_iter().chain(nobody) {
        assert_eq!(find(&one, key.clone()).await, None, "{key:?}");
    }
    refused(store.find_contact(one.account, ProgramId(Uuid::from_u128(7)), ContactKey::Phone(phone(2))).await);
}

async fn senders_are_told_by_name(home: &dyn Home) {
    let store = home.open_with(MANY).await;
    let one = tenant(&*store, "One").await;
    let two = beside(&*store, &one, "Two").await;
    let senders = async || store.senders(one.account).await.expect("readable");
    assert_eq!(senders().await, [""; 0]);
    put(&*store, at(&one, 1, NOW)).await;
    for (number, name) in (2..).zip(["zoë", "b", "zoë", "Ärger"]) {
        put(&*store, of_user(at(&two, number, NOW), name)).await;
    }
    // Once each; byte by byte, whatever language the database has.
    assert_eq!(senders().await, ["One", "b", "zoë", "Ärger"]);
    for number in 10..=112 {
        put(&*store, of_user(at(&one, number, NOW), &format!("user {number:03}"))).await;
    }
    let told = senders().await;
    assert_eq!((told.len(), &*told[0], &*told[1], &*told[99]), (100, "One", "b", "user 107"));
}

async fn all_is_known_of_an_import(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    let options = ImportOptions { columns: Columns::new([("Handy", "phone"), ("Note", "")]), ..options() };
    let new = dry(NewCommand { options, ..at(&tenant, 1, NOW) });
    let first = put(&*store, new.clone()).await;
    let bare = put(&*store, NewCommand { body_digest: None, ..at(&tenant, 2, NOW + 1) }).await;
    let never = put(&*store, at(&tenant, 3, NOW + 2)).await;
    let expected = ImportDetails {
        command: command(&*store, &tenant, first).await,
        options: new.options.clone(),
        body_digest: Some([1; 32]),
        started_ms: None,
        attempts: 0,
        has_file: true,
    };
    assert_eq!(details(&*store, &tenant, first).await, expected);
    let found = details(&*store, &tenant, bare).await;
    assert_eq!((found.body_digest, found.started_ms, found.attempts), (None, None, 0));
    // Each attempt is told, also while it waits for the next one.
    let begun = async |now_ms| store.claim(Reach::Any, now_ms).await.expect("claimable").expect("a claim");
    let claimed = begun(NOW + 5).await;
    let began = ImportDetails { started_ms: Some(NOW + 5), attempts: 1, ..expected };
    let standing = async || ImportDetails { command: command(&*store, &tenant, first).await, ..began.clone() };
    assert_eq!(details(&*store, &tenant, first).await, standing().await);
    store.give_back(&claimed).await.expect("given back");
    assert_eq!(details(&*store, &tenant, first).await, standing().await);
    let claimed = begun(NOW + 7).await;
    let told = Report { dialect: None, ..report_of([1, 0, 0, 0, 1], Some(NotApplied::DryRun)) };
    store.finish(&claimed, &told, "t", NOW + 9).await.expect("finished");
    let complete = ImportDetails { started_ms: Some(NOW + 7), attempts: 2, ..standing().await };
    assert_eq!(details(&*store, &tenant, first).await, complete);
    let CommandState::Complete { report, .. } = &complete.command.state else { unreachable!("complete") };
    assert_eq!(**report, told);
    // The next of the program has nothing of it; what was cancelled before its turn never began.
    assert_eq!(details(&*store, &tenant, bare).await.attempts, 0);
    store.cancel(tenant.account, never, "x", NOW + 10).await.expect("cancelled");
    let found = details(&*store, &tenant, never).await;
    assert_eq!((found.started_ms, found.attempts, found.has_file), (None, 0, true));
    forget(&*store, NOW + 10, 0).await;
    assert_eq!(details(&*store, &tenant, first).await, ImportDetails { has_file: false, ..complete });
    assert!(details(&*store, &tenant, never).await.has_file);
    assert_eq!(store.import_details(tenant.account, CommandId(Uuid::from_u128(7))).await, Ok(None));
}

async fn programs_are_shown_with_what_they_have(home: &dyn Home) {
    let store = home.open().await;
    let one = tenant(&*store, "One").await;
    let two = beside(&*store, &one, "Two").await;
    store.set_program_active(two.account, two.program, false).await.expect("archived");
    let items = async || store.program_items(one.account).await.expect("listed");
    let shown = |item: &ProgramItem| {
        (item.program.id, item.contacts, item.active, item.open, item.last.as_ref().map(|last| last.id))
    };
    let shown_all = async || items().await.iter().map(shown).collect::<Vec<_>>();
    assert_eq!(shown_all().await, [(one.program, 0, 0, 0, None), (two.program, 0, 0, 0, None)]);
    let off = Change::Update(Update { active: Some(false), ..unchanged(2) });
    import(&*store, &one, 1, &[addition(1), addition(2), off], NOW).await;
    let dry_run = report_of([1, 0, 0, 0, 0], Some(NotApplied::DryRun));
    let tried = complete(&*store, dry(at(&one, 2, NOW + 1)), &dry_run, NOW + 2).await;
    put(&*store, at(&two, 3, NOW)).await;
    let claimed = claim(&*store).await;
    let cancelled = put(&*store, at(&two, 4, NOW + 3)).await;
    let waiting = put(&*store, at(&two, 5, NOW + 4)).await;
    store.cancel(two.account, cancelled, "x", NOW + 5).await.expect("cancelled");
    assert_eq!(shown_all().await, [(one.program, 2, 1, 0, Some(tried)), (two.program, 0, 0, 2, Some(waiting))]);
    for item in items().await {
        let newest = ImportsQuery { program: Some(item.program.id), ..ImportsQuery::all(1) };
        assert_eq!(store.imports(one.account, newest).await.expect("listed").first(), item.last.as_ref());
        assert_eq!(store.program(one.account, item.program.id).await, Ok(Some(item.program.clone())));
        assert_eq!(store.program_item(one.account, item.program.id).await, Ok(Some(item)), "alone it is the same");
    }
    store.finish(&claimed, &report(0), "t", NOW + 6).await.expect("finished");
    assert_eq!(items().await[1].open, 1);
    assert_eq!(store.program_item(one.account, ProgramId(Uuid::from_u128(7))).await, Ok(None));
}

async fn another_account_sees_nothing_of_it(home: &dyn Home) {
    let store = home.open().await;
    let (mine, other) = (tenant(&*store, "Mine").await, tenant(&*store, "Other").await);
    import(&*store, &mine, 1, &[addition(1)], NOW).await;
    let done = complete(&*store, at(&mine, 2, NOW), &report_of([1, 0, 0, 0, 1], None), NOW).await;
    let waiting = put(&*store, at(&mine, 3, NOW)).await;
    let contact = contacts(&*store, &mine).await.remove(0);
    for of in [ImportsOf::All, ImportsOf::Queued, ImportsOf::Running, ImportsOf::Good, ImportsOf::Bad] {
        for program in [None, Some(mine.program)] {
            let query = ImportsQuery { program, of, ..ImportsQuery::all(10) };
            assert_eq!(listed(&*store, &other, query.clone()).await, [], "{of:?}");
            assert_eq!(listed(&*store, &other, ImportsQuery { after: Some(waiting), ..query }).await, []);
        }
    }
    for id in [done, waiting] {
        assert_eq!(store.import_details(other.account, id).await, Ok(None));
    }
    assert_eq!(store.senders(other.account).await, Ok(vec![]));
    assert_eq!(store.days(other.account, 0).await, Ok(vec![]));
    assert_eq!(store.last_import(other.account, &contact).await, Ok(None));
    assert_eq!(store.program_item(other.account, mine.program).await, Ok(None));
    let items = store.program_items(other.account).await.expect("listed");
    assert_eq!(items.iter().map(|item| item.program.id).collect::<Vec<_>>(), [other.program]);
    refused(store.contacts_version(other.account, mine.program).await);
    for key in [ContactKey::Id(contact.id), ContactKey::Phone(contact.phone), ContactKey::CustomerId("c1".to_owned())] {
        refused(store.find_contact(other.account, mine.program, key.clone()).await);
        assert_eq!(store.find_contact(other.account, other.program, key).await, Ok(None));
    }
}
