//! What every home does with what was put into the console, and with what is remembered of a program's columns.

use super::*;
use crate::command::Kept;
use crate::store::{CommandQuery, NewUpload, PIECE_BYTES, Past, UPLOAD_KEPT_MS, Upload, UploadId};
use crate::tenant::ProgramSettings;

scenes![
    an_upload_is_kept_and_read,
    an_upload_that_was_not_kept_goes,
    an_upload_is_its_accounts,
    who_does_not_serve_keeps_no_upload,
    uploads_go_in_their_time_and_nothing_else_does,
    the_keeper_lets_uploads_go_after_a_day,
    a_command_leads_to_its_upload,
    columns_are_remembered,
    only_some_columns_are_remembered,
    a_programs_settings_are_changed,
];

fn file(bytes: usize) -> Vec<u8> {
    (0u64..).flat_map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).take(bytes).collect()
}

/// A file that is received, as an upload.
pub(in crate::store) fn received(store: &dyn Store, tenant: &Tenant, file: &[u8]) -> NewUpload {
    let id = CommandId(Uuid::new_v4());
    let mut writer = store.receive(tenant.account, tenant.program, id).expect("begun");
    for piece in file.chunks(PIECE_BYTES) {
        writer.write(piece).expect("written");
    }
    NewUpload {
        account: tenant.account,
        program: tenant.program,
        received: writer.finish().expect("finished"),
        by: "zoë".to_owned(),
        file_name: "Fall.csv".to_owned(),
        digest: [7; 32],
        created_ms: NOW,
    }
}

async fn keep(store: &dyn Store, tenant: &Tenant, bytes: usize, created_ms: i64) -> UploadId {
    let upload = NewUpload { created_ms, ..received(store, tenant, &file(bytes)) };
    store.keep_upload(upload).await.expect("kept")
}

async fn found(store: &dyn Store, tenant: &Tenant, id: UploadId) -> Option<Upload> {
    store.upload(tenant.account, id).await.expect("readable")
}

fn bytes_of(store: &dyn Store, tenant: &Tenant, id: UploadId) -> Option<Vec<u8>> {
    let mut source = store.upload_file(tenant.account, id).expect("readable")?;
    let mut bytes = Vec::new();
    source.read_to_end(&mut bytes).expect("readable");
    Some(bytes)
}

