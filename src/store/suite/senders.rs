//! Who sends commands: somebody with a token, or a user at the console.

use super::*;
use crate::store::CommandQuery;

scenes![
    a_users_command_is_one_as_any_other,
    a_sender_that_is_not_there_is_refused,
    what_was_sent_is_known_by_its_digest,
];

/// A request of a user, of the same number as [`request`]'s.
fn of_user(tenant: &Tenant, number: u8, name: &str) -> NewCommand {
    NewCommand { sender: Sender::User(name.to_owned()), ..request(tenant, number) }
}

fn again(new: &NewCommand) -> NewCommand {
    NewCommand { id: CommandId(Uuid::new_v4()), ..new.clone() }
}

async fn a_users_command_is_one_as_any_other(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    let first = with_key(of_user(&tenant, 1, "zoë"), "K", 1);
    assert_eq!(store.accept(first.clone()).await.expect("accepted"), Accepted::New(first.id));
    let large = NewCommand { payload: Payload::text("phone\n".repeat(20_000)), ..of_user(&tenant, 2, "other") };
    assert_eq!(store.accept(large.clone()).await.expect("accepted"), Accepted::New(large.id));

    // The same again is the same request, also by its key, whichever user sends it; another one is told.
    assert_eq!(store.accept(again(&first)).await, Ok(Accepted::Replayed(first.id)));
    assert_eq!(store.accept(again(&large)).await, Ok(Accepted::Replayed(large.id)));
    let by_key = NewCommand { signature: [3; 32], ..again(&first) };
    assert_eq!(store.accept(by_key).await, Ok(Accepted::Replayed(first.id)));
    let other_bytes = NewCommand { request_digest: [9; 32], ..again(&first) };
    assert_eq!(store.accept(other_bytes).await, Ok(Accepted::SignatureReused));
    let remembered = store.remembered(TokenNumber::OF_USERS, &[1; 32]).await.expect("readable");
    assert_eq!(remembered.map(|remembered| remembered.command), Some(first.id));
    // A token's request of the same signature is another one.
    let of_token = request(&tenant, 1);
    assert_eq!(store.accept(of_token.clone()).await, Ok(Accepted::New(of_token.id)));

    let listed = store.commands(tenant.account, tenant.program, CommandQuery { state: None, offset: 0, count: 10 });
    let listed = listed.await.expect("a page").commands;
    let names: Vec<(CommandId, &str)> = listed.iter().map(|command| (command.id, &*command.from)).collect();
    assert_eq!(names, [(of_token.id, "One"), (large.id, "other"), (first.id, "zoë")]);

    // It runs, in its turn; and a restart changes nothing.
    drop(store);
    let store = home.open().await;
    assert_eq!(claimed_ids(&*store).await, [first.id, large.id, of_token.id]);
    assert_eq!(command(&*store, &tenant, large.id).await.from, "other");
    assert_eq!(store.accept(again(&first)).await, Ok(Accepted::Replayed(first.id)));
}

async fn a_sender_that_is_not_there_is_refused(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    // The number that users' commands have is nobody's token.
    for token in [TokenNumber::OF_USERS, TokenNumber(77)] {
        let new = NewCommand { sender: Sender::Token(token), ..request(&tenant, 1) };
        refused(store.accept(new).await);
    }
    // A user is nobody in a program of another account.
    let other = program(&*store, store.create_account("Other", NOW).await.expect("an account").id, "P").await;
    refused(store.accept(NewCommand { program: other.id, ..of_user(&tenant, 1, "zoë") }).await);
    assert_eq!(store.remembered(TokenNumber::OF_USERS, &[1; 32]).await, Ok(None));
    assert_eq!(claimed_ids(&*store).await, []);
}

async fn what_was_sent_is_known_by_its_digest(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    let large = NewCommand { payload: Payload::text("phone\n".repeat(20_000)), ..request(&tenant, 2) };
    for new in [request(&tenant, 1), large, NewCommand { body_digest: None, ..request(&tenant, 3) }] {
        assert_eq!(new.body_digest.unwrap_or(new.request_digest), new.request_digest);
        store.accept(new).await.expect("accepted");
    }
    let same = "SELECT count(*) FROM command JOIN signature ON signature.command = command.id
                WHERE body_digest = request_digest";
    assert_eq!(home.past_the_store(same), 2);
    assert_eq!(home.past_the_store("SELECT count(*) FROM command WHERE body_digest IS NULL"), 1);
}
