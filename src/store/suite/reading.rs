//! What every home gives back: pages of a program and of an account, cursors, snapshots, one contact.

use super::*;
use crate::store::ContactSnapshot;

scenes![
    contacts_are_listed_by_page_state_and_time,
    a_cursor_goes_on_where_a_page_ended,
    an_account_is_listed_program_by_program,
    a_snapshot_is_one_moment,
    contacts_are_found_by_their_whole_id,
];

/// Total, and the numbers on the page.
async fn numbers(store: &dyn Store, tenant: &Tenant, query: ContactQuery) -> (u64, Vec<u64>) {
    let page = page(store, tenant, query).await;
    (page.total, page.contacts.iter().map(|contact| contact.id.number.get()).collect())
}

/// Six contacts: the second inactive since NOW + 10, when the sixth was added.
async fn six(store: &dyn Store, tenant: &Tenant) {
    import(store, tenant, 1, &(1..=5).map(addition).collect::<Vec<_>>(), NOW).await;
    let inactive = Update { active: Some(false), ..unchanged(2) };
    import(store, tenant, 2, &[Change::Update(inactive), addition(6)], NOW + 10).await;
}

fn changed_after(moment_ms: i64) -> ContactFilter {
    ContactFilter { updated_after_ms: Some(moment_ms), ..EVERYBODY }
}

async fn contacts_are_listed_by_page_state_and_time(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    six(&*store, &tenant).await;
    let offset = PageStart::Offset;
    for (query, expected) in [
        (ALL, (6, vec![1, 2, 3, 4, 5, 6])),
        (ContactQuery { start: offset(2), count: 2, ..ALL }, (6, vec![3, 4])),
        (ContactQuery { start: offset(u64::MAX), ..ALL }, (6, vec![])),
        (ContactQuery { filter: ACTIVE, ..ALL }, (5, vec![1, 3, 4, 5, 6])),
        (ContactQuery { filter: ACTIVE, start: offset(1), ..ALL }, (5, vec![3, 4, 5, 6])),
        (ContactQuery { filter: changed_after(NOW), ..ALL }, (2, vec![2, 6])),
        (ContactQuery { filter: changed_after(NOW), start: offset(1), ..ALL }, (2, vec![6])),
        (ContactQuery { filter: changed_after(NOW + 10), ..ALL }, (0, vec![])),
    ] {
        assert_eq!(numbers(&*store, &tenant, query).await, expected, "{query:?}");
    }
    let filter = ContactFilter { active_only: true, updated_after_ms: Some(NOW - 1) };
    assert_eq!(numbers(&*store, &tenant, ContactQuery { filter, start: offset(4), count: 1 }).await, (5, vec![6]));
}

async fn a_cursor_goes_on_where_a_page_ended(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    let after = |at| PageStart::After(number(at));
    assert_eq!(numbers(&*store, &tenant, ContactQuery { start: after(1), ..ALL }).await, (0, vec![]));
    six(&*store, &tenant).await;
    for (query, expected) in [
        (ContactQuery { start: after(2), count: 3, ..ALL }, (6, vec![3, 4, 5])),
        (ContactQuery { start: after(6), ..ALL }, (6, vec![])),
        (ContactQuery { filter: ACTIVE, start: after(1), count: 2 }, (5, vec![3, 4])),
        (ContactQuery { filter: changed_after(NOW), start: after(2), ..ALL }, (2, vec![6])),
    ] {
        assert_eq!(numbers(&*store, &tenant, query).await, expected, "{query:?}");
    }
}

