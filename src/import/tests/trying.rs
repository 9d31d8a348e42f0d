//! Dry runs and limits: what they tell, and that nothing takes effect.

use super::*;

#[test]
fn a_dry_run_tells_what_would_be_done_and_does_nothing() {
    check(
        "add first_name,active,phone,customer_id row dry",
        "signalvine_id,customer_id,phone,first_name,active\n\
         <1>,ann,(239) 574-5030,Anna,yes\n\
         <2>,bobby,212-555-0123,Bob,no\n\
         <3>,,9178504987,,true\n\
         ,new,7165419523,New,1\n\
         ,bad,nope,Bad,1\n",
        expect![[r#"
            dry_run: 5 read, 1 added, 3 updated, 0 unchanged, 0 ignored, 1 failed
            row 6 phone invalid_value "nope": Could not parse 'nope' as Phone
            1 in customer_id: row 3 "bob" → "bobby"
            1 in phone: row 3 "+14054685465" → "+12125550123"
            2 in first_name: row 2 "Ann" → "Anna" row 4 "Cy" → ""
            1 in active: row 3 "true" → "false"
        "#]],
    );
}

/// A row that fails changes nothing, so it is no example; and only the first few are.
#[test]
fn examples_are_of_rows_that_would_change_something_and_few() {
    let mut program = program();
    let rows = |first_name: &str| {
        (10..20).map(|number| format!("c{number},23957460{number},{first_name}\n")).collect::<String>()
    };
    let header = "customer_id,phone,first_name\n";
    assert!(program.import(&options("add ignore tx"), &format!("{header}{}", rows("Old")), 0).applied());
    let file = format!("{header}ann,no phone,Anna\n{}", rows("New"));
    let report = program.import(&options("add first_name,phone row dry"), &file, 0);
    let changes = report.changes.expect("those of a dry run");
    assert_eq!(
        changes.iter().map(|changes| (changes.field.as_str(), changes.count)).collect::<Vec<_>>(),
        [("first_name", 10)]
    );
    assert_eq!(changes[0].examples.iter().map(|example| example.row).collect::<Vec<_>>(), [3, 4, 5, 6, 7]);
    let report = program.import(&options("add first_name,phone row"), &file, 0);
    assert_eq!((report.applied(), report.changes), (true, None), "an import has no examples");
}

#[test]
fn a_dry_run_that_would_not_be_applied_says_why() {
    check(
        "add first_name tx dry",
        "customer_id,first_name\nann,Anna\nnew,New\n",
        expect![[r#"
            tx_errors: 2 read, 0 added, 1 updated, 0 unchanged, 0 ignored, 1 failed
            row 3 phone missing_value: Could not parse '' as Phone
            1 in first_name: row 2 "Ann" → "Anna"
        "#]],
    );
    check(
        "add first_name row dry",
        "customer_id,frist_name\nann,Anna\n",
        expect![[r#"
            file_error: 0 read, 0 added, 0 updated, 0 unchanged, 0 ignored, 0 failed
            file frist_name unrecognized_variable: Unrecognized variable: frist_name
            file first_name existing_not_in_file: 'existing' names 'first_name', which is no column of the file
        "#]],
    );
}

#[test]
fn a_count_above_its_limit_applies_nothing() {
    let file = "customer_id,phone,first_name\nann,,Anna\nbob,,Bobby\nnew,7165419523,New\nbad,nope,Bad\n";
    check(
        "add first_name row new<=1 updated<=2 failed<=1",
        file,
        expect![[r#"
            applied: 4 read, 1 added, 2 updated, 0 unchanged, 0 ignored, 1 failed
            row 5 phone invalid_value "nope": Could not parse 'nope' as Phone
            → #1 "ann" +12395745030 first_name=Anna credits=1
            → #2 "bob" +14054685465 first_name=Bobby credits=2
            → #4 "new" +17165419523 first_name=New
        "#]],
    );
    check(
        "add first_name row new<=0 updated<=1 failed<=0",
        file,
        expect![[r#"
            limit: 4 read, 1 added, 2 updated, 0 unchanged, 0 ignored, 1 failed
            file - limit_exceeded: 1 row would add a contact; the limit maxNew is 0
            file - limit_exceeded: 2 rows would change a contact; the limit maxUpdated is 1
            file - limit_exceeded: 1 row would fail; the limit maxErrors is 0
            row 5 phone invalid_value "nope": Could not parse 'nope' as Phone
        "#]],
    );
    check(
        "add first_name tx updated<=0",
        "customer_id,first_name\nann,Anna\n",
        expect![[r#"
            limit: 1 read, 0 added, 1 updated, 0 unchanged, 0 ignored, 0 failed
            file - limit_exceeded: 1 row would change a contact; the limit maxUpdated is 0
        "#]],
    );
}

/// The limit's error is one more than the thousand that a report lists, and goes first.
#[test]
fn a_limit_is_told_before_a_thousand_errors() {
    let bad: String = (0..1_000).map(|number| format!("b{number},nope\n")).collect();
    let file = format!("customer_id,phone\n{bad}");
    let report = program().import(&options("add ignore row failed<=999"), &file, 0);
    assert_eq!((report.not_applied, report.error_count, report.errors.len()), (Some(NotApplied::Limit), 1_001, 1_000));
    assert_eq!((report.errors[0].code, report.errors[1].row), (ErrorCode::LimitExceeded, Some(2)));
    let report = program().import(&options("add ignore row failed<=1000"), &file, 0);
    assert!(report.applied());
}
