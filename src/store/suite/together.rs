//! What is looked up and accepted together: everybody gets their own answer, and it is the one of now.

use super::*;
use crate::tenant::Token;

scenes![
    a_crowd_gets_each_its_own_answer,
    what_is_revoked_beside_is_refused_at_once,
    a_crowd_is_accepted_each_by_its_own_right,
    one_signature_for_two_programs_is_one_request,
    who_goes_away_while_accepting_takes_nothing_from_the_others,
];

/// Asks for all at once.
async fn tokens(store: &Arc<dyn Store>, texts: &[String]) -> Vec<Option<Token>> {
    let asked: Vec<_> = texts
        .iter()
        .map(|text| {
            let (store, text) = (Arc::clone(store), text.clone());
            tokio::spawn(async move { store.token(&text).await.expect("readable") })
        })
        .collect();
    all(asked).await
}

async fn commands(store: &Arc<dyn Store>, asked: &[(AccountId, CommandId)]) -> Vec<Option<Command>> {
    let asked: Vec<_> = asked
        .iter()
        .map(|&(account, command)| {
            let store = Arc::clone(store);
            tokio::spawn(async move { store.command(account, command).await.expect("readable") })
        })
        .collect();
    all(asked).await
}

async fn all<T>(asked: Vec<tokio::task::JoinHandle<T>>) -> Vec<T> {
    let mut answers = Vec::new();
    for asked in asked {
        answers.push(asked.await.expect("no panic"));
    }
    answers
}

fn four_times<T: Clone>(of: &[T]) -> Vec<T> {
    std::iter::repeat_n(of, 4).flatten().cloned().collect()
}

async fn a_crowd_gets_each_its_own_answer(home: &dyn Home) {
    let store = home.open().await;
    let mut texts = vec!["nobody's".to_owned(), String::new(), "with\0a NUL".to_owned()];
    let mut asked = Vec::new();
    let mut expected = Vec::new();
    for name in ["One", "Two", "Three"] {
        let tenant = tenant(&*store, name).await;
        for number in 0..10 {
            let (text, secret) = (format!("{name} {number}"), format!("secret {name} {number}"));
            store.create_token(tenant.account, new_token(&text, &text, &secret), NOW).await.expect("a token");
            if number % 4 == 3 {
                store.revoke_token(&text, NOW).await.expect("revoked");
            }
            texts.push(text);
        }
        let ids =
            [accept(&*store, &tenant, 1).await, accept(&*store, &tenant, 2).await, accept(&*store, &tenant, 3).await];
        expected.push((tenant.account, ids));
    }
    // Of each program the first is complete, the second runs, the third waits.
    for _ in &expected {
        let claim = claim(&*store).await;
        store.finish(&claim, &report(7), "trace", NOW).await.expect("finished");
    }
    for _ in &expected {
        claim(&*store).await;
    }
    let complete = CommandState::Complete { report: Box::new(report(7)), trace: "trace".to_owned(), finished_ms: NOW };
    let mut states = Vec::new();
    for (account, ids) in &expected {
        let of = [complete.clone(), CommandState::Running { rows: 0 }, CommandState::Queued { position: 2 }];
        for (id, state) in ids.iter().zip(of) {
            asked.push((*account, *id));
            states.push(Some((*id, *account, state)));
        }
        asked.push((*account, CommandId(Uuid::new_v4())));
        states.push(None);
        // Another account's.
        asked.push((AccountId(Uuid::new_v4()), ids[0]));
        states.push(None);
    }
    asked.push((expected[0].0, expected[1].1[0]));
    states.push(None);

    for _ in 0..5 {
        // Each several times, so that equal questions meet.
        let (many_texts, many_asked) = (four_times(&texts), four_times(&asked));
        let (found, commands) = tokio::join!(tokens(&store, &many_texts), commands(&store, &many_asked));
        for (text, found) in many_texts.iter().zip(found) {
            let number = text.rsplit_once(' ').and_then(|(_, number)| number.parse::<u32>().ok());
            match number {
                Some(number) if number % 4 != 3 => {
                    let found = found.expect("the token");
                    let secret = found.secret.expose();
                    assert_eq!((&found.token, &found.name, secret), (text, text, &*format!("secret {text}")));
                }
                Some(_) | None => assert_eq!(found, None, "{text}"),
            }
        }
        for (state, found) in four_times(&states).into_iter().zip(commands) {
            assert_eq!(found.map(|found| (found.id, found.account, found.state)), state);
        }
    }
}