/// Waits until so many files are left: what is not kept is removed in the background.
async fn come_to(home: &dyn Home, files: u64) {
    const LOOKS_MAX: usize = 1_000;
    for _ in 0..LOOKS_MAX {
        if home.files() == files {
            return;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(home.files(), files);
}

async fn an_upload_is_kept_and_read(home: &dyn Home) {
    let mut store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    let mut kept = Vec::new();
    for bytes in [0, 1, 100, PIECE_BYTES, 2 * PIECE_BYTES + 5] {
        let new = received(&*store, &tenant, &file(bytes));
        let id = store.keep_upload(new.clone()).await.expect("kept");
        assert_eq!(id, UploadId(new.received.command.0));
        let NewUpload { account: _, program, received: _, by, file_name, digest, created_ms } = new;
        let expected = Upload { id, program, by, file_name, bytes: bytes as u64, digest, created_ms };
        assert_eq!(found(&*store, &tenant, id).await, Some(expected));
        kept.push((id, bytes));
    }
    // It is no command.
    let query = CommandQuery { state: None, offset: 0, count: 10 };
    assert_eq!(store.commands(tenant.account, tenant.program, query).await.expect("a page").total, 0);
    assert_eq!(store.claim(Reach::Any, NOW).await, Ok(None));
    // A restart finds it as it was, however the process ended and however long ago.
    for is_closed in [true, false] {
        if is_closed {
            store.close().await.expect("closed");
        }
        drop(store);
        home.forsake();
        store = home.open().await;
        for (id, bytes) in &kept {
            assert!(bytes_of(&*store, &tenant, *id) == Some(file(*bytes)), "{bytes} bytes");
        }
    }
    // A name has a limit, and no character that a home does not take.
    let file_name = format!("a\0{}", "ß".repeat(300));
    let id = store.keep_upload(NewUpload { file_name, ..received(&*store, &tenant, b"x") }).await.expect("kept");
    let expected = format!("a\u{fffd}{}", "ß".repeat(198));
    assert_eq!(found(&*store, &tenant, id).await.map(|found| found.file_name), Some(expected));
}

async fn an_upload_that_was_not_kept_goes(home: &dyn Home) {
    let store = home.open().await;
    let mine = tenant(&*store, "One").await;
    let other = tenant(&*store, "Two").await;
    let id = keep(&*store, &mine, PIECE_BYTES + 1, NOW).await;
    // Nobody wanted it; it is of no program of the account.
    drop(received(&*store, &mine, &file(100)));
    let foreign = NewUpload { program: mine.program, ..received(&*store, &other, &file(100)) };
    refused(store.keep_upload(foreign).await);
    let nowhere = NewUpload { program: ProgramId(Uuid::from_u128(7)), ..received(&*store, &other, &file(100)) };
    refused(store.keep_upload(nowhere).await);
    come_to(home, 1).await;
    // The process died before it was kept.
    std::mem::forget(received(&*store, &mine, &file(100)));
    let mut writer = store.receive(mine.account, mine.program, CommandId(Uuid::new_v4())).expect("begun");
    writer.write(&file(PIECE_BYTES)).expect("written");
    std::mem::forget(writer);
    assert_eq!(home.files(), 3);
    drop(store);
    home.forsake();
    let store = home.open().await;
    come_to(home, 1).await;
    assert!(bytes_of(&*store, &mine, id) == Some(file(PIECE_BYTES + 1)), "what was kept is there");
    // The next file of the program clears forsaken ones away; not this one.
    home.forsake();
    let next = keep(&*store, &mine, 1, NOW).await;
    assert!(bytes_of(&*store, &mine, id).is_some() && bytes_of(&*store, &mine, next).is_some());
}

async fn an_upload_is_its_accounts(home: &dyn Home) {
    let store = home.open().await;
    let (mine, other) = (tenant(&*store, "Mine").await, tenant(&*store, "Other").await);
    let (upload, theirs) = (keep(&*store, &mine, 5, NOW).await, keep(&*store, &other, 5, NOW).await);
    let (command, foreign) = (accept(&*store, &mine, 1).await, accept(&*store, &other, 2).await);
    store.note_upload(mine.account, upload, command).await.expect("noted");

    assert_eq!(found(&*store, &other, upload).await, None);
    assert_eq!(bytes_of(&*store, &other, upload), None);
    assert_eq!(store.upload_of(other.account, command).await, Ok(None));
    // Nor is anything noted of what is another's.
    for (account, upload, command) in
        [(other.account, upload, foreign), (other.account, theirs, command), (mine.account, upload, foreign)]
    {
        store.note_upload(account, upload, command).await.expect("passed over");
    }
    assert_eq!(store.upload_of(other.account, foreign).await, Ok(None));
    assert_eq!(store.upload_of(mine.account, foreign).await, Ok(None));
    let found = store.upload_of(mine.account, command).await.expect("readable");
    assert_eq!(found.map(|found| found.id), Some(upload));

    refused(store.columns(other.account, mine.program).await);
    refused(store.remember_columns(other.account, mine.program, &[], NOW).await);
    refused(store.columns(mine.account, ProgramId(Uuid::from_u128(7))).await);
}

async fn who_does_not_serve_keeps_no_upload(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    let new = received(&*store, &tenant, b"x");
    let beside = home.open_beside().await;
    refused(beside.keep_upload(new.clone()).await);
    let id = store.keep_upload(new).await.expect("kept");
    assert!(found(&*beside, &tenant, id).await.is_some(), "but it sees it");
}

async fn uploads_go_in_their_time_and_nothing_else_does(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    let large = NewCommand { payload: Payload::text("phone\n".repeat(20_000)), ..request(&tenant, 1) };
    store.accept(large.clone()).await.expect("accepted");
    let mut ids = Vec::new();
    for (at, bytes) in (0i64..).zip([PIECE_BYTES + 1, 0, 3, 3]) {
        ids.push(keep(&*store, &tenant, bytes, NOW + at).await);
    }
    store.note_upload(tenant.account, ids[0], large.id).await.expect("noted");
    let there = async || {
        let mut there = Vec::new();
        for id in &ids {
            let is_there = found(&*store, &tenant, *id).await.is_some();
            assert_eq!(bytes_of(&*store, &tenant, *id).is_some(), is_there);
            there.push(is_there);
        }
        there
    };
    assert_eq!(store.forget_uploads(NOW - 1, 10).await, Ok(0));
    assert_eq!(there().await, [true; 4]);
    // What came at that very moment goes; the oldest first, and no more than asked for.
    assert_eq!(store.forget_uploads(NOW + 2, 2).await, Ok(2));
    assert_eq!(there().await, [false, false, true, true]);
    assert_eq!(store.forget_uploads(NOW + 2, 2).await, Ok(1));
    assert_eq!(there().await, [false, false, false, true]);
    assert_eq!(store.forget_uploads(NOW + 2, 2).await, Ok(0));
    // A command does not go with the upload that it was made of, but does not lead there any more.
    assert_eq!(store.upload_of(tenant.account, large.id).await, Ok(None));
    let claim = claim(&*store).await;
    let mut upload = String::new();
    begin(&*store, &claim, NOW).payload().expect("there").read_to_string(&mut upload).expect("readable");
    assert_eq!(upload.as_bytes(), large.payload.held());
    store.finish(&claim, &report(0), "t", NOW).await.expect("finished");
    assert_eq!(home.files(), 2, "its file, and that of the upload");
    // Nor does an upload go with what commands had.
    let past = Past { payloads_before_ms: i64::MAX, commands_before_ms: i64::MAX };
    store.forget(past, 10).await.expect("forgotten");
    assert_eq!(there().await, [false, false, false, true]);
    come_to(home, 1).await;
}

async fn the_keeper_lets_uploads_go_after_a_day(home: &dyn Home) {
    const LOOKS_MAX: usize = 10_000;
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    let (old, new) = (keep(&*store, &tenant, 5, NOW).await, keep(&*store, &tenant, 6, NOW + 1).await);
    let kept = Kept { payloads: Duration::MAX, commands: Duration::MAX };
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let keeper = crate::command::keep(Arc::clone(&store), kept, Arc::new(|| NOW + UPLOAD_KEPT_MS), stopping);
    let mut looks = 0;
    while found(&*store, &tenant, old).await.is_some() {
        looks += 1;
        assert!(looks < LOOKS_MAX, "it stays");
    }
    assert!(found(&*store, &tenant, new).await.is_some());
    stop.send(true).expect("it listens");
    keeper.await.expect("it ends");
    come_to(home, 1).await;
}

async fn a_command_leads_to_its_upload(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    let (one, two) = (keep(&*store, &tenant, 5, NOW).await, keep(&*store, &tenant, 6, NOW).await);
    let (tried, imported, other) =
        (accept(&*store, &tenant, 1).await, accept(&*store, &tenant, 2).await, accept(&*store, &tenant, 3).await);
    for (upload, command) in [(one, tried), (one, imported), (one, imported), (two, imported)] {
        store.note_upload(tenant.account, upload, command).await.expect("noted");
    }
    // Neither is there: nothing is noted.
    store.note_upload(tenant.account, UploadId(Uuid::new_v4()), other).await.expect("passed over");
    store.note_upload(tenant.account, one, CommandId(Uuid::new_v4())).await.expect("passed over");
    let expected = found(&*store, &tenant, one).await;
    for command in [tried, imported] {
        assert_eq!(store.upload_of(tenant.account, command).await, Ok(expected.clone()), "what was said first stands");
    }
    assert_eq!(store.upload_of(tenant.account, other).await, Ok(None));
    store.close().await.expect("closed");
    drop(store);
    let store = home.open().await;
    assert_eq!(store.upload_of(tenant.account, tried).await, Ok(expected));
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, field)| ((*name).to_owned(), (*field).to_owned())).collect()
}

