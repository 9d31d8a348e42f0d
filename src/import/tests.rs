//! The meaning of a row as text tables, and the planner against an obvious model.

#![allow(clippy::panic, reason = "a test says so by failing")]

mod columns;
mod trying;

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::{contact, import};
use made_up::schema;
use planning::Program;

#[path = "../../tests/support/contract.rs"]
mod contract;
#[path = "../../tests/support/made_up.rs"]
mod made_up;
#[path = "../../tests/support/planning.rs"]
mod planning;

fn show(program: &Program) -> String {
    let mut table = String::new();
    for contact in &program.contacts {
        let values: Vec<String> = contact
            .profile
            .iter()
            .map(|(number, value)| {
                let name =
                    schema().fields().iter().find(|field| field.number == number).map(|field| field.name.clone());
                format!("{}={value}", name.unwrap_or_default())
            })
            .collect();
        let active = if contact.active { "" } else { " inactive" };
        table.push_str(&format!(
            "#{} {:?} {}{active} {}\n",
            contact.number.get(),
            contact.customer_id,
            contact.phone,
            values.join(" ")
        ));
    }
    table
}

/// `"add active,phone row"` → options, with `dry`, `new<=5` or `Handy=phone` behind them; `ignore` as the second word leaves existing contacts alone, `-` names no field.
fn options(words: &str) -> ImportOptions {
    let words: Vec<&str> = words.split(' ').collect();
    let most = |name: &str| words.iter().find_map(|word| word.strip_prefix(name)?.parse().ok());
    ImportOptions {
        new: if words[0] == "add" { New::Add } else { New::Ignore },
        existing: match words[1] {
            "ignore" => Existing::Ignore,
            "-" => Existing::Fields(Vec::new()),
            names => Existing::Fields(names.split(',').map(str::to_owned).collect()),
        },
        mode: if words[2] == "tx" { Mode::Tx } else { Mode::Row },
        dry_run: words.contains(&"dry"),
        limits: Limits { new_max: most("new<="), updated_max: most("updated<="), failed_max: most("failed<=") },
        form: Form::Json,
        columns: Columns::new(words.iter().filter_map(|word| word.split_once('='))),
    }
}

/// In a file, `<2>` stands for the `signalvine_id` of contact 2.
fn with_ids(file: &str) -> String {
    (1..10).fold(file.to_owned(), |file, number| file.replace(&format!("<{number}>"), &planning::id(number)))
}

/// Contacts #1 `ann` +12395745030 and #2 `bob` +14054685465, then #3 without a customer_id, +19178504987.
fn program() -> Program {
    let mut program = Program::default();
    let file = "customer_id,phone,first_name,credits\nann,2395745030,Ann,1\nbob,4054685465,Bob,2\n,9178504987,Cy,3\n";
    assert!(program.import(&options("add ignore tx"), file, 0).applied());
    program
}

fn show_report(report: &Report) -> String {
    let Counts { read, added, updated, unchanged, ignored, failed } = report.counts;
    let applied = report.not_applied.map_or("applied", NotApplied::as_str);
    let mut table = format!(
        "{applied}: {read} read, {added} added, {updated} updated, {unchanged} unchanged, {ignored} ignored, {failed} failed\n"
    );
    for error in &report.errors {
        let row = error.row.map_or("file".to_owned(), |row| format!("row {row}"));
        let field = error.field.as_deref().unwrap_or("-");
        let value = error.value.as_ref().map(|value| format!(" {value:?}")).unwrap_or_default();
        let message = error.message.replace('\0', "␀");
        table.push_str(&format!("{row} {field} {}{value}: {message}\n", error.code.as_str()));
    }
    for FieldChanges { field, count, examples } in report.changes.iter().flatten() {
        let examples =
            examples.iter().map(|FieldChange { row, before, after }| format!(" row {row} {before:?} → {after:?}"));
        table.push_str(&format!("{count} in {field}:{}\n", examples.collect::<String>()));
    }
    table
}

