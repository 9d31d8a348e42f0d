//! What was complete before outcomes and days were kept: each home puts it into its older schema, and what it tells after the migration is the
//! same.

use super::*;
use crate::import::{ErrorCode, RowError};
use crate::store::record;

/// Commands of before outcomes were kept: options and, of what is complete, the report; as they are stored. The number is what each was
/// accepted as, a millisecond after the one before, and complete a day later.
pub(in crate::store) fn old_commands() -> Vec<(u8, String, Option<String>)> {
    let told = RowError {
        row: Some(2),
        field: None,
        code: ErrorCode::InvalidValue,
        // What a database cannot take as a text of JSON, and what only looks like it.
        value: Some("\0 \\u0000".to_owned()),
        message: "No.".to_owned(),
    };
    let dry_run = ImportOptions { dry_run: true, columns: Columns::new([("\0", "phone")]), ..options() };
    let with_error = Report { errors: vec![told], ..report_of([2, 1, 1, 1, 1], None) };
    let commands = [
        (options(), Some(with_error)),
        (options(), Some(report_of([3, 0, 0, 0, 0], None))),
        (options(), Some(report_of([2, 0, 0, 0, 2], Some(NotApplied::TxErrors)))),
        (dry_run.clone(), Some(report_of([9, 0, 0, 0, 0], Some(NotApplied::DryRun)))),
        (dry_run, Some(Report::of_fault(Mode::Row, "none"))),
        (options(), Some(Report::of_cancellation(Mode::Row, "x"))),
        (options(), None),
    ];
    let stored = |(options, report): &(ImportOptions, Option<Report>)| {
        let report = report.as_ref().map(|report| record::report_to_json(report).expect("printed"));
        (record::options_to_json(options).expect("printed"), report)
    };
    (1..).zip(commands.iter().map(stored)).map(|(number, (options, report))| (number, options, report)).collect()
}

/// The id of one of these.
pub(in crate::store) fn old_id(number: u8) -> CommandId {
    id_of(NOW + i64::from(number), number)
}

/// They are listed and counted as if outcomes had always been kept.
pub(in crate::store) async fn old_commands_are_told(store: &dyn Store, account: AccountId, program: ProgramId) {
    let items = store.imports(account, ImportsQuery::all(50)).await.expect("listed");
    assert_eq!(items.iter().map(|item| item.id).collect::<Vec<_>>(), [7, 6, 5, 4, 3, 2, 1].map(old_id));
    for item in items {
        let found = store.command(account, item.id).await.expect("readable").expect("the command");
        let expected = match found.state {
            CommandState::Complete { report, trace: _, finished_ms } => {
                let Report { counts, not_applied, error_count, .. } = *report;
                Outcome::Complete { counts, not_applied, error_count, finished_ms }
            }
            CommandState::Running { .. } => unreachable!("nobody is at it"),
            CommandState::Queued { .. } => Outcome::Queued,
        };
        assert_eq!(item.outcome, expected, "{}", item.id);
        assert_eq!(item.dry_run, [4, 5].map(old_id).contains(&item.id));
    }
    for (of, numbers) in [(ImportsOf::Good, vec![4, 2]), (ImportsOf::Bad, vec![6, 5, 3, 1])] {
        let items = store.imports(account, ImportsQuery { of, ..ImportsQuery::all(50) }).await.expect("listed");
        let expected: Vec<CommandId> = numbers.into_iter().map(old_id).collect();
        assert_eq!(items.iter().map(|item| item.id).collect::<Vec<_>>(), expected, "{of:?}");
    }
    let day = (NOW + DAY).div_euclid(DAY);
    let counts = of_rows([5, 1, 1, 1, 5]);
    assert_eq!(store.days(account, 0).await, Ok(vec![DayTally { program, day, imports: 3, bad_imports: 2, counts }]));
    // What changed then is known too.
    store.import_details(account, old_id(1)).await.expect("readable").expect("the import");
}
