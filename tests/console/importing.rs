//! The whole task of a programme admin, from the first visit to the last corrected row, by what stands on the pages; with scripts and without.

use std::path::{Path, PathBuf};

use crate::browser::Browser;
use crate::harness::{Home, Service, nth_phone};
use crate::people::{new_user, sign_in};

/// Whether pages may run scripts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scripts {
    On,
    Off,
}

#[test]
fn a_program_is_made_and_a_file_with_bad_rows_imported_and_corrected() {
    whole_task(Home::sqlite(), Scripts::On);
}

#[test]
fn the_same_without_scripts() {
    whole_task(Home::postgres(), Scripts::Off);
}

/// Of a student system: other names than the program's, one that nobody can guess, and rows with something wrong.
fn student_file() -> String {
    let mut csv = "Student ID,Mobile,First Name,Last Name,Studies,Credits,Advisor\n".to_owned();
    for number in 1..=40 {
        let phone = if number == 7 { "ask her".to_owned() } else { nth_phone(number) };
        let credits = if number == 12 { "many".to_owned() } else { (number * 3 % 120).to_string() };
        let id = if number == 31 { 30 } else { number };
        csv.push_str(&format!("s{id:02},{phone},Zoë,Núñez {number},Physics,{credits},Dr. Lee\n"));
    }
    csv
}

struct Walk<'a> {
    browser: &'a Browser,
    service: &'a Service,
    /// While this file is there, imports wait where they begin.
    hold: PathBuf,
    scripts: Scripts,
}

fn whole_task(home: Home, scripts: Scripts) {
    let (home, hold) = home.held_at("import.begun");
    std::fs::remove_file(&hold).unwrap();
    let service = home.serve();
    let account = service.home.new_account("Example College");
    new_user(&service, &account, "ada@example.edu", "admin");
    let browser = Browser::start();
    if scripts == Scripts::Off {
        browser.turn_scripts_off();
    }
    sign_in(&browser, &service, "ada@example.edu");
    let walk = Walk { browser: &browser, service: &service, hold, scripts };
    walk.look("overview-empty");
    walk.makes_a_program();
    walk.tries_a_file_out(&service.home.file("students.csv", &student_file()));
    walk.starts_it_and_watches();
    let failed = walk.reads_errors();
    walk.imports_corrected(&failed);
    walk.finds_a_contact();
    walk.finds_an_import();
    walk.rotates_a_token();
    walk.changes_the_program();
}