/// Imports into [`program`] and prints the report, then the contacts that differ from before.
fn check(words: &str, file: &str, expected: Expect) {
    let before = program();
    let mut after = before.clone();
    let report = after.import(&options(words), &with_ids(file), 0);
    let mut table = show_report(&report);
    let shown = show(&before);
    for line in show(&after).lines().filter(|line| !shown.lines().any(|before| before == *line)) {
        table.push_str(&format!("→ {line}\n"));
    }
    expected.assert_eq(&table);
}

#[test]
fn new_contacts_are_added_or_left_out() {
    check(
        "add ignore row",
        "customer_id,phone,first_name,active,honors,credits\ncat,(716) 541-9523,Zoë,,,7\ndan,2125550123,D,no,yes,28.0\n",
        expect![[r#"
        applied: 2 read, 1 added, 0 updated, 0 unchanged, 0 ignored, 1 failed
        row 2 active missing_value "": Could not parse '' as Boolean
        → #4 "dan" +12125550123 inactive first_name=D honors=true credits=28
    "#]],
    );
    check(
        "ignore first_name row",
        "customer_id,phone,first_name\ncat,7165419523,Zoë\n",
        expect![[r#"
        applied: 1 read, 0 added, 0 updated, 0 unchanged, 1 ignored, 0 failed
    "#]],
    );
}

#[test]
fn a_column_that_is_not_there_leaves_a_new_contact_at_its_start() {
    check(
        "add - row",
        "phone\n7165419523\n",
        expect![[r#"
        applied: 1 read, 1 added, 0 updated, 0 unchanged, 0 ignored, 0 failed
        → #4 "" +17165419523 
    "#]],
    );
}

#[test]
fn existing_contacts_get_just_the_fields_named() {
    check(
        "add first_name,active row",
        "customer_id,phone,first_name,active,credits\nann,no phone,Anna,f,not a number\n",
        expect![[r#"
        applied: 1 read, 0 added, 1 updated, 0 unchanged, 0 ignored, 0 failed
        → #1 "ann" +12395745030 inactive first_name=Anna credits=1
    "#]],
    );
    check(
        "ignore first_name,last_name,active row",
        "signalvine_id,first_name,last_name,active\n<2>,Charles,Parsons,true\n33a58d8b-27cb-11e8-ad0a-0ab427fa565c,X,Y,true\n",
        expect![[r#"
        applied: 2 read, 0 added, 1 updated, 0 unchanged, 1 ignored, 0 failed
        → #2 "bob" +14054685465 first_name=Charles last_name=Parsons credits=2
    "#]],
    );
    check(
        "add ignore row",
        "customer_id,phone,first_name\nann,junk,Anna\n",
        expect![[r#"
        applied: 1 read, 0 added, 0 updated, 0 unchanged, 1 ignored, 0 failed
    "#]],
    );
    check(
        "add - row",
        "customer_id,phone,first_name\nann,junk,Anna\n",
        expect![[r#"
        applied: 1 read, 0 added, 0 updated, 1 unchanged, 0 ignored, 0 failed
    "#]],
    );
    check(
        "add customer_id,phone,signalvine_id,created_at,_x row",
        "signalvine_id,customer_id,phone,created_at,_x\n<3>,cy,212-555-0123,whenever,1\n",
        expect![[r#"
        applied: 1 read, 0 added, 1 updated, 0 unchanged, 0 ignored, 0 failed
        → #3 "cy" +12125550123 first_name=Cy credits=3
    "#]],
    );
}

#[test]
fn identity_comes_in_the_contracts_order() {
    check(
        "add first_name row",
        "signalvine_id,customer_id,phone,first_name\n<1>,ann,2395745030,A\n,bob,7165419523,B\n,,2125550123,New\n,,9178504987,C\n",
        expect![[r#"
        applied: 4 read, 1 added, 2 updated, 0 unchanged, 0 ignored, 1 failed
        row 5 phone identity_required "9178504987": A contact of the program has this phone, and a phone is no proof of identity: send customer_id or signalvine_id
        → #1 "ann" +12395745030 first_name=A credits=1
        → #2 "bob" +14054685465 first_name=B credits=2
        → #4 "" +12125550123 first_name=New
    "#]],
    );
}

#[test]
fn an_unknown_or_malformed_signalvine_id_decides_the_row() {
    check(
        "add first_name row",
        "signalvine_id,customer_id,phone,first_name\n33a58d8b-27cb-11e8-ad0a-0ab427fa565c,ann,,A\n<9>,zed,7165419523,A\n123,ann,,A\n",
        expect![[r#"
        applied: 3 read, 0 added, 0 updated, 0 unchanged, 0 ignored, 3 failed
        row 2 signalvine_id unknown_signalvine_id "33a58d8b-27cb-11e8-ad0a-0ab427fa565c": No contact of the program has the signalvine_id '33a58d8b-27cb-11e8-ad0a-0ab427fa565c', and none can be added under a given one
        row 3 signalvine_id unknown_signalvine_id "000000ab-cdef-8000-8000-070000000009": No contact of the program has the signalvine_id '000000ab-cdef-8000-8000-070000000009', and none can be added under a given one
        row 4 signalvine_id invalid_value "123": Could not parse '123' as UUID
    "#]],
    );
    check(
        "ignore first_name row",
        "signalvine_id,customer_id,phone,first_name\n33a58d8b-27cb-11e8-ad0a-0ab427fa565c,ann,,A\n<9>,zed,7165419523,A\n123,ann,,A\n",
        expect![[r#"
        applied: 3 read, 0 added, 0 updated, 0 unchanged, 2 ignored, 1 failed
        row 4 signalvine_id invalid_value "123": Could not parse '123' as UUID
    "#]],
    );
    check(
        "ignore ignore row",
        "signalvine_id\n 123 \n<1>\n",
        expect![[r#"
        applied: 2 read, 0 added, 0 updated, 0 unchanged, 1 ignored, 1 failed
        row 2 signalvine_id invalid_value " 123 ": Could not parse '123' as UUID
    "#]],
    );
}

#[test]
fn a_phone_is_no_proof_of_identity() {
    check(
        "add first_name row",
        "phone,first_name\n+1 239 574 5030,A\n7165419523,N\n716-541-9523,N2\nbad,B\n,B\n",
        expect![[r#"
        applied: 5 read, 1 added, 0 updated, 0 unchanged, 0 ignored, 4 failed
        row 2 phone identity_required "+1 239 574 5030": A contact of the program has this phone, and a phone is no proof of identity: send customer_id or signalvine_id
        row 4 phone duplicate_row "716-541-9523": Row 3 of the file is about the same contact
        row 5 phone invalid_value "bad": Could not parse 'bad' as Phone
        row 6 phone missing_value "": Could not parse '' as Phone
        → #4 "" +17165419523 first_name=N
    "#]],
    );
    check(
        "add ignore row",
        "phone,first_name\n+1 239 574 5030,A\n7165419523,N\n716-541-9523,N2\n",
        expect![[r#"
        applied: 3 read, 1 added, 0 updated, 0 unchanged, 1 ignored, 1 failed
        row 4 phone duplicate_row "716-541-9523": Row 3 of the file is about the same contact
        → #4 "" +17165419523 first_name=N
    "#]],
    );
    check(
        "ignore ignore row",
        "phone\n+1 239 574 5030\n7165419523\n7165419523\nbad\n",
        expect![[r#"
        applied: 4 read, 0 added, 0 updated, 0 unchanged, 4 ignored, 0 failed
    "#]],
    );
}

#[test]
fn neither_the_first_nor_the_last_row_silently_wins() {
    check(
        "add first_name row",
        "signalvine_id,customer_id,phone,first_name\n,ann,,A1\n<1>,,,A2\n,ann,,A3\n,,2395745030,A4\n,cat,7165419523,C1\n,cat,2125550123,C2\n,,7165419523,C3\n",
        expect![[r#"
        applied: 7 read, 1 added, 1 updated, 0 unchanged, 0 ignored, 5 failed
        row 3 signalvine_id duplicate_row "000000ab-cdef-8000-8000-070000000001": Row 2 of the file is about the same contact
        row 4 customer_id duplicate_row "ann": Row 2 of the file is about the same contact
        row 5 phone duplicate_row "2395745030": Row 2 of the file is about the same contact
        row 7 customer_id duplicate_row "cat": Row 6 of the file is about the same contact
        row 8 phone duplicate_row "7165419523": Row 6 of the file is about the same contact
        → #1 "ann" +12395745030 first_name=A1 credits=1
        → #4 "cat" +17165419523 first_name=C1
    "#]],
    );
    check(
        "add ignore row",
        "customer_id,phone,credits\ncat,7165419523,x\ncat,2125550123,1\n,9178504988,x\n,9178504988,1\ndan,7165419523,1\nann,,\nann,,\n",
        expect![[r#"
        applied: 7 read, 1 added, 0 updated, 0 unchanged, 2 ignored, 4 failed
        row 2 credits invalid_value "x": Could not parse 'x' as Numeric
        row 3 customer_id duplicate_row "cat": Row 2 of the file is about the same contact
        row 4 credits invalid_value "x": Could not parse 'x' as Numeric
        row 5 phone duplicate_row "9178504988": Row 4 of the file is about the same contact
        → #4 "dan" +17165419523 credits=1
    "#]],
    );
}

#[test]
fn a_phone_is_never_moved() {
    check(
        "add phone row",
        "customer_id,phone\nann,4054685465\nbob,2125550123\ncat,4054685465\ndan,2125550123\nann2,2395745030\n",
        expect![[r#"
        applied: 5 read, 1 added, 1 updated, 0 unchanged, 0 ignored, 3 failed
        row 2 phone phone_taken "4054685465": Another contact of the program has the phone +14054685465
        row 5 phone phone_taken "2125550123": Another contact of the program has the phone +12125550123
        row 6 phone phone_taken "2395745030": Another contact of the program has the phone +12395745030
        → #2 "bob" +12125550123 first_name=Bob credits=2
        → #4 "cat" +14054685465 
    "#]],
    );
}

#[test]
fn phones_are_freed_in_the_order_of_the_rows() {
    check(
        "add phone row",
        "customer_id,phone\nann,2125550123\nbob,2395745030\ncat,4054685465\n,9178504987\n",
        expect![[r#"
        applied: 4 read, 1 added, 2 updated, 0 unchanged, 0 ignored, 1 failed
        row 5 phone identity_required "9178504987": A contact of the program has this phone, and a phone is no proof of identity: send customer_id or signalvine_id
        → #1 "ann" +12125550123 first_name=Ann credits=1
        → #2 "bob" +12395745030 first_name=Bob credits=2
        → #4 "cat" +14054685465 
    "#]],
    );
}

#[test]
fn ids_that_disagree_are_refused() {
    check(
        "add first_name row",
        "signalvine_id,customer_id,first_name\n<1>,bob,X\n<2>,bobby,Y\n<3>,ann,Z\n",
        expect![[r#"
        applied: 3 read, 0 added, 1 updated, 0 unchanged, 0 ignored, 2 failed
        row 2 customer_id ids_disagree "bob": The signalvine_id and the customer_id 'bob' belong to two different contacts
        row 4 customer_id ids_disagree "ann": The signalvine_id and the customer_id 'ann' belong to two different contacts
        → #2 "bob" +14054685465 first_name=Y credits=2
    "#]],
    );
    check(
        "add customer_id row",
        "signalvine_id,customer_id,first_name\n<2>,bobby,Y\n<1>,bob,Y\n<3>,bobby,Z\n",
        expect![[r#"
        applied: 3 read, 0 added, 2 updated, 0 unchanged, 0 ignored, 1 failed
        row 4 customer_id ids_disagree "bobby": The signalvine_id and the customer_id 'bobby' belong to two different contacts
        → #1 "bob" +12395745030 first_name=Ann credits=1
        → #2 "bobby" +14054685465 first_name=Bob credits=2
    "#]],
    );
    check(
        "add customer_id row",
        "signalvine_id,customer_id,phone\n<2>,,\n,bob,7165419523\n",
        expect![[r#"
        applied: 2 read, 1 added, 1 updated, 0 unchanged, 0 ignored, 0 failed
        → #2 "" +14054685465 first_name=Bob credits=2
        → #4 "bob" +17165419523 
    "#]],
    );
    check(
        "add ignore row",
        "signalvine_id,customer_id,phone\n<1>,bob,\n",
        expect![[r#"
        applied: 1 read, 0 added, 0 updated, 0 unchanged, 1 ignored, 0 failed
    "#]],
    );
}

#[test]
fn every_error_of_a_row_is_told() {
    check(
        "add first_name row",
        "customer_id,credits,phone,honors,active,timezone\ncat,x,123,sure why not,,us/eastern\ndan,,,,yes,US/Eastern\n",
        expect![[r#"
        file_error: 0 read, 0 added, 0 updated, 0 unchanged, 0 ignored, 0 failed
        file first_name existing_not_in_file: 'existing' names 'first_name', which is no column of the file
    "#]],
    );
    check(
        "add credits,phone,honors,active row",
        "customer_id,credits,phone,honors,active\nann,,4054685465,maybe,\n",
        expect![[r#"
        applied: 1 read, 0 added, 0 updated, 0 unchanged, 0 ignored, 1 failed
        row 2 credits missing_value "": Could not parse '' as Numeric
        row 2 phone phone_taken "4054685465": Another contact of the program has the phone +14054685465
        row 2 honors invalid_value "maybe": Could not parse 'maybe' as Maybe (Boolean)
        row 2 active missing_value "": Could not parse '' as Boolean
    "#]],
    );
    check(
        "add - row",
        "customer_id,first_name\ncat,C\n",
        expect![[r#"
        applied: 1 read, 0 added, 0 updated, 0 unchanged, 0 ignored, 1 failed
        row 2 phone missing_value: Could not parse '' as Phone
    "#]],
    );
}

#[test]
fn a_row_that_changes_nothing_is_unchanged() {
    check(
        "add phone,first_name,credits,active,honors,group_list row",
        "customer_id,phone,first_name,credits,active,honors,group_list\n ann ,(239) 574-5030, Ann ,+1.0,YES,,;\nbob,405.468.5465,Bob,3,1,,a;b;a\n",
        expect![[r#"
        applied: 2 read, 0 added, 1 updated, 1 unchanged, 0 ignored, 0 failed
        → #2 "bob" +14054685465 first_name=Bob group_list=a;b credits=3
    "#]],
    );
}

#[test]
fn defects_are_the_rows_only_error() {
    check(
        "add first_name row",
        "customer_id,phone,first_name\nann,1\n\"ann\"x,1,A\nann,1,A,\n\"ann\" , ,\"Ann, Q\"\n",
        expect![[r#"
        applied: 4 read, 0 added, 1 updated, 0 unchanged, 0 ignored, 3 failed
        row 2 - cell_count: The row has 2 cells, the header has 3 cells
        row 3 - bad_quotes: Text follows a closing quote in column 1
        row 4 - cell_count: The row has 4 cells, the header has 3 cells
        → #1 "ann" +12395745030 first_name=Ann, Q credits=1
    "#]],
    );
}

#[test]
fn a_nul_is_refused_where_it_is_looked_at() {
    check(
        "add first_name row",
        "customer_id,phone,first_name,note\nann,,A,\0\nbob,,B\0,\nc\0,7165419523,C,\nc\0,7165419523,C,\n",
        expect![[r#"
        applied: 4 read, 0 added, 1 updated, 0 unchanged, 0 ignored, 3 failed
        row 3 first_name invalid_value "B\0": Could not parse 'B␀' as String
        row 4 customer_id invalid_value "c\0": Could not parse 'c␀' as String
        row 5 customer_id duplicate_row "c\0": Row 4 of the file is about the same contact
        → #1 "ann" +12395745030 first_name=A credits=1
    "#]],
    );
}

#[test]
fn what_is_wrong_with_the_header_is_told_at_once() {
    check(
        "add nope,first_name tx",
        "first_name,,first_name,shoe_size,Phone,_row,_row\n1\n\"2\n",
        expect![[r#"
        file_error: 0 read, 0 added, 0 updated, 0 unchanged, 0 ignored, 0 failed
        file - empty_header: Column 2 of the header has no name
        file first_name duplicate_header: Column 3 of the header repeats the name 'first_name'
        file shoe_size unrecognized_variable: Unrecognized variable: shoe_size
        file Phone unrecognized_variable: Unrecognized variable: Phone
        file nope existing_not_in_file: 'existing' names 'nope', which is no column of the file
        file - no_identity_column: No column tells who a row is about: signalvine_id, customer_id or phone is needed
        file - bad_quotes: The quote that opens in row 3 is never closed
    "#]],
    );
    check(
        "add ignore row",
        "",
        expect![[r#"
        file_error: 0 read, 0 added, 0 updated, 0 unchanged, 0 ignored, 0 failed
        file - no_header: The file has no header: it is empty, or has blank lines only
    "#]],
    );
    check(
        "add ignore row",
        "\n\n",
        expect![[r#"
        file_error: 0 read, 0 added, 0 updated, 0 unchanged, 0 ignored, 0 failed
        file - no_header: The file has no header: it is empty, or has blank lines only
    "#]],
    );
    check(
        "add ignore row",
        "\"phone\"x,nope\n1,2\n",
        expect![[r#"
            file_error: 0 read, 0 added, 0 updated, 0 unchanged, 0 ignored, 0 failed
            file - bad_quotes: Text follows a closing quote in column 1 of the header
            file nope unrecognized_variable: Unrecognized variable: nope
            file - no_identity_column: No column tells who a row is about: signalvine_id, customer_id or phone is needed
        "#]],
    );
    check(
        "add ignore row",
        "_phone,_x\n1,2\n",
        expect![[r#"
        file_error: 0 read, 0 added, 0 updated, 0 unchanged, 0 ignored, 0 failed
        file - no_identity_column: No column tells who a row is about: signalvine_id, customer_id or phone is needed
    "#]],
    );
    check(
        "add ignore row",
        "phone\n\"1\n",
        expect![[r#"
        file_error: 0 read, 0 added, 0 updated, 0 unchanged, 0 ignored, 0 failed
        file - bad_quotes: The quote that opens in row 2 is never closed
    "#]],
    );
}

#[test]
fn a_tx_import_takes_effect_without_errors_only() {
    check(
        "add first_name tx",
        "customer_id,phone,first_name\nann,,A\ncat,7165419523,C\ndan,bad,D\n,2125550123,E\n",
        expect![[r#"
        tx_errors: 4 read, 2 added, 1 updated, 0 unchanged, 0 ignored, 1 failed
        row 4 phone invalid_value "bad": Could not parse 'bad' as Phone
    "#]],
    );
    check(
        "add first_name tx",
        "customer_id,phone,first_name\nann,,A\ncat,7165419523,C\n",
        expect![[r#"
        applied: 2 read, 1 added, 1 updated, 0 unchanged, 0 ignored, 0 failed
        → #1 "ann" +12395745030 first_name=A credits=1
        → #4 "cat" +17165419523 first_name=C
    "#]],
    );
}

#[test]
fn a_thousand_errors_are_applied_and_one_more_is_not() {
    for (bad, applied) in [(1_000, true), (1_001, false)] {
        let mut file = "customer_id,phone,credits\ncat,7165419523,1\n".to_owned();
        file.extend((0..bad).map(|row| format!("bad{row},2125550123,x\n")));
        file.push_str("dan,2125550123,2\n");
        let mut after = program();
        let report = after.import(&options("add ignore row"), &file, 0);
        assert_eq!((report.applied(), report.error_count, report.errors.len()), (applied, bad, 1_000));
        assert_eq!((report.counts.added, report.counts.failed), (2, bad));
        assert_eq!(after.contacts.len(), if applied { 5 } else { 3 });
    }
}

#[test]
fn a_cell_of_megabytes_is_repeated_in_part_only() {
    let file = format!("customer_id,phone\ncat,{}\n", "é".repeat(3_000_000));
    let report = program().import(&options("add ignore row"), &file, 0);
    let error = &report.errors[0];
    assert_eq!(error.value.as_ref().map(|value| value.chars().count()), Some(VALUE_CHARS_MAX + 1));
    assert!(error.message.len() < 3_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6_000))]
    /// Tiny alphabets, so that ids collide all the time; whole batches and batches of one row.
    #[test]
    fn the_plan_is_what_the_model_does(bytes in proptest::collection::vec(any::<u8>(), 0..160)) {
        planning::the_plan_is_what_the_model_does(&bytes);
    }
}