async fn columns_are_remembered(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    let other = program(&*store, tenant.account, "Other").await.id;
    let remembered = async |program| store.columns(tenant.account, program).await.expect("readable");
    let remember = async |columns: &[(&str, &str)], now_ms| {
        store.remember_columns(tenant.account, tenant.program, &pairs(columns), now_ms).await.expect("remembered");
    };
    assert_eq!(remembered(tenant.program).await, []);
    remember(&[("handy", "phone"), ("Vorname", "first_name"), ("Ä \"x\"", ""), ("", "credits")], NOW).await;
    // By name, byte by byte, whatever language the database has.
    let first = [("", "credits"), ("Vorname", "first_name"), ("handy", "phone"), ("Ä \"x\"", "")];
    assert_eq!(remembered(tenant.program).await, pairs(&first));
    // What is said of one again counts, all else stays; within one call too.
    remember(&[("Vorname", "last_name"), ("Vorname", ""), ("Nr", "customer_id")], NOW + 1).await;
    remember(&[], NOW + 2).await;
    let second = [("", "credits"), ("Nr", "customer_id"), ("Vorname", ""), ("handy", "phone"), ("Ä \"x\"", "")];
    assert_eq!(remembered(tenant.program).await, pairs(&second));
    assert_eq!(remembered(other).await, [], "each program has its own");
    // Which is what an import takes.
    assert_eq!(crate::import::Columns::new(pairs(&second)).name("handy"), Some("phone"));
}

