//! Other names for the columns of a file: the import goes on as if its header had had these.

use super::made_up::Choices;
use super::*;
use crate::contact::trim;

#[test]
fn columns_are_known_by_their_other_names() {
    check(
        "add first_name,phone row Nr=customer_id Handy=phone Vorname=first_name Notiz= elsewhere=last_name",
        "Nr, Handy ,Vorname,Notiz,credits\nann,(239) 574-5030,Anna,x,9\ncat,7165419523,Zoë,y,7\n,bad,B,z,\n",
        expect![[r#"
            applied: 3 read, 1 added, 1 updated, 0 unchanged, 0 ignored, 1 failed
            row 4 phone invalid_value "bad": Could not parse 'bad' as Phone
            row 4 credits missing_value "": Could not parse '' as Numeric
            → #1 "ann" +12395745030 first_name=Anna credits=1
            → #4 "cat" +17165419523 first_name=Zoë credits=7
        "#]],
    );
    // Names may change their places.
    check(
        "add first_name row first_name=last_name last_name=first_name",
        "phone,first_name,last_name\n7165419523,Parsons,Zoë\n",
        expect![[r#"
            applied: 1 read, 1 added, 0 updated, 0 unchanged, 0 ignored, 0 failed
            → #4 "" +17165419523 first_name=Zoë last_name=Parsons
        "#]],
    );
}

#[test]
fn a_header_is_judged_by_its_other_names() {
    // Two for one field; a field that is none; a name of the file is no column any more; names are told apart by their case.
    check(
        "add Vorname,first_name row Vorname=first_name Rufname=first_name Schuh=shoe_size phone=customer_id HANDY=phone",
        "phone,Vorname,Rufname,Schuh,Handy\n1,2,3,4,5\n",
        expect![[r#"
            file_error: 0 read, 0 added, 0 updated, 0 unchanged, 0 ignored, 0 failed
            file first_name duplicate_header: Column 3 of the header repeats the name 'first_name'
            file shoe_size unrecognized_variable: Unrecognized variable: shoe_size
            file Handy unrecognized_variable: Unrecognized variable: Handy
            file Vorname existing_not_in_file: 'existing' names 'Vorname', which is no column of the file
        "#]],
    );
    // One that is named like a field already.
    check(
        "add ignore row Handy=phone",
        "phone,Handy\n7165419523,2125550123\n",
        expect![[r#"
            file_error: 0 read, 0 added, 0 updated, 0 unchanged, 0 ignored, 0 failed
            file phone duplicate_header: Column 2 of the header repeats the name 'phone'
        "#]],
    );
}

#[test]
fn a_column_that_is_left_out_is_not_looked_at() {
    // Not even if it occurs twice, has no name, or is a field's; but what is no header at all stays so.
    check(
        "add - row credits= x= =",
        "customer_id,phone,x,x,credits,,\ncat,7165419523,1,2,junk,3,4\ndan,2125550123,1,2,junk,3\n",
        expect![[r#"
            applied: 2 read, 1 added, 0 updated, 0 unchanged, 0 ignored, 1 failed
            row 3 - cell_count: The row has 6 cells, the header has 7 cells
            → #4 "cat" +17165419523 
        "#]],
    );
    check(
        "add credits row credits= phone= ax=",
        "customer_id,phone,credits,\"a\"x\nann,1,2,3\n",
        expect![[r#"
            file_error: 0 read, 0 added, 0 updated, 0 unchanged, 0 ignored, 0 failed
            file - bad_quotes: Text follows a closing quote in column 4 of the header
            file credits existing_not_in_file: 'existing' names 'credits', which is no column of the file
        "#]],
    );
    check(
        "add - row phone=",
        "phone\n7165419523\n",
        expect![[r#"
            file_error: 0 read, 0 added, 0 updated, 0 unchanged, 0 ignored, 0 failed
            file - no_identity_column: No column tells who a row is about: signalvine_id, customer_id or phone is needed
        "#]],
    );
}

/// Rows that failed before, corrected: their cells have guards, whether or not anybody wants to know their numbers.
#[test]
fn guards_come_off_under_other_names_too() {
    for words in ["add - row Vorname=first_name", "add - row Vorname=first_name _row= _errors="] {
        check(
            words,
            "_row,_errors,phone,Vorname\n2,why,'+17165419523,'=Zoë\n",
            expect![[r#"
                applied: 1 read, 1 added, 0 updated, 0 unchanged, 0 ignored, 0 failed
                → #4 "" +17165419523 first_name==Zoë
            "#]],
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    /// The same file under other names has the same report and the same effect.
    #[test]
    fn a_file_under_other_names_is_the_same(bytes in proptest::collection::vec(any::<u8>(), 0..160)) {
        let mut choices = Choices::new(&bytes);
        let before = Program::of(&made_up::contacts(&mut choices, &planning::id));
        let (options, mut file) = made_up::import(&mut choices, &planning::id);
        let mut expected = before.clone();
        let report = expected.import(&options, &file.csv(), 0);

        let mut pairs = Vec::new();
        for (place, name) in file.header.iter_mut().enumerate() {
            // One without a name is left out by another one only.
            if !trim(name).is_empty() {
                let other = format!("Column {place}");
                pairs.push((other.clone(), std::mem::replace(name, other)));
            }
        }
        let renamed = ImportOptions { columns: Columns::new(pairs), ..options };
        let mut after = before;
        prop_assert_eq!(after.import(&renamed, &file.csv(), 0), report);
        prop_assert_eq!(after, expected);
    }
}
