//! What an import does, from the POST to the contacts.

use expect_test::expect;
use serde_json::Value;

use crate::harness::{Home, contacts_csv, counts, errors, field, nth_phone, text};

scenes!(
    the_contracts_own_example,
    a_thousand_errors_are_applied_and_one_more_is_not,
    one_error_undoes_a_transaction,
    every_kind_of_bad_row_is_told_with_row_field_and_reason,
    a_contact_reads_back_whole,
    an_import_again_changes_nothing,
    groups_are_replaced_and_times_follow_the_field,
    a_bad_file_is_told_all_at_once,
    the_status_has_the_given_shape,
    rows_of_one_contact_or_phone_meet_however_far_apart_they_are,
);

/// Section 2, verbatim: that one contact gets those three fields, and nothing else changes; an unknown id adds nobody.
fn the_contracts_own_example(home: Home) {
    let service = home.serve();
    let client = service.client();
    let file = "customer_id,phone,first_name,last_name,active,note\nc1,2395745030,Chas,P,false,keep\nc2,4054685465,Dora,D,true,keep\n";
    client.import("add", "ignore", "row", file);
    let (before, other) = (client.contact("c1"), client.contact("c2"));

    let csv = format!("signalvine_id,first_name,last_name,active\n{},Charles,Parsons,true", text(&before["id"]));
    let status = client.import("ignore", "first_name,last_name,active", "row", &csv);
    assert_eq!(counts(&status), ([1, 0, 1, 0, 0, 0], true));
    let after = client.contact("c1");
    assert_eq!((field(&after, "first_name"), field(&after, "last_name")), ("Charles".to_owned(), "Parsons".to_owned()));
    assert_eq!((after["active"].clone(), field(&after, "active")), (Value::Bool(true), "true".to_owned()));
    for name in ["signalvine_id", "customer_id", "phone", "note", "group_list", "timezone", "created_at", "honors"] {
        assert_eq!(field(&after, name), field(&before, name), "{name}");
    }
    assert_eq!(client.contact("c2"), other);

    let unknown =
        "signalvine_id,first_name,last_name,active\n33a58d8b-27cb-11e8-ad0a-0ab427fa565c,Charles,Parsons,true";
    let status = client.import("ignore", "first_name,last_name,active", "row", unknown);
    assert_eq!(counts(&status), ([1, 0, 0, 0, 1, 0], true));
    assert_eq!(client.contacts(), [after, other]);
}

fn a_thousand_errors_are_applied_and_one_more_is_not(home: Home) {
    let service = home.serve();
    let client = service.client();
    let file = |first: u64, bad: u64| {
        let rows = contacts_csv(first, 3);
        rows + &"bad,no phone,,,yes,,,,1,\n"
            .repeat(usize::try_from(bad).unwrap())
            .replace("bad,", &format!("bad{first},"))
    };
    // The first of the equal rows has a bad phone, the others repeat its customer_id: an error each.
    let status = client.import("add", "ignore", "row", &file(0, 1_000));
    assert_eq!(counts(&status), ([1_003, 3, 0, 0, 0, 1_000], true));
    assert_eq!(client.contacts().len(), 3);
    let status = client.import("add", "ignore", "row", &file(3, 1_001));
    assert_eq!(counts(&status), ([1_004, 3, 0, 0, 0, 1_001], false));
    assert_eq!(
        (&status["message"]["notApplied"], &status["message"]["errorCount"]),
        (&"too_many_errors".into(), &1_001.into())
    );
    assert_eq!(client.contacts().len(), 3);
}

fn one_error_undoes_a_transaction(home: Home) {
    let service = home.serve();
    let client = service.client();
    let file = contacts_csv(0, 50) + "bad,no phone,,,yes,,,,1,\n";
    let status = client.import("add", "ignore", "tx", &file);
    assert_eq!(counts(&status), ([51, 50, 0, 0, 0, 1], false));
    assert_eq!((&status["error"], &status["message"]["notApplied"]), (&true.into(), &"tx_errors".into()));
    assert!(client.contacts().is_empty());
    let status = client.import("add", "ignore", "tx", &contacts_csv(0, 50));
    assert_eq!(counts(&status), ([50, 50, 0, 0, 0, 0], true));
    assert_eq!(client.contacts().len(), 50);
}

