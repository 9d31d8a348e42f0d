//! What every home does with a file that comes in before its command is accepted: kept with the command, and gone without it.

use super::*;
use crate::store::{PIECE_BYTES, PayloadWriter};

scenes![
    a_received_file_is_its_commands,
    a_file_that_is_not_accepted_goes,
    a_file_that_a_crash_left_goes,
    a_file_of_no_program_is_refused,
];

/// Bytes that are not alike anywhere.
fn file(bytes: usize) -> Vec<u8> {
    (0u64..).flat_map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).take(bytes).collect()
}

fn begin_file(store: &dyn Store, tenant: &Tenant, id: CommandId) -> Box<dyn PayloadWriter> {
    store.receive(tenant.account, tenant.program, id).expect("begun")
}

/// A request whose file is received.
fn received(store: &dyn Store, tenant: &Tenant, number: u8, file: &[u8]) -> NewCommand {
    let new = request(tenant, number);
    let mut writer = begin_file(store, tenant, new.id);
    for piece in file.chunks(PIECE_BYTES) {
        writer.write(piece).expect("written");
    }
    let payload = Payload::Received(writer.finish().expect("finished"));
    NewCommand { payload, ..new }
}

fn read(mut source: Box<dyn Read + Send>) -> Vec<u8> {
    let mut bytes = Vec::new();
    source.read_to_end(&mut bytes).expect("readable");
    bytes
}

/// Waits until so many files are left: what is not accepted is removed in the background.
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

async fn a_received_file_is_its_commands(home: &dyn Home) {
    let mut store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    for (number, bytes) in [(1, 1), (2, PIECE_BYTES), (3, 2 * PIECE_BYTES + 5)] {
        let file = file(bytes);
        let new = received(&*store, &tenant, number, &file);
        assert_eq!(store.accept(new.clone()).await.expect("accepted"), Accepted::New(new.id));
        let id = new.id;
        drop(new);
        assert_eq!(command(&*store, &tenant, id).await.payload_bytes, bytes as u64);
        // Nothing hangs on the process that received it.
        store.close().await.expect("closed");
        drop(store);
        store = home.open().await;
        let claim = claim(&*store).await;
        assert_eq!(claim.command, id);
        let mut tx = begin(&*store, &claim, NOW);
        assert!(read(tx.payload().expect("a payload")) == file);
        tx.rollback().expect("rolled back");
        store.finish(&claim, &report(0), "t", NOW).await.expect("finished");
        let complete = command(&*store, &tenant, id).await;
        let kept = store.file(tenant.account, &complete).expect("readable").expect("kept");
        assert!(read(kept) == file);
    }
    assert_eq!(home.files(), 3);
}

async fn a_file_that_is_not_accepted_goes(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    let file = file(PIECE_BYTES + 1);
    let first = received(&*store, &tenant, 1, &file);
    let id = first.id;
    assert_eq!(store.accept(first).await.expect("accepted"), Accepted::New(id));
    assert_eq!(home.files(), 1);
    // Broken off in the middle; whole, and nobody wanted it; sent again; sent again with other bytes.
    let mut writer = begin_file(&*store, &tenant, CommandId(Uuid::new_v4()));
    writer.write(&file[..PIECE_BYTES]).expect("written");
    drop(writer);
    drop(received(&*store, &tenant, 2, &file));
    let again = received(&*store, &tenant, 1, &file);
    assert_eq!(store.accept(again).await.expect("accepted"), Accepted::Replayed(id));
    let other = NewCommand { request_digest: [9; 32], ..received(&*store, &tenant, 1, &file) };
    assert_eq!(store.accept(other).await.expect("refused"), Accepted::SignatureReused);
    come_to(home, 1).await;
    // Under another command than it was received for.
    let mixed_up = NewCommand { id: CommandId(Uuid::new_v4()), ..received(&*store, &tenant, 3, &file) };
    assert!(matches!(store.accept(mixed_up).await, Err(StoreError::Fault(_))));
    come_to(home, 1).await;
    // The queue is full.
    for number in 10..14 {
        accept(&*store, &tenant, number).await;
    }
    let before = home.files();
    let full = received(&*store, &tenant, 20, &file);
    assert_eq!(store.accept(full).await.expect("turned away"), FULL);
    come_to(home, before).await;
    let claim = claim(&*store).await;
    let mut tx = begin(&*store, &claim, NOW);
    assert!(claim.command == id && read(tx.payload().expect("a payload")) == file, "the first one's is untouched");
}

async fn a_file_that_a_crash_left_goes(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    let file = file(PIECE_BYTES + 1);
    let accepted = received(&*store, &tenant, 1, &file);
    let id = accepted.id;
    store.accept(accepted).await.expect("accepted");
    let mut writer = begin_file(&*store, &tenant, CommandId(Uuid::new_v4()));
    writer.write(&file[..PIECE_BYTES]).expect("written");
    std::mem::forget(writer);
    std::mem::forget(received(&*store, &tenant, 2, &file));
    assert_eq!(home.files(), 3);
    drop(store);
    home.forsake();
    let store = home.open().await;
    come_to(home, 1).await;
    let claim = claim(&*store).await;
    let mut tx = begin(&*store, &claim, NOW);
    assert!(claim.command == id && read(tx.payload().expect("a payload")) == file, "what was accepted is there");
}

async fn a_file_of_no_program_is_refused(home: &dyn Home) {
    let store = home.open().await;
    let (mine, other) = (tenant(&*store, "One").await, tenant(&*store, "Two").await);
    let id = CommandId(Uuid::new_v4());
    assert!(matches!(store.receive(other.account, mine.program, id), Err(StoreError::Refused(_))));
    come_to(home, 0).await;
}
