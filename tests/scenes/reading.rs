//! Reading (contract, section 5): programs, contacts in pages and by cursor, one contact, and the export.

use serde_json::{Value, json};

use crate::harness::{Client, Home, body, contacts_csv, counts, field, text};

scenes!(
    programs_are_listed_whole_or_in_pages,
    contacts_are_read_in_pages,
    a_cursor_leads_through_all_contacts,
    an_account_is_read_over_all_its_programs,
    one_contact_is_read_by_its_id,
    another_account_s_things_are_not_there,
    an_export_imported_again_changes_nothing
);

fn keys(object: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

fn items(page: &Value) -> &Vec<Value> {
    page["items"].as_array().unwrap()
}

fn link(page: &Value, rel: &str) -> Option<String> {
    let links = page["links"].as_array().unwrap();
    links.iter().find(|link| link["rel"] == rel).map(|link| text(&link["uri"]))
}

fn figures(page: &Value) -> [Value; 7] {
    ["total", "offset", "count", "nextOffset", "prevOffset", "lastOffset", "pages"].map(|key| page[key].clone())
}

const ENVELOPE: [&str; 9] =
    ["count", "items", "lastOffset", "links", "nextOffset", "offset", "pages", "prevOffset", "total"];

fn programs_are_listed_whole_or_in_pages(home: Home) {
    let service = home.serve();
    let client = service.client();
    let spring = service.home.new_program(&client.account, "Spring");
    let old = service.home.new_program(&client.account, "Old");
    assert!(service.home.command(&["program", "archive", &old]).status().unwrap().success());
    service.new_account();
    let path = format!("/v1/accounts/{}/programs", client.account.id);
    let program = |id: &str, name: &str, active: bool| json!({ "id": id, "accountId": client.account.id, "name": name, "active": active });
    let (first, second, third) =
        (program(&client.program, "Fall", true), program(&spring, "Spring", true), program(&old, "Old", false));

    let active = client.get(&path).json();
    assert_eq!(keys(&active), ENVELOPE);
    assert_eq!(items(&active), &[first.clone(), second.clone()]);
    assert_eq!(figures(&active), [json!(2), json!(0), json!(2), Value::Null, Value::Null, json!(0), json!(1)]);
    assert_eq!(link(&active, "self"), Some(path.clone()));
    let all = client.get(&format!("{path}?active=all")).json();
    assert_eq!(items(&all), &[first, second.clone(), third]);
    let page = client.get(&format!("{path}?active=all&count=1&offset=1")).json();
    assert_eq!(items(&page), &[second]);
    assert_eq!(figures(&page), [json!(3), json!(1), json!(1), json!(2), json!(0), json!(2), json!(3)]);
    assert_eq!(link(&page, "next"), Some(format!("{path}?active=all&count=1&offset=2")));
    assert_eq!(items(&client.get(&format!("{path}?offset=9")).json()), &[] as &[Value]);
    for bad in ["count=0", "active=no", "offset=x"] {
        client.get(&format!("{path}?{bad}")).problem(400, "bad_parameter");
    }

    let none = service.new_account();
    let none = Client { account: none.clone(), ..client.clone() };
    let empty = none.get(&format!("/v1/accounts/{}/programs", none.account.id)).json();
    assert_eq!(figures(&empty), [json!(0), json!(0), json!(0), Value::Null, Value::Null, json!(0), json!(0)]);
}

fn contacts_are_read_in_pages(home: Home) {
    let service = home.serve();
    let client = service.client();
    client.import("add", "ignore", "row", &contacts_csv(0, 60));
    client.import("add", "active", "row", "customer_id,active\nc0000003,no\n");
    let path = format!("/v1/programs/{}/participants", client.program);
    let page = client.get(&path).json();
    let mut keys: Vec<&String> = page.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(
        keys.iter().map(|key| key.as_str()).collect::<Vec<_>>(),
        ["count", "items", "lastOffset", "links", "nextOffset", "offset", "pages", "prevOffset", "total"]
    );
    let figures = |page: &Value| {
        ["total", "offset", "count", "nextOffset", "prevOffset", "lastOffset", "pages"].map(|key| page[key].clone())
    };
    assert_eq!(figures(&page), [json!(59), json!(0), json!(25), json!(25), Value::Null, json!(50), json!(3)]);
    let item = &page["items"][0];
    assert_eq!(item["customerId"], "c0000000");
    assert_eq!(item.as_object().unwrap().len(), 4);
    let last = client.get(&format!("{path}?offset=50&count=25&active=all")).json();
    assert_eq!(figures(&last), [json!(60), json!(50), json!(25), Value::Null, json!(25), json!(50), json!(3)]);
    assert_eq!(last["items"].as_array().unwrap().len(), 10);
    let rels: Vec<String> = last["links"].as_array().unwrap().iter().map(|link| text(&link["rel"])).collect();
    assert_eq!(rels, ["self", "first", "prev", "last"]);
    let beyond = client.get(&format!("{path}?offset=1000")).json();
    assert_eq!((beyond["items"].as_array().unwrap().len(), &beyond["total"]), (0, &json!(59)));
    let next = page["links"].as_array().unwrap().iter().find(|link| link["rel"] == "next").unwrap();
    assert_eq!(client.get(&text(&next["uri"])).json()["items"][0]["customerId"], "c0000026");
    let changed = client.contact("c0000003");
    let updated =
        changed["profile"].as_array().unwrap().iter().find(|entry| entry["name"] == "active").unwrap()["updated"]
            .clone();
    let created = text(&client.contact("c0000004")["created"]);
    let after = |moment: &str| {
        client.get(&format!("{path}?active=all&updated-after={}", moment.replace('Z', "+00:00"))).json()["total"]
            .clone()
    };
    assert_eq!((after(&created), after(&text(&updated))), (json!(1), json!(0)));
    // Without an offset it is UTC, with or without a T.
    let bare = text(&updated).replace('Z', "");
    assert_eq!((after(created.trim_end_matches('Z')), after(&bare)), (json!(1), json!(0)));
    assert_eq!((after(&bare.replace('T', "%20")), after("2000-01-01")), (json!(0), after("2000-01-01T00:00:00Z")));
    let far = client.get(&format!("{path}?offset=99999999999999999999&count=99999999999999999999")).json();
    assert_eq!((far["items"].as_array().unwrap().len(), &far["count"]), (0, &json!(1_000)));
    for bad in ["count=0", "count=x", "offset=-1", "active=yes", "type=some", "updated-after=yesterday"] {
        client.get(&format!("{path}?{bad}")).problem(400, "bad_parameter");
    }
}

/// By the links alone, as a client follows them; the offsets stay those of a client that counts.
fn a_cursor_leads_through_all_contacts(home: Home) {
    let service = home.serve();
    let client = service.client();
    client.import("add", "ignore", "row", &contacts_csv(0, 70));
    client.import("add", "active", "row", "customer_id,active\nc0000003,no\nc0000040,no\n");
    let mut path = format!("/v1/programs/{}/participants?count=20&type=full", client.program);
    let mut seen = Vec::new();
    let mut pages = 0;
    loop {
        let page = client.get(&path).json();
        assert_eq!((&page["total"], &page["offset"]), (&json!(68), &json!(pages * 20)));
        seen.extend(items(&page).iter().map(|item| text(&item["customerId"])));
        pages += 1;
        // What comes in meanwhile is behind, and shifts nothing.
        let Some(next) = link(&page, "next") else { break };
        assert!(next.contains("after="), "{next}");
        path = next;
    }
    let expected = (0..70).filter(|number| ![3, 40].contains(number)).map(|number| format!("c{number:07}"));
    assert_eq!((pages, seen), (4, expected.collect()));

    let last = client.contacts().last().unwrap()["id"].clone();
    let beyond = client.get(&format!("/v1/programs/{}/participants?after={}", client.program, text(&last))).json();
    assert_eq!((items(&beyond).len(), link(&beyond, "next")), (0, None));
    let other = service.client();
    other.import("add", "ignore", "row", "phone\n2395745030\n");
    let foreign = text(&other.contacts()[0]["id"]);
    for bad in [foreign.as_str(), "1", &client.program] {
        client.get(&format!("/v1/programs/{}/participants?after={bad}", client.program)).problem(400, "bad_parameter");
    }
}

fn an_account_is_read_over_all_its_programs(home: Home) {
    let service = home.serve();
    let client = service.client();
    let spring = Client { program: service.home.new_program(&client.account, "Spring"), ..client.clone() };
    service.client().import("add", "ignore", "row", &contacts_csv(0, 5));
    client.import("add", "ignore", "row", &contacts_csv(0, 30));
    spring.import("add", "ignore", "row", &contacts_csv(100, 12));
    spring.import("add", "active", "row", "customer_id,active\nc0000105,no\n");
    let path = format!("/v1/accounts/{}/participants", client.account.id);
    let page = client.get(&path).json();
    assert_eq!(keys(&page), ENVELOPE);
    assert_eq!(figures(&page), [json!(41), json!(0), json!(25), json!(25), Value::Null, json!(25), json!(2)]);
    let rest = client.get(&link(&page, "next").unwrap()).json();
    let ids = |page: &Value| items(page).iter().map(|item| text(&item["customerId"])).collect::<Vec<_>>();
    let expected = (25..30).chain((100..112).filter(|number| *number != 105)).map(|number| format!("c{number:07}"));
    assert_eq!(ids(&rest), expected.collect::<Vec<_>>());
    assert_eq!(ids(&client.get(&format!("{path}?offset=25")).json()), ids(&rest), "by offset as by cursor");
    let full = client.get(&format!("{path}?type=full&active=all&offset=29&count=2")).json();
    let names: Vec<String> = items(&full).iter().map(|item| text(&item["programName"])).collect();
    assert_eq!((names, &full["total"]), (vec!["Fall".to_owned(), "Spring".to_owned()], &json!(42)));
}

fn one_contact_is_read_by_its_id(home: Home) {
    let service = home.serve();
    let client = service.client();
    client.import("add", "ignore", "row", &contacts_csv(0, 3));
    let listed = client.contacts();
    let id = text(&listed[1]["id"]);
    let path = format!("/v1/participants/{id}");
    assert_eq!(client.get(&path).json(), listed[1]);
    assert_eq!(client.get(&format!("{path}?type=full")).json(), listed[1]);
    assert_eq!(client.get(&format!("/v1/participants/{}", id.to_uppercase())).json(), listed[1]);
    client.get(&format!("{path}?type=simple")).problem(400, "bad_parameter");
    for none in [&client.program, "1", "", &id.replace('-', "")] {
        client.get(&format!("/v1/participants/{none}")).problem(404, "not_found");
    }
}

fn another_account_s_things_are_not_there(home: Home) {
    let service = home.serve();
    let client = service.client();
    client.import("add", "ignore", "row", &contacts_csv(0, 3));
    let stranger = service.client();
    let contact = text(&client.contacts()[0]["id"]);
    for path in [
        format!("/v1/accounts/{}/programs", client.account.id),
        format!("/v1/accounts/{}/participants", client.account.id),
        format!("/v1/programs/{}", client.program),
        format!("/v1/programs/{}?type=schema", client.program),
        format!("/v1/programs/{}/participants", client.program),
        format!("/v2/programs/{}/participants.csv", client.program),
        format!("/v1/participants/{contact}"),
    ] {
        assert_eq!(client.get(&path).status, 200, "{path}");
        stranger.get(&path).problem(404, "not_found");
    }
}

fn an_export_imported_again_changes_nothing(home: Home) {
    let service = home.serve();
    let client = service.client();
    let export = |out: &mut Vec<String>| {
        let output = service
            .home
            .command(&["export", "--program", &client.program])
            .env("ROSTER_URL", format!("http://{}", client.address))
            .env("ROSTER_TOKEN", &client.account.token)
            .env("ROSTER_SECRET", &client.account.secret)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        out.push(String::from_utf8(output.stdout).unwrap());
    };
    let mut exports = Vec::new();
    export(&mut exports);
    assert_eq!(exports[0].lines().count(), 1, "a program without contacts has a header");
    client.import("add", "ignore", "row", &contacts_csv(0, 5_000));
    let odd = "customer_id,phone,first_name,note,credits\n\
               \"o,1\",7165419523,\"\"\"Bo\"\" \r\nRay\",\"=1+1\",007\n,7165419524,,'x,\n";
    assert_eq!(counts(&client.import("add", "ignore", "row", odd)).0[1], 1, "blank credits are no number");
    client.import("add", "active,note", "row", "customer_id,active,note\nc0000007,no,\n");
    let before = client.contacts();
    export(&mut exports);
    let csv = &exports[1].clone();
    assert!(csv.starts_with(
        "signalvine_id,customer_id,phone,first_name,last_name,active,group_list,timezone,\
         created_at,program_phone,phone_valid,related_id,honors,credits,note\n"
    ));
    let all = csv.lines().next().unwrap();
    let status = client.completed(
        &client
            .send(&client.request("POST", &client.participants_path(), body(&client.program, "add", all, "tx", csv)))
            .location(),
    );
    assert_eq!(counts(&status), ([5_001, 0, 0, 5_001, 0, 0], true));
    assert_eq!(client.contacts(), before, "not even a time");
    export(&mut exports);
    assert_eq!(exports[2], exports[1]);
    assert_eq!(field(&client.contact("o,1"), "first_name"), "\"Bo\" \r\nRay");
    let answer = client.get(&format!("/v2/programs/{}/participants.csv", client.program));
    assert_eq!((answer.header("content-type"), &answer.body), (Some("text/csv; charset=utf-8"), csv));
}
