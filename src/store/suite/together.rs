//! What is looked up together: everybody gets their own answer, and it is the one of now.

use super::*;
use crate::tenant::Token;

scenes![a_crowd_gets_each_its_own_answer, what_is_revoked_beside_is_refused_at_once];

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
