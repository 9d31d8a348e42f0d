//! Order: within a program as accepted; between programs none.

use crate::harness::{Home, contacts_csv, counts, field};

scenes!(
    two_hundred_imports_take_effect_in_order,
    a_small_import_does_not_wait_for_a_big_one,
    a_small_import_does_not_wait_for_many_big_ones,
    a_stopping_service_finishes_what_runs
);

fn two_hundred_imports_take_effect_in_order(home: Home) {
    let service = home.serve();
    let client = service.client();
    let mut locations = Vec::new();
    for number in 0..200 {
        // Each adds one contact, renames the one before, and sets the counter of the first: any other order shows.
        let mut csv =
            format!("customer_id,phone,first_name,credits\nn{number},{},new,0\n", crate::harness::nth_phone(number));
        if number > 0 {
            csv.push_str(&format!("n{},{},by {number},0\n", number - 1, crate::harness::nth_phone(number - 1)));
        }
        if number > 1 {
            csv.push_str(&format!("n0,{},first,{number}\n", crate::harness::nth_phone(0)));
        }
        locations.push(client.send(&client.import_request("add", "first_name,credits", "tx", &csv)).location());
    }
    for (location, number) in locations.iter().zip(0..) {
        let status = client.completed(location);
        let updated = u64::from(number > 0) + u64::from(number > 1);
        assert_eq!(counts(&status), ([1 + updated, 1, updated, 0, 0, 0], true), "import {number}");
    }
    let contacts = client.contacts();
    assert_eq!(contacts.len(), 200);
    assert_eq!(field(&contacts[0], "credits"), "199");
    for (contact, number) in contacts.iter().zip(0..).skip(1) {
        let expected = if number == 199 { "new".to_owned() } else { format!("by {}", number + 1) };
        assert_eq!(
            (contact["customerId"].as_str(), field(contact, "first_name")),
            (Some(&*format!("n{number}")), expected)
        );
    }
}

/// The big import is held in the middle, so that nothing depends on who is quicker.
fn a_small_import_does_not_wait_for_a_big_one(home: Home) {
    let (home, hold) = home.held_at("import.first_of_many_batches_applied");
    let service = home.serve();
    let big = service.client();
    let small = service.client_of(&big.account, &service.home.new_program(&big.account, "Small"));
    let running = big.send(&big.import_request("add", "ignore", "row", &contacts_csv(0, 100_000))).location();
    let next = big.send(&big.import_request("add", "", "row", &contacts_csv(0, 2))).location();
    while big.get(&running).json()["progress"]["rows"].as_u64() == Some(0) {}
    assert_eq!(counts(&small.import("add", "ignore", "row", "phone\n2395745030\n")), ([1, 1, 0, 0, 0, 0], true));
    // That one is over; the big one is not, nothing of it shows, and the next of its program waits.
    let progress = big.get(&running).json();
    assert_eq!((&progress["complete"], &progress["progress"]["state"]), (&false.into(), &"running".into()));
    assert!(progress["progress"]["rows"].as_u64().unwrap() < 100_000);
    let seen = big.get(&format!("/v1/programs/{}/participants", big.program)).json();
    assert_eq!(seen["total"], 0, "a reader sees nothing of a running import");
    let waiting = big.get(&next).json();
    assert_eq!(waiting["progress"], serde_json::json!({ "state": "queued", "position": 2, "rows": 0 }));
    std::fs::remove_file(&hold).unwrap();
    assert_eq!(counts(&big.completed(&running)), ([100_000, 100_000, 0, 0, 0, 0], true));
    assert_eq!(counts(&big.completed(&next)), ([2, 0, 0, 2, 0, 0], true));
}

/// More big files than workers, all held: a small file of another program is done meanwhile.
fn a_small_import_does_not_wait_for_many_big_ones(home: Home) {
    let (home, hold) = home.held_at("import.first_of_many_batches_applied");
    let service = home.with("ROSTER_WORKERS", "2").serve();
    let small = service.client();
    let big: Vec<_> =
        (0..3).map(|_| service.client_of(&small.account, &service.home.new_program(&small.account, "Big"))).collect();
    let file = contacts_csv(0, 20_000);
    let running: Vec<_> =
        big.iter().map(|big| big.send(&big.import_request("add", "ignore", "row", &file)).location()).collect();
    assert_eq!(counts(&small.import("add", "ignore", "row", "phone\n2395745030\n")), ([1, 1, 0, 0, 0, 0], true));
    std::fs::remove_file(&hold).unwrap();
    for (big, location) in big.iter().zip(running) {
        assert_eq!(counts(&big.completed(&location)), ([20_000, 20_000, 0, 0, 0, 0], true));
    }
}

fn a_stopping_service_finishes_what_runs(home: Home) {
    let mut service = home.serve();
    let mut client = service.client();
    let locations: Vec<String> = (0..5)
        .map(|number| {
            client.send(&client.import_request("add", "ignore", "row", &contacts_csv(number * 2_000, 2_000))).location()
        })
        .collect();
    assert_eq!(service.terminate(), Some(0));
    service.start();
    client.address = service.address.clone();
    for location in locations {
        assert_eq!(counts(&client.completed(&location)), ([2_000, 2_000, 0, 0, 0, 0], true));
    }
    assert_eq!(client.contacts().len(), 10_000);
}
