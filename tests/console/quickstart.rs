//! The first minute: the link that `roster quickstart` prints, and what is seen behind it, as it stands in the README.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use crate::browser::Browser;
use crate::harness::Home;

/// Ends with the test.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the imports of the four weeks before came to: the sample is imported today, and a chart of one day is no chart.
fn give_a_past(home: &Home) {
    let catalogue = rusqlite::Connection::open(home.data().join("catalogue.db")).unwrap();
    let insert = "INSERT INTO day_tally (account, day, program, imports, bad_imports, added, updated, unchanged, ignored, failed)
        SELECT account, unixepoch() / 86400 - ?1, id, 3, ?5 > 0, ?2, ?3, ?4, 0, ?5 FROM program";
    for ago in 1..29_i64 {
        // A week has five days with imports, and some rows fail now and then.
        if ago % 7 > 1 {
            let failed = if ago % 4 == 0 { 20 + ago * 7 } else { 0 };
            catalogue
                .execute(insert, (ago, 40 + ago * 9 % 130, 300 + ago * 53 % 420, 1_000 + ago * 17, failed))
                .unwrap();
        }
    }
}

#[test]
fn the_printed_link_leads_to_the_sample_and_works_once() {
    // First, because another test may have its turn, and what is imported just now is not so for long.
    let browser = Browser::start();
    let home = Home::sqlite();
    let serving =
        home.command(&["quickstart", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut serving = Serving(serving.unwrap());
    let lines = BufReader::new(serving.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    let link = lines.flat_map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    let link = link.into_iter().find(|word| word.contains("/console/link?ticket=")).expect("a link");
    give_a_past(&home);
    browser.open(&link);
    browser.click("Sign in");
    browser.wait_for("Example College");
    let programs = browser.table("Programs");
    assert_eq!(programs[1][..2], ["Fall Outreach", "2,160"], "{programs:?}");
    browser.look("quickstart-overview");
    browser.click_in("Fall Outreach", "just now");
    browser.wait_for("2,182 rows read, 30 errors");
    browser.look("quickstart-import");
    // What its reader may do next is possible with what is there.
    browser.click("Fall Outreach");
    browser.type_into("Name, phone or id", "zürcher");
    browser.click("Find");
    browser.wait_for("found");
    browser.look("quickstart-contacts");
    browser.click("Sign out");
    browser.wait_for("The session has ended.");
    browser.open(&link);
    browser.wait_for("This link is used up");
    browser.expect_complaint("status of 410");
}