impl Walk<'_> {
    /// Keeps what a page looks like, and has it checked; once is enough.
    fn look(&self, name: &str) {
        if self.scripts == Scripts::On {
            self.browser.look(name);
        }
    }

    fn makes_a_program(&self) {
        let browser = self.browser;
        browser.click("Make the first one");
        browser.wait_for("Fields of its own");
        self.look("program-new");
        browser.type_into("Country", "Narnia");
        browser.click("Make it");
        browser.wait_for("Please look at this again");
        browser.expect_complaint("status of 422");
        self.look("program-new-wrong");
        if self.scripts == Scripts::On {
            // Whoever listens is where the mistakes are told.
            assert!(browser.focused().starts_with("alert"), "{}", browser.focused());
        }
        browser.type_into("Name", "Fall Outreach");
        browser.type_into("Country", "US");
        browser.type_into("Phone it texts from", "(212) 555-0100");
        browser.type_into("Field 1", "major");
        browser.type_into("Field 2", "credits");
        browser.select("Type of field 2", "Numeric");
        browser.click("Make it");
        browser.wait_for("The program was made.");
        let fields = browser.table("Fields");
        assert!(fields.iter().any(|row| row[0] == "credits" && row[1] == "Numeric"), "{fields:?}");
        self.look("program-settings");
        if self.scripts == Scripts::On {
            browser.click("Copy the program id");
            browser.wait_for("Copied");
            let id = browser.clipboard();
            assert!(browser.address().contains(&format!("/programs/{id}/")) && id.len() == 36, "{id}");
        }
        browser.click("Contacts");
        browser.wait_for("There are no contacts yet.");
        self.look("contacts-empty");
    }

    fn tries_a_file_out(&self, file: &Path) {
        let browser = self.browser;
        browser.click("Import a file");
        browser.wait_for("Fields of this program");
        self.look("import-file");
        match self.scripts {
            Scripts::On => browser.drop_file("CSV file", file),
            Scripts::Off => browser.choose_file("CSV file", file),
        }
        browser.click("Upload");
        browser.wait_for("UTF-8, cells separated by commas");
        // What can be guessed is; what cannot must be said.
        assert_eq!(browser.value("Student ID"), "customer_id (String)");
        assert_eq!(browser.table("First rows")[1][1], "s01");
        browser.click("Try it out");
        browser.wait_for("Say which field “Studies” is, or leave it out.");
        browser.expect_complaint("status of 422");
        self.look("import-mapping-wrong");
        browser.select("Studies", "major (String)");
        browser.select("Advisor", "Leave it out");
        self.look("import-mapping");
        browser.click("Try it out");
        self.wait_for_end("Tried: errors");
        assert!(browser.has("40 rows read, 3 errors"), "{}", browser.text());
        assert!(browser.has("The column “Studies” is major"), "{}", browser.text());
        self.look("import-tried");
    }

    fn starts_it_and_watches(&self) {
        let browser = self.browser;
        // Held in the middle, until its page has been seen.
        std::fs::write(&self.hold, "").unwrap();
        browser.click("Start the import");
        browser.wait_for("Cancel it");
        self.look("import-running");
        std::fs::remove_file(&self.hold).unwrap();
        self.wait_for_end("Applied in part");
    }

    /// With scripts the page tells it by itself; without, whoever waits looks again.
    fn wait_for_end(&self, state: &str) {
        match self.scripts {
            Scripts::On => self.browser.wait_for(state),
            Scripts::Off => self.browser.wait_until(state, || {
                let is_there = self.browser.has(state);
                if !is_there && self.browser.has("Look again") {
                    self.browser.click("Look again");
                }
                is_there
            }),
        }
    }

    /// Gives what is downloaded.
    fn reads_errors(&self) -> String {
        let browser = self.browser;
        self.look("import-in-part");
        let errors = browser.table("Errors");
        let mut told: Vec<String> = errors[1..].iter().map(|row| format!("{} {} {}", row[1], row[2], row[3])).collect();
        told.sort();
        assert_eq!(told, ["credits 1 13", "customer_id 1 32", "phone 1 8"], "{errors:?}");
        browser.click("Download failed rows");
        String::from_utf8(browser.downloaded("students-failed-rows", ".csv")).unwrap()
    }

    fn imports_corrected(&self, failed: &str) {
        let browser = self.browser;
        let corrected = failed.replace("ask her", &nth_phone(7)).replace("many", "36");
        let corrected = corrected.replace(&format!("s30,{}", nth_phone(31)), &format!("s31,{}", nth_phone(31)));
        // And one who is there already, and studies something else now.
        let corrected = format!("{corrected}s01,{},Zoë,Núñez 1,History,3,Dr. Lee,,\n", nth_phone(1));
        let file = self.service.home.file("corrected.csv", &corrected);
        browser.choose_file("Corrected CSV file", &file);
        browser.click("Upload");
        browser.wait_for("as last time");
        self.look("import-corrected");
        browser.click("Try it out");
        self.wait_for_end("Tried: fine");
        let changes = browser.table("What would change");
        assert_eq!(changes[1], ["major", "1", "row 5 Physics → becomes History"], "{changes:?}");
        self.look("import-tried-changes");
        browser.click("Start the import");
        self.wait_for_end("Every row was taken.");
        self.look("import-applied");
    }

    fn finds_a_contact(&self) {
        let browser = self.browser;
        browser.click("Fall Outreach");
        browser.wait_for("40 contacts, 40 of them active.");
        self.look("contacts");
        for (what, name) in
            [("núñez 31", "Zoë Núñez 31"), (nth_phone(7).as_str(), "Zoë Núñez 7"), ("s01", "Zoë Núñez 1")]
        {
            browser.type_into("Name, phone or id", what);
            browser.click("Find");
            browser.wait_until(name, || browser.table("Contacts").len() == 2 && browser.has(name));
        }
        self.look("contacts-found");
        browser.click("Zoë Núñez 1");
        browser.wait_for("History");
        self.look("contact");
        browser.click("this import");
        browser.wait_for("Import of corrected.csv");
    }

    fn finds_an_import(&self) {
        let browser = self.browser;
        browser.click("Overview");
        browser.wait_for("Rows by day");
        browser.click("The same as a table");
        self.look("overview");
        browser.click("Imports");
        browser.wait_for("Day (UTC)");
        self.look("imports");
        browser.select("Outcome", "With errors or not applied");
        browser.select("Program", "Fall Outreach");
        browser.select("From", "ada@example.edu");
        browser.click("Show");
        browser.wait_for("All imports");
        let listed = browser.table("Imports");
        assert!(listed[1..].iter().any(|row| row[3] == "Applied in part"), "{listed:?}");
        assert!(!listed[1..].iter().any(|row| row[3] == "Applied"), "{listed:?}");
        self.look("imports-narrowed");
        browser.select("Outcome", "Waiting");
        browser.click("Show");
        browser.wait_for("No import is like this.");
        self.look("imports-none");
    }

    fn rotates_a_token(&self) {
        let browser = self.browser;
        browser.click("Tokens");
        browser.wait_for("New token");
        browser.type_into("Name", "dashboard");
        browser.click("It may only read");
        browser.click("Fall Outreach");
        browser.click("Make it");
        browser.wait_for("The token was made");
        self.look("token-made");
        browser.click("I have it");
        let made = browser.table("Tokens in use");
        let made = made.iter().find(|row| row[0] == "dashboard").unwrap_or_else(|| panic!("{made:?}"));
        assert_eq!(made[3], "Fall Outreach");
        browser.click("Rotate dashboard");
        self.look("tokens");
        browser.select_in("dashboard", "The old secret holds", "for a week");
        browser.click_in("dashboard", "Give it a new secret");
        browser.wait_for("The token has a new secret");
        browser.wait_for("holds until");
        self.look("token-rotated");
        browser.click("I have it");
        browser.click("Revoke dashboard");
        browser.click_in("dashboard", "Revoke dashboard");
        browser.wait_for("The token was revoked.");
        self.look("tokens-revoked");
    }

    fn changes_the_program(&self) {
        let browser = self.browser;
        browser.click("Overview");
        browser.wait_for("Rows by day");
        browser.click("Fall Outreach");
        browser.wait_for("of them active");
        browser.click("Settings");
        browser.type_into("Name of the field", "honors");
        browser.select("Type", "Boolean");
        browser.click("Add it");
        browser.wait_for("The field was added.");
        browser.click("Remove honors");
        self.look("program-settings-removing");
        browser.click_in("honors", "Remove honors");
        browser.wait_for("The field was removed.");
        browser.type_into("Name", "Autumn Outreach");
        browser.click("Save");
        browser.wait_for("The settings were saved.");
        browser.wait_for("Autumn Outreach");
    }
}