fn every_kind_of_bad_row_is_told_with_row_field_and_reason(home: Home) {
    let service = home.serve();
    let client = service.client();
    client.import("add", "ignore", "row", "customer_id,phone,credits\nann,2395745030,1\nbob,4054685465,2\n");
    let ann = text(&client.contact("ann")["id"]);
    let file = format!(
        "signalvine_id,customer_id,phone,honors,credits,active\n\
         ,cat,7165419523\n\
         ,\"cat\"x,7165419523,,1,yes\n\
         ,cat,123,sure why not,,maybe\n\
         ,cat,7165419523,,1,yes\n\
         \n\
         33a58d8b-27cb-11e8-ad0a-0ab427fa565c,,,,,\n\
         nonsense,,,,,\n\
         {ann},bob,,,,\n\
         ,,2395745030,,,\n\
         ,dan,4054685465,,x,yes\n\
         ,bob,2395745030,,2,yes\n\
         ,eve,7165419523,,1,yes\n\
         ,,,,1,yes\n\
         ,,7165419523,,1,yes\n"
    );
    let status = client.import("add", "phone,credits,honors", "row", &file);
    expect![[r#"
        2 - cell_count
        3 - bad_quotes
        4 phone invalid_value
        4 honors invalid_value
        4 credits missing_value
        4 active invalid_value
        5 customer_id duplicate_row
        7 signalvine_id unknown_signalvine_id
        8 signalvine_id invalid_value
        9 customer_id ids_disagree
        10 phone identity_required
        11 phone phone_taken
        11 credits invalid_value
        12 phone phone_taken
        14 phone missing_value
        15 phone duplicate_row"#]]
    .assert_eq(&errors(&status).join("\n"));
    assert_eq!(counts(&status), ([13, 1, 0, 0, 0, 12], true));
    let honors = &status["message"]["errors"][3];
    assert_eq!(honors["message"], "Could not parse 'sure why not' as Maybe (Boolean)");
    assert_eq!(honors["value"], "sure why not");
    assert!(status["message"]["summary"].as_str().unwrap().contains("3 cells"));
}

fn a_contact_reads_back_whole(home: Home) {
    let service = home.serve();
    let client = service.client();
    let file = "first_name,customer_id,phone,group_list,timezone,honors,credits,note\n\
                \" Zoë \",\" c 1 \",+44 20 7946 0018,b; a;b,US/Mountain,T,+028.0,\"two\nlines, \"\"quoted\"\"\"\n";
    client.import("add", "ignore", "row", file);
    let contact = client.contact("c 1");
    let shown = [
        "customer_id",
        "phone",
        "first_name",
        "last_name",
        "active",
        "group_list",
        "timezone",
        "honors",
        "credits",
        "note",
    ]
    .map(|name| format!("{name}={}", field(&contact, name)));
    expect![[r#"
        customer_id=c 1
        phone=+442079460018
        first_name=Zoë
        last_name=
        active=true
        group_list=b;a
        timezone=US/Mountain
        honors=true
        credits=28
        note=two
        lines, "quoted""#]]
    .assert_eq(&shown.join("\n"));
    let mut keys: Vec<&str> = contact.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort();
    assert_eq!(
        keys.join(" "),
        "accountId active created customerId groups id phone profile programActive programId programName programPhone receivedCount scheduledCount sentCount"
    );
    assert_eq!(contact["groups"], serde_json::json!(["b", "a"]));
    assert_eq!(contact["programPhone"], "+12125550100");
    assert_eq!(
        (field(&contact, "created_at"), field(&contact, "program_phone")),
        (text(&contact["created"]), "+12125550100".into())
    );
    assert_eq!((field(&contact, "phone_valid"), field(&contact, "related_id")), ("true".into(), String::new()));

    let schema = client.get(&format!("/v1/programs/{}?type=schema", client.program)).json();
    let schema: Vec<String> = schema["fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|field| format!("{}: {}", text(&field["name"]), text(&field["type"])))
        .collect();
    expect![[r#"
        signalvine_id: UUID
        customer_id: String
        phone: Phone
        first_name: String
        last_name: String
        active: Boolean
        group_list: List
        timezone: Timezone
        created_at: DateTime
        program_phone: Phone
        phone_valid: Boolean
        related_id: UUID
        honors: Maybe (Boolean)
        credits: Numeric
        note: String"#]]
    .assert_eq(&schema.join("\n"));
    let profile = contact["profile"].as_array().unwrap();
    let names: Vec<String> =
        profile.iter().map(|entry| format!("{}: {}", text(&entry["name"]), text(&entry["type"]))).collect();
    assert_eq!(names, schema);
}

fn an_import_again_changes_nothing(home: Home) {
    let service = home.serve();
    let client = service.client();
    let file = contacts_csv(0, 5_000);
    let all = "customer_id,phone,first_name,last_name,active,group_list,timezone,honors,credits,note";
    assert_eq!(counts(&client.import("add", all, "row", &file)), ([5_000, 5_000, 0, 0, 0, 0], true));
    let before = client.contacts();
    assert_eq!(counts(&client.import("add", all, "row", &file)), ([5_000, 0, 0, 5_000, 0, 0], true));
    assert_eq!(counts(&client.import("add", "ignore", "tx", &file)), ([5_000, 0, 0, 0, 5_000, 0], true));
    assert_eq!(counts(&client.import("ignore", "", "tx", &file)), ([5_000, 0, 0, 5_000, 0, 0], true));
    assert_eq!(client.contacts(), before);
}

fn groups_are_replaced_and_times_follow_the_field(home: Home) {
    let service = home.serve();
    let client = service.client();
    client.import("add", "ignore", "row", "customer_id,phone,first_name,group_list\nann,2395745030,Ann,a;b\n");
    let before = client.contact("ann");
    client.import("add", "first_name,group_list", "row", "customer_id,first_name,group_list\nann,Ann,c;a\n");
    let after = client.contact("ann");
    assert_eq!(after["groups"], serde_json::json!(["c", "a"]));
    let updated = |contact: &Value, name: &str| {
        let entry = contact["profile"].as_array().unwrap().iter().find(|entry| entry["name"] == name).unwrap().clone();
        text(&entry["updated"])
    };
    assert_eq!(updated(&before, "group_list"), text(&before["created"]));
    assert!(updated(&after, "group_list") > updated(&before, "group_list"));
    assert_eq!(updated(&after, "first_name"), updated(&before, "first_name"));
    assert_eq!(after["created"], before["created"]);
}

fn a_bad_file_is_told_all_at_once(home: Home) {
    let service = home.serve();
    let client = service.client();
    let status =
        client.import("add", "credits,nope", "row", "first_name,,first_name,shoe_size\n1,2,3,4\n\"never closed\n");
    expect![[r#"
        file - empty_header
        file first_name duplicate_header
        file shoe_size unrecognized_variable
        file credits existing_not_in_file
        file nope existing_not_in_file
        file - no_identity_column
        file - bad_quotes"#]]
    .assert_eq(&errors(&status).join("\n"));
    assert_eq!(counts(&status), ([0; 6], false));
    assert_eq!(status["message"]["notApplied"], "file_error");
    assert_eq!(status["message"]["errors"][2]["message"], "Unrecognized variable: shoe_size");
    assert!(status["message"]["errors"][6]["message"].as_str().unwrap().contains("row 3"));
    assert_eq!(errors(&client.import("add", "ignore", "tx", "")), ["file - no_header"]);
    assert_eq!(
        errors(&client.import("add", "ignore", "tx", "phone\n2395745030\n\"4054685465\n")),
        ["file - bad_quotes"]
    );
    assert!(client.contacts().is_empty());
}

fn the_status_has_the_given_shape(home: Home) {
    let service = home.serve();
    let client = service.client();
    let keys = |status: &Value| {
        let mut keys: Vec<String> = status.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys.join(" ")
    };
    let answer = client.send(&client.import_request("add", "ignore", "row", "phone\n2395745030\n"));
    let location = answer.location();
    let accepted = answer.json();
    assert_eq!(location, format!("/v2/commands/{}", text(&accepted["commandId"])));
    let good = client.completed(&location);
    assert_eq!(keys(&good), "commandId complete created error from message name");
    assert_eq!((text(&good["name"]), text(&good["from"])), ("importParticipants".to_owned(), "nightly".to_owned()));
    assert_eq!(good["message"]["errors"], serde_json::json!([]));
    let bad = client.import("add", "ignore", "row", "phone\nx\n");
    assert_eq!(keys(&bad), "commandId complete created error from message name processor trace");
    assert_eq!(keys(&bad["message"]["errors"][0]), "code field message row value");
}

/// A row sees what earlier rows did, also where thousands lie between them: a store reads and writes them in batches, and looks ahead.
fn rows_of_one_contact_or_phone_meet_however_far_apart_they_are(home: Home) {
    const EACH: u64 = 5_000;
    // They change nothing, and give time to read ahead.
    const BEFORE: u64 = 10_000;
    let service = home.serve();
    let client = service.client();
    let file = |rows: &mut dyn Iterator<Item = (String, String)>| {
        rows.fold("customer_id,phone,first_name\n".to_owned(), |csv, (id, phone)| format!("{csv}{id},{phone},Ada\n"))
    };
    let first = file(&mut (0..EACH + BEFORE).map(|at| (format!("a{at}"), nth_phone(at))));
    let (all, status) = (EACH + BEFORE, client.import("add", "ignore", "row", &first));
    assert_eq!(counts(&status), ([all, all, 0, 0, 0, 0], true));

    let moved = |at: u64| nth_phone(100_000 + at);
    let second = file(
        &mut (EACH..all)
            .map(|at| (format!("a{at}"), nth_phone(at)))
            .chain((0..EACH).map(|at| (format!("a{at}"), moved(at))))
            // Each takes the phone that one of those has just given up; the first 900 then come again.
            .chain((0..EACH).map(|at| (format!("b{at}"), nth_phone(at))))
            .chain((0..900).map(|at| (format!("b{at}"), nth_phone(200_000 + at))))
            // Those have been taken in this very file.
            .chain((4_900..4_950).map(|at| (format!("c{at}"), moved(at)))),
    );
    let status = client.import("add", "phone", "row", &second);
    assert_eq!(counts(&status), ([BEFORE + 2 * EACH + 950, EACH, EACH, BEFORE, 0, 950], true));
    let (twice, taken): (Vec<u64>, Vec<u64>) = ((20_002..20_902).collect(), (20_902..20_952).collect());
    let expected = twice.iter().map(|row| format!("{row} customer_id duplicate_row"));
    let expected = expected.chain(taken.iter().map(|row| format!("{row} phone phone_taken")));
    assert_eq!(errors(&status), expected.collect::<Vec<_>>());
    let contacts = client.contacts();
    assert_eq!(contacts.len() as u64, all + EACH);
    for (at, prefix) in [(0, "a"), (4_999, "a"), (0, "b"), (899, "b"), (4_999, "b")] {
        let id = format!("{prefix}{at}");
        let contact = contacts.iter().find(|contact| contact["customerId"] == id.as_str()).unwrap();
        let phone = if prefix == "a" { moved(at) } else { nth_phone(at) };
        let digits = phone.chars().filter(char::is_ascii_digit).collect::<String>();
        assert_eq!(field(contact, "phone"), format!("+1{digits}"), "{id}");
    }
}