async fn an_account_is_listed_program_by_program(home: &dyn Home) {
    let store = home.open().await;
    let one = tenant(&*store, "One").await;
    // Nothing was ever imported into the one between them.
    program(&*store, one.account, "Empty").await;
    let second = program(&*store, one.account, "Second").await;
    let second = Tenant { account: one.account, program: second.id, tag: second.tag, token: one.token };
    let foreign = tenant(&*store, "Foreign").await;
    six(&*store, &one).await;
    import(&*store, &second, 3, &(1..=3).map(addition).collect::<Vec<_>>(), NOW).await;
    import(&*store, &foreign, 4, &[addition(1)], NOW).await;

    let listed = async |filter, start, count| -> (u64, Vec<(ProgramId, u64)>) {
        let page = store.contacts_of_account(one.account, &Programs::All, filter, start, count).await.expect("a page");
        let numbers = page
            .parts
            .iter()
            .flat_map(|(program, contacts)| contacts.iter().map(|contact| (program.id, contact.id.number.get())));
        (page.total, numbers.collect())
    };
    let (first, then) = (one.program, second.program);
    let offset = AccountPageStart::Offset;
    let everything = (1..=6).map(|at| (first, at)).chain((1..=3).map(|at| (then, at)));
    assert_eq!(listed(EVERYBODY, offset(0), 100).await, (9, everything.collect()));
    assert_eq!(listed(EVERYBODY, offset(5), 2).await, (9, vec![(first, 6), (then, 1)]));
    assert_eq!(listed(EVERYBODY, offset(7), 9).await, (9, vec![(then, 2), (then, 3)]));
    assert_eq!(listed(EVERYBODY, offset(9), 9).await, (9, vec![]));
    assert_eq!(listed(ACTIVE, offset(4), 2).await, (8, vec![(first, 6), (then, 1)]));
    assert_eq!(listed(changed_after(NOW), offset(0), 9).await, (2, vec![(first, 2), (first, 6)]));

    let id = |tenant: &Tenant, at| AccountPageStart::After(ContactId::new(tenant.tag, number(at), 0));
    assert_eq!(listed(EVERYBODY, id(&one, 5), 2).await, (9, vec![(first, 6), (then, 1)]));
    assert_eq!(listed(EVERYBODY, id(&one, 6), 1).await, (9, vec![(then, 1)]));
    assert_eq!(listed(EVERYBODY, id(&second, 2), 9).await, (9, vec![(then, 3)]));
    assert_eq!(listed(EVERYBODY, id(&foreign, 1), 9).await, (9, vec![]), "not one of this account's");
    let totals = store.contact_totals(one.account, ACTIVE).await.expect("totals");
    assert_eq!(totals.iter().map(|(_, total)| *total).collect::<Vec<_>>(), [5, 0, 3]);
}

async fn a_snapshot_is_one_moment(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    let begin = || tokio::task::block_in_place(|| store.snapshot(tenant.account, tenant.program));
    let rest = |mut snapshot: Box<dyn ContactSnapshot>| -> Vec<Contact> {
        std::iter::from_fn(|| Some(snapshot.next().expect("readable")).filter(|some| !some.is_empty()))
            .flatten()
            .collect()
    };
    assert_eq!(rest(begin().expect("nothing was imported yet")), []);
    // More than come at a time.
    import(&*store, &tenant, 1, &(1..=4_500).map(addition).collect::<Vec<_>>(), NOW).await;
    let before = contacts_all(&*store, &tenant).await;
    let mut snapshot = begin().expect("begun");
    let mut read = snapshot.next().expect("readable");
    assert!((1..4_500).contains(&read.len()));
    let renamed = Update { profile: Some(profile("new")), ..unchanged(4_400) };
    import(&*store, &tenant, 2, &[Change::Update(renamed), addition(4_501)], NOW + 1).await;
    read.extend(rest(snapshot));
    assert_eq!(read, before, "neither the changed name nor the new contact");
    assert_eq!(rest(begin().expect("begun")), contacts_all(&*store, &tenant).await);
    assert!(refused(store.snapshot(AccountId(Uuid::new_v4()), tenant.program)).contains("has no program"));
}

/// All contacts, page by page.
async fn contacts_all(store: &dyn Store, tenant: &Tenant) -> Vec<Contact> {
    let mut all: Vec<Contact> = Vec::new();
    loop {
        let start = all.last().map_or(PageStart::Offset(0), |last| PageStart::After(last.id.number));
        let next = page(store, tenant, ContactQuery { start, ..ALL }).await.contacts;
        if next.is_empty() {
            return all;
        }
        all.extend(next);
    }
}

async fn contacts_are_found_by_their_whole_id(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    let empty = ContactId::new(tenant.tag, number(1), 0);
    assert_eq!(store.contact(tenant.account, empty).await.expect("readable"), None);
    import(&*store, &tenant, 1, &[addition(1), addition(2)], NOW).await;
    let all = contacts(&*store, &tenant).await;
    assert_ne!(all[0].id.salt(), all[1].id.salt());
    let (program, found) = store.contact(tenant.account, all[1].id).await.expect("readable").expect("the contact");
    assert_eq!((program.id, &found), (tenant.program, &all[1]));
    for none in [
        ContactId::new(tenant.tag, number(2), all[1].id.salt() ^ 1),
        ContactId::new(tenant.tag, number(3), all[1].id.salt()),
        ContactId::new(ProgramTag::from_bits(!tenant.tag.bits()), number(2), all[1].id.salt()),
    ] {
        assert_eq!(store.contact(tenant.account, none).await.expect("readable"), None);
    }
}
