//! The store is away for a while: who watches is told, requests are put off, and nothing is lost or done twice.

use crate::harness::{Answer, Client, Home, Service};
use crate::watching::{ask, metrics, value, watch_address};

mod on_sqlite {
    use super::*;

    /// The catalogue cannot be opened: in its place is a directory.
    #[test]
    fn a_store_that_is_away_is_told_and_comes_back() {
        let home = Home::sqlite();
        let (catalogue, kept) = (home.data().join("catalogue.db"), home.data().join("kept.db"));
        let away = || {
            std::fs::rename(&catalogue, &kept).unwrap();
            std::fs::create_dir(&catalogue).unwrap();
        };
        let back = || {
            std::fs::remove_dir(&catalogue).unwrap();
            std::fs::rename(&kept, &catalogue).unwrap();
        };
        super::a_store_that_is_away_is_told_and_comes_back(home, away, back);
    }
}

mod on_postgres {
    use super::*;

    /// The database lets nobody in, and everybody is put out.
    #[test]
    fn a_store_that_is_away_is_told_and_comes_back() {
        let home = Home::postgres();
        let url = home.place();
        let (server, database) = url.rsplit_once('/').unwrap();
        let admin = format!("{server}/postgres");
        let allow = |allowed: bool| {
            let sql = format!("ALTER DATABASE {database} WITH ALLOW_CONNECTIONS {allowed}");
            crate::postgres::query_in(&admin, &sql);
        };
        let away = || {
            allow(false);
            let sql = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'");
            crate::postgres::query_in(&admin, &sql);
        };
        super::a_store_that_is_away_is_told_and_comes_back(home, away, || allow(true));
    }
}

fn ready(address: &str) -> (u16, String) {
    let Answer { status, body, .. } = ask(address, "GET", "/readyz");
    (status, body)
}

/// A request of the client's, put off.
fn is_put_off(client: &Client, request: &crate::harness::Request) {
    let answer = client.send(request);
    let problem = answer.problem(503, "busy");
    assert_eq!((answer.header("retry-after"), problem.get("limit")), (Some("5"), None), "{problem:#}");
}

fn a_store_that_is_away_is_told_and_comes_back(home: Home, away: impl Fn(), back: impl Fn()) {
    let account = home.new_account("College");
    let program = home.new_program(&account, "Fall");
    let service: Service = home.with("ROSTER_METRICS_LISTEN", "127.0.0.1:0").with("NO_COLOR", "1").serve();
    let client = service.client_of(&account, &program);
    let import = client.import_request("add", "ignore", "row", "customer_id,phone\nA,2395745030\n");
    away();
    let told = (503, "the store does not answer\n".to_owned());
    for address in [&service.address, &watch_address(&service)] {
        assert_eq!(ready(address), told);
        // It lives all the same: nobody is to restart it.
        assert_eq!(ask(address, "GET", "/healthz").status, 200);
    }
    let numbers = metrics(&watch_address(&service));
    assert_eq!(value(&numbers, "roster_store_up"), 0.0);
    assert!(!numbers.contains("roster_queue_commands"), "what is not known is not told:\n{numbers}");
    is_put_off(&client, &import);
    is_put_off(&client, &client.request("GET", &format!("/v1/programs/{program}"), ""));
    back();
    // Connections that were closed may be found out one after the other.
    while ready(&service.address).0 != 200 {}
    assert_eq!(value(&metrics(&watch_address(&service)), "roster_store_up"), 1.0);
    let answer = std::iter::repeat_with(|| client.send(&import)).find(|answer| answer.status != 503).unwrap();
    assert_eq!(answer.header("idempotency-replayed"), None);
    client.completed(&answer.location());
    assert_eq!(client.contacts().len(), 1);
}