async fn what_is_revoked_beside_is_refused_at_once(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    let beside = home.open_beside().await;
    let texts: Vec<String> = (0..20).map(|number| format!("T{number}")).collect();
    for text in &texts {
        store.create_token(tenant.account, new_token(text, text, "a secret"), NOW).await.expect("a token");
    }
    // A crowd asks for them all the time, so that the questions meet others on their way.
    let crowd: Vec<_> = (0..8)
        .map(|_| {
            let (store, texts) = (Arc::clone(&store), texts.clone());
            tokio::spawn(async move {
                loop {
                    for text in &texts {
                        store.token(text).await.expect("readable");
                    }
                }
            })
        })
        .collect();
    for text in &texts {
        assert!(store.token(text).await.expect("readable").is_some());
        beside.revoke_token(text, NOW).await.expect("revoked");
        assert_eq!(store.token(text).await.expect("readable"), None, "{text}");
    }
    // Who goes away in the middle of a question takes nothing from the others.
    crowd.iter().for_each(tokio::task::JoinHandle::abort);
    assert!(store.token("token of One").await.expect("readable").is_some());
}

const ROOM: QueueLimits = QueueLimits { of_program_max: 1_000, of_account_max: 1_000 };

type Answered = Result<Accepted, StoreError>;

/// Has all accepted at once: ids and answers.
async fn accept_all(store: &Arc<dyn Store>, requests: Vec<NewCommand>) -> Vec<(CommandId, Answered)> {
    let asked: Vec<_> = requests
        .into_iter()
        .map(|request| {
            let store = Arc::clone(store);
            tokio::spawn(async move { (request.id, store.accept(request).await) })
        })
        .collect();
    all(asked).await
}

/// The one that was new; of the others, how many were answered so.
fn the_new_one(answers: &[(CommandId, Answered)], of_others: impl Fn(CommandId) -> Accepted) -> (CommandId, usize) {
    let is_new = |(id, answer): &&(CommandId, Answered)| *answer == Ok(Accepted::New(*id));
    let new: Vec<CommandId> = answers.iter().filter(is_new).map(|(id, _)| *id).collect();
    let [new] = new[..] else { unreachable!("{answers:?}") };
    (new, answers.iter().filter(|(_, answer)| *answer == Ok(of_others(new))).count())
}