async fn only_some_columns_are_remembered(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    let remembered = async || store.columns(tenant.account, tenant.program).await.expect("readable");
    let remember = async |columns: &[(String, String)], now_ms| {
        store.remember_columns(tenant.account, tenant.program, columns, now_ms).await.expect("remembered");
    };
    let long = "x".repeat(1_001);
    let odd = [("a\0b", "phone"), (&*long, "phone"), ("a", "b\0"), ("b", &*long), (&long[1..], "phone")];
    remember(&pairs(&odd), NOW).await;
    assert_eq!(remembered().await, pairs(&odd[4..]));
    // The latest thousand, however many come at once.
    let many = |from: u32, to: u32| -> Vec<(String, String)> {
        (from..to).map(|number| (format!("c{number:04}"), "phone".to_owned())).collect()
    };
    remember(&many(0, 600), NOW + 1).await;
    remember(&many(600, 1_050), NOW + 2).await;
    let kept = remembered().await;
    assert_eq!((kept.len(), &kept[0].0[..], &kept[999].0[..]), (1_000, "c0000", "c1049"));
    remember(&many(2_000, 4_000), NOW + 3).await;
    assert_eq!(remembered().await, many(2_000, 3_000));
}

async fn a_programs_settings_are_changed(home: &dyn Home) {
    let store = home.open().await;
    let (mine, other) = (tenant(&*store, "Mine").await, tenant(&*store, "Other").await);
    let before = store.program(mine.account, mine.program).await.expect("readable").expect("the program");
    let settings = ProgramSettings {
        name: "  Autumn ".to_owned(),
        region: Region::parse("DE").expect("a region"),
        phone: Some(phone(1)),
        timezone: Some("Europe/Berlin".to_owned()),
        active: false,
    };
    store.update_program(mine.account, mine.program, settings.clone()).await.expect("changed");
    let expected = Program {
        name: "Autumn".to_owned(),
        region: settings.region,
        phone: settings.phone,
        timezone: settings.timezone.clone(),
        active: false,
        ..before
    };
    assert_eq!(store.program(mine.account, mine.program).await, Ok(Some(expected.clone())));
    // An import that begins now reads phones so.
    accept(&*store, &mine, 1).await;
    let tx = begin(&*store, &claim(&*store).await, NOW);
    assert_eq!(tx.context().region, settings.region);
    tx.rollback().expect("rolled back");

    refused(store.update_program(other.account, mine.program, settings.clone()).await);
    refused(store.update_program(mine.account, ProgramId(Uuid::from_u128(7)), settings.clone()).await);
    let blank = ProgramSettings { name: " ".to_owned(), ..settings.clone() };
    refused(store.update_program(mine.account, mine.program, blank).await);
    assert_eq!(store.program(mine.account, mine.program).await, Ok(Some(expected.clone())), "nothing of it");
    // What may be left out is taken away.
    let bare = ProgramSettings { phone: None, timezone: None, active: true, ..settings };
    store.update_program(mine.account, mine.program, bare).await.expect("changed");
    let expected = Program { phone: None, timezone: None, active: true, ..expected };
    assert_eq!(store.program(mine.account, mine.program).await, Ok(Some(expected)));
}
