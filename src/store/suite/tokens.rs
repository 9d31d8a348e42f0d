//! What every home keeps of a token beside its secret: what it may do.

use super::*;
use crate::store::AccountPageStart;

scenes![a_scope_is_kept_and_listed, a_scope_has_programs_of_its_account_only, a_page_is_of_the_programs_reached];

fn only(programs: &[ProgramId]) -> Programs {
    Programs::Only(programs.iter().copied().collect())
}

fn limited(token: &str, scope: Scope) -> NewToken {
    NewToken { scope, ..new_token(token, "Limited", "a secret") }
}

async fn a_scope_is_kept_and_listed(home: &dyn Home) {
    let store = home.open().await;
    let one = tenant(&*store, "One").await;
    let second = program(&*store, one.account, "Second").await.id;
    let scopes = [
        Scope { read_only: true, ..Scope::FULL },
        Scope { read_only: false, programs: only(&[one.program]) },
        Scope { read_only: true, programs: only(&[second, one.program]) },
    ];
    for (number, scope) in scopes.iter().enumerate() {
        let token = limited(&format!("T{number}"), scope.clone());
        store.create_token(one.account, token, NOW).await.expect("a token");
    }
    store.close().await.expect("closed");
    drop(store);
    let store = home.open().await;
    for (number, scope) in scopes.iter().enumerate() {
        let token = store.token(&format!("T{number}")).await.expect("readable").expect("the token");
        assert_eq!((&token.scope, token.secret.expose()), (scope, "a secret"));
    }
    let listed: Vec<Scope> =
        store.tokens(Some(one.account)).await.expect("tokens").into_iter().map(|token| token.scope).collect();
    assert_eq!(listed, [&[Scope::FULL], &scopes[..]].concat());
}

async fn a_scope_has_programs_of_its_account_only(home: &dyn Home) {
    let store = home.open().await;
    let (one, two) = (tenant(&*store, "One").await, tenant(&*store, "Two").await);
    let nowhere = ProgramId(Uuid::from_u128(7));
    for programs in [only(&[two.program]), only(&[one.program, two.program]), only(&[nowhere]), only(&[])] {
        let token = limited("T", Scope { read_only: false, programs });
        refused(store.create_token(one.account, token, NOW).await);
    }
    assert_eq!(store.token("T").await.expect("readable"), None, "nothing was made");
    assert_eq!(store.tokens(Some(one.account)).await.expect("tokens").len(), 1);
}

async fn a_page_is_of_the_programs_reached(home: &dyn Home) {
    let store = home.open().await;
    let first = tenant(&*store, "One").await;
    let second = program(&*store, first.account, "Second").await;
    let second = Tenant { program: second.id, tag: second.tag, ..first };
    import(&*store, &first, 1, &[addition(1), addition(2)], NOW).await;
    import(&*store, &second, 2, &[addition(1), addition(2), addition(3)], NOW).await;
    let filter = ContactFilter { active_only: false, updated_after_ms: None };
    let page = async |programs: Programs, start| {
        let page = store.contacts_of_account(first.account, &programs, filter, start, 10).await.expect("a page");
        let parts = page.parts.iter().map(|(program, contacts)| (program.id, contacts.len()));
        (page.total, parts.collect::<Vec<_>>())
    };
    let start = AccountPageStart::Offset(0);
    assert_eq!(page(Programs::All, start).await, (5, vec![(first.program, 2), (second.program, 3)]));
    assert_eq!(page(only(&[second.program]), start).await, (3, vec![(second.program, 3)]));
    assert_eq!(page(only(&[first.program]), AccountPageStart::Offset(1)).await, (2, vec![(first.program, 1)]));
    assert_eq!(page(only(&[]), start).await, (0, Vec::new()));
    // After a contact that is not reached comes nothing, as after one that is not there.
    let foreign = contacts(&*store, &first).await[0].id;
    assert_eq!(page(only(&[second.program]), AccountPageStart::After(foreign)).await, (3, Vec::new()));
}