async fn a_crowd_is_accepted_each_by_its_own_right(home: &dyn Home) {
    let store = home.open_with(ROOM).await;
    let (one, two) = (tenant(&*store, "One").await, tenant(&*store, "Two").await);
    store.create_token(one.account, new_token("second", "Second", "S"), NOW).await.expect("a token");
    let second = Tenant { token: store.token("second").await.expect("readable").expect("the token").number, ..one };
    let mut requests = Vec::new();
    // Each by itself, also under one signature of two tokens.
    requests.extend((1..=40).flat_map(|number| [request(&one, number), request(&second, number)]));
    // The same again; other bytes under one signature; keys.
    requests.extend((0..4).map(|_| request(&one, 100)));
    requests.extend((0..4).map(|digest| NewCommand { request_digest: [digest; 32], ..request(&one, 101) }));
    requests.extend((110..114).map(|number| with_key(request(&one, number), "the same", 1)));
    requests.extend((120..124).map(|number| with_key(request(&one, number), "reused", number)));
    requests.extend((130..134).map(|number| with_key(request(&one, number), &format!("key {number}"), 1)));
    // What cannot be.
    requests.extend((140..144).map(|number| NewCommand { account: two.account, ..request(&one, number) }));
    requests.extend((150..154).map(|number| NewCommand { sender: Sender::Token(two.token), ..request(&one, number) }));
    let answers = accept_all(&store, requests.clone()).await;

    let (each, rest) = answers.split_at(80);
    assert!(each.iter().all(|(id, answer)| *answer == Ok(Accepted::New(*id))), "{each:?}");
    let mut new: Vec<CommandId> = each.iter().map(|(id, _)| *id).collect();
    let [same, reused, same_key, key_reused, keys, no_program, no_token] = rest.chunks(4).collect::<Vec<_>>()[..]
    else {
        unreachable!("seven kinds")
    };
    for (answers, of_others) in [
        (same, Box::new(Accepted::Replayed) as Box<dyn Fn(CommandId) -> Accepted>),
        (reused, Box::new(|_| Accepted::SignatureReused)),
        (same_key, Box::new(Accepted::Replayed)),
        (key_reused, Box::new(|_| Accepted::IdempotencyKeyReused)),
    ] {
        let (id, others) = the_new_one(answers, of_others);
        assert_eq!(others, 3, "{answers:?}");
        new.push(id);
    }
    assert!(keys.iter().all(|(id, answer)| *answer == Ok(Accepted::New(*id))), "{keys:?}");
    new.extend(keys.iter().map(|(id, _)| *id));
    for (_, answer) in no_program.iter().chain(no_token) {
        assert!(matches!(answer, Err(StoreError::Refused(_))), "{answer:?}");
    }

    // What was new is there with its own payload, once, and nothing else is.
    let mut found = Vec::new();
    while let Some(claim) = store.claim(Reach::Any, NOW).await.expect("claimable") {
        let mut upload = String::new();
        begin(&*store, &claim, NOW).payload().expect("there").read_to_string(&mut upload).expect("readable");
        let sent = requests.iter().find(|request| request.id == claim.command).expect("one of them");
        assert_eq!(upload.as_bytes(), sent.payload.held());
        let command = command(&*store, &one, claim.command).await;
        assert_eq!(command.from, if sent.token() == one.token { "One" } else { "Second" });
        store.finish(&claim, &report(0), "trace", NOW).await.expect("finished");
        found.push(claim.command);
    }
    new.sort_unstable_by_key(|id| id.0);
    found.sort_unstable_by_key(|id| id.0);
    assert_eq!(found, new);
    // And all is remembered.
    for ((id, answer), request) in answers.iter().zip(requests) {
        let again = store.accept(NewCommand { id: CommandId(Uuid::new_v4()), ..request }).await;
        match answer {
            Ok(Accepted::New(_)) => assert_eq!(again, Ok(Accepted::Replayed(*id))),
            answer => assert_eq!(again, *answer),
        }
    }
}

async fn one_signature_for_two_programs_is_one_request(home: &dyn Home) {
    let store = home.open_with(ROOM).await;
    let one = tenant(&*store, "One").await;
    let beside = Tenant { program: program(&*store, one.account, "Beside").await.id, ..one };
    // In both orders, so that two crowds want the same signatures from both ends.
    let of = |tenant: &Tenant, number: u8, digest: u8| NewCommand {
        request_digest: [digest; 32],
        ..request(tenant, number)
    };
    let mut requests = Vec::new();
    for number in 1..=30 {
        requests.push(of(&one, number, 1));
        requests.push(of(&beside, 31 - number, 2));
    }
    let answers = accept_all(&store, requests.clone()).await;
    for number in 1..=30 {
        let of_number: Vec<_> = (requests.iter().zip(&answers))
            .filter(|(request, _)| request.signature == [number; 32])
            .map(|(_, answer)| answer.clone())
            .collect();
        let (_, reused) = the_new_one(&of_number, |_| Accepted::SignatureReused);
        assert_eq!(reused, 1, "{of_number:?}");
    }
    assert_eq!(claimed_ids(&*store).await.len(), 30);
}

async fn who_goes_away_while_accepting_takes_nothing_from_the_others(home: &dyn Home) {
    let store = home.open_with(ROOM).await;
    let one = tenant(&*store, "One").await;
    let asked: Vec<_> = (1..=60)
        .map(|number| {
            let (store, request) = (Arc::clone(&store), request(&one, number));
            tokio::spawn(async move { store.accept(request).await })
        })
        .collect();
    for (number, asked) in asked.into_iter().enumerate() {
        if number % 2 == 0 {
            asked.abort();
        } else {
            assert!(matches!(asked.await.expect("no panic"), Ok(Accepted::New(_))));
        }
    }
    // Whatever became of them, sent again each is there once.
    for number in 1..=60 {
        let again = store.accept(request(&one, number)).await.expect("an answer");
        assert!(matches!(again, Accepted::New(_) | Accepted::Replayed(_)), "{again:?}");
    }
    assert_eq!(claimed_ids(&*store).await.len(), 60);
}
