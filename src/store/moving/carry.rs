//! The move: agree which one it is, carry what is missing, compare both sides, end it. It knows no SQL and no home.
//!
//! Each batch is committed whole and in order, so what the target holds of a part is always its beginning: that is all that a
//! move that was cut off needs to know to go on.

use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

use super::tally::{Line, compare, tally};
use super::{CommandRow, Cursor, Direction, Mark, Movable, PIECE_BYTES, Part, PayloadRow, Row, half_filled};
use crate::command::test_point::test_point;
use crate::contact::date_time::print_ms;
use crate::store::{StoreError, refusal};
use crate::tenant::ProgramId;

/// About how large a batch is to be in memory. Three may be there at once: one that is read, one that is written, and a piece.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// The most rows of a batch. Of commands fewer: some have long reports, and one cannot tell from the others which.
const BATCH_ROWS_MAX: usize = if cfg!(test) { 40 } else { 10_000 };
const BATCH_COMMANDS_MAX: usize = 200;

/// How many rows the first batch has, when nobody knows yet how large they are.
const BATCH_ROWS_FIRST: u32 = 100;

/// What a move is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// So many of all contacts are in the target.
    Carrying,
    /// So many were compared; both sides count.
    Comparing,
}

/// Who is told how far a move is: phase, done, of how many.
pub(crate) type Watch<'a> = &'a (dyn Fn(Phase, u64, u64) + Sync);

/// How a move ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// It was complete since this moment, and nothing was done.
    Before(i64),
    /// Everything is there, and the same.
    Complete(Vec<Line>),
    /// The sides differ. The target cannot be used.
    Different(Vec<Line>),
}

/// Moves everything, or what is left to move.
pub(crate) async fn carry(
    source: &dyn Movable,
    target: &dyn Movable,
    now_ms: i64,
    watch: Watch<'_>,
) -> Result<Ended, StoreError> {
    let id = match agree(source, target, now_ms).await? {
        Agreed::Complete(finished_ms) => return Ok(Ended::Before(finished_ms)),
        Agreed::Go(id) => id,
    };
    test_point("moving.begun");
    for part in [Part::Accounts, Part::Programs, Part::Fields, Part::Tokens, Part::Users, Part::Memberships] {
        carry_part(source, target, part, &|_| ()).await?;
    }
    for part in [Part::Columns, Part::Days, Part::Commands, Part::Signatures, Part::Keys] {
        carry_part(source, target, part, &|_| ()).await?;
    }
    let programs = programs(source).await?;
    let total = contacts(source, &programs).await?;
    let done = AtomicU64::new(0);
    for program in programs {
        let tell = |rows| watch(Phase::Carrying, done.fetch_add(rows, Ordering::Relaxed) + rows, total);
        carry_part(source, target, Part::Contacts(program), &tell).await?;
        target.write_stock(program, source.stock(program).await?).await?;
    }
    target.settle().await?;
    test_point("moving.carried");

    let compared = AtomicU64::new(0);
    let tell = |rows| watch(Phase::Comparing, compared.fetch_add(rows, Ordering::Relaxed) + rows, 2 * total);
    let (of_source, of_target) = tokio::join!(tally(source, &tell), tally(target, &tell));
    let lines = compare(of_source?, of_target?);
    if lines.iter().any(|line| !line.is_same()) {
        return Ok(Ended::Different(lines));
    }
    // The source first: were it the other way round, both could serve for a moment.
    source.end(id, Direction::Out, now_ms).await?;
    test_point("moving.source_ended");
    target.end(id, Direction::In, now_ms).await?;
    Ok(Ended::Complete(lines))
}

/// Gives a move up that is not complete: the source is as it was. Says where it was being moved to.
pub(crate) async fn abandon(source: &dyn Movable) -> Result<String, StoreError> {
    let place = source.place();
    let marks = source.marks().await?;
    match marks.into_iter().find(|mark| mark.direction == Direction::Out) {
        Some(Mark { id, peer, finished_ms: None, .. }) => {
            source.release(id, Direction::Out).await?;
            Ok(peer)
        }
        Some(Mark { peer, finished_ms: Some(_), .. }) => Err(StoreError::Refused(format!(
            "everything in {place} was moved to {peer}, and that is complete; to go back, move it from there into an empty place"
        ))),
        None => Err(StoreError::Refused(format!("nothing is being moved from {place}"))),
    }
}

enum Agreed {
    /// This move was complete before.
    Complete(i64),
    /// Both homes are marked with it.
    Go(Uuid),
}

/// Finds out which move this is, a new one or one that was begun, and marks both homes.
async fn agree(source: &dyn Movable, target: &dyn Movable, now_ms: i64) -> Result<Agreed, StoreError> {
    let (of_source, of_target) = (source.marks().await?, target.marks().await?);
    if let Some(mark) = of_source.iter().find(|mark| mark.direction == Direction::In && mark.finished_ms.is_none()) {
        return Err(half_filled(&source.place(), &mark.peer));
    }
    let out = of_source.iter().find(|mark| mark.direction == Direction::Out);
    let into = out.and_then(|out| of_target.iter().find(|mark| mark.direction == Direction::In && mark.id == out.id));
    let id = match (out, into) {
        (Some(_), Some(Mark { finished_ms: Some(finished_ms), .. })) => return Ok(Agreed::Complete(*finished_ms)),
        (Some(out), Some(_)) => out.id,
        (Some(out), None) => {
            // Cut off between the two marks, unless it was on its way to elsewhere.
            if let Some(finished_ms) = out.finished_ms {
                return Err(StoreError::Refused(format!(
                    "everything in {} was moved to {} at {}, and is imported there",
                    source.place(),
                    out.peer,
                    print_ms(finished_ms)
                )));
            }
            if out.peer != target.place() {
                return Err(StoreError::Refused(format!(
                    "{} is being moved to {}, not to {}; go on with that, or give it up with \
                     'roster migrate --abandon --from …'",
                    source.place(),
                    out.peer,
                    target.place()
                )));
            }
            must_be_empty(target, &of_target).await?;
            out.id
        }
        (None, _) => {
            if !source.holds_anything().await? {
                return Err(StoreError::Refused(format!("there is nothing to be moved in {}", source.place())));
            }
            must_be_empty(target, &of_target).await?;
            refusal::new_id(now_ms)?
        }
    };
    let mark = |direction, peer| Mark { id, direction, peer, begun_ms: now_ms, finished_ms: None };
    source.hold(&mark(Direction::Out, target.place())).await?;
    test_point("moving.source_marked");
    target.hold(&mark(Direction::In, source.place())).await?;
    Ok(Agreed::Go(id))
}

async fn must_be_empty(target: &dyn Movable, marks: &[Mark]) -> Result<(), StoreError> {
    let place = target.place();
    if let Some(mark) = marks.iter().find(|mark| mark.direction == Direction::In && mark.finished_ms.is_none()) {
        return Err(StoreError::Refused(format!(
            "{place} holds a part of another move, from {} (begun at {}), and cannot take this one; \
             move into a new directory or a new database",
            mark.peer,
            print_ms(mark.begun_ms)
        )));
    }
    if !marks.is_empty() || target.holds_anything().await? {
        return Err(StoreError::Refused(format!(
            "{place} is not empty; a move goes into a new directory or a new database"
        )));
    }
    Ok(())
}

/// The programs of a home.
pub(super) async fn programs(home: &dyn Movable) -> Result<Vec<ProgramId>, StoreError> {
    let mut programs = Vec::new();
    let mut pages = Pages::of(home, Part::Programs);
    while let Some(rows) = pages.next().await? {
        programs.extend(rows.iter().filter_map(|row| match row {
            Row::Program(_, program) => Some(program.id),
            _ => None,
        }));
    }
    Ok(programs)
}

async fn contacts(home: &dyn Movable, programs: &[ProgramId]) -> Result<u64, StoreError> {
    let mut total = 0;
    for program in programs {
        total += home.stock(*program).await?.contacts.cast_unsigned();
    }
    Ok(total)
}

/// Carries what the target lacks of a part; `tell` hears how many rows are there, also of those that were.
async fn carry_part(
    source: &dyn Movable,
    target: &dyn Movable,
    part: Part,
    tell: &(dyn Fn(u64) + Sync),
) -> Result<(), StoreError> {
    let reached = target.reached(part).await?;
    let mut pages = Pages::of(source, part);
    let mut there = match part {
        // Where numbers are the order, nothing is read twice.
        Part::Contacts(_) => {
            pages.after.number = reached.cast_signed();
            tell(reached);
            0
        }
        _ => reached,
    };
    let mut next = pages.next().await?;
    while let Some(mut rows) = next {
        let skipped = rows.len().min(usize::try_from(there).unwrap_or(usize::MAX));
        rows.drain(..skipped);
        there -= skipped as u64;
        let (written, read) = tokio::join!(write(source, target, part, rows, tell), pages.next());
        written?;
        next = read?;
    }
    Ok(())
}

async fn write(
    source: &dyn Movable,
    target: &dyn Movable,
    part: Part,
    rows: Vec<Row>,
    tell: &(dyn Fn(u64) + Sync),
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    for row in &rows {
        if let Row::Command(command) = row
            && let PayloadRow::Large = command.payload
        {
            carry_payload(source, target, command).await?;
        }
    }
    let count = rows.len() as u64;
    target.write(part, rows).await?;
    tell(count);
    test_point(if let Part::Contacts(_) = part { "moving.contacts_written" } else { "moving.batch_written" });
    Ok(())
}

async fn carry_payload(source: &dyn Movable, target: &dyn Movable, command: &CommandRow) -> Result<(), StoreError> {
    let mut number = 0;
    let mut piece = source.piece(command, number).await?;
    loop {
        // Only a whole piece can have one after it.
        let next = if piece.len() == PIECE_BYTES { source.piece(command, number + 1).await? } else { Vec::new() };
        target.write_piece(command, number, &piece, next.is_empty()).await?;
        if next.is_empty() {
            return Ok(());
        }
        number += 1;
        piece = next;
    }
}

/// Reads a part from a home, batch after batch, each about as large as is good.
pub(super) struct Pages<'a> {
    home: &'a dyn Movable,
    part: Part,
    after: Cursor,
    rows_max: u32,
}

impl Pages<'_> {
    pub(super) fn of(home: &dyn Movable, part: Part) -> Pages<'_> {
        Pages { home, part, after: Cursor::default(), rows_max: BATCH_ROWS_FIRST }
    }

    /// `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Row>>, StoreError> {
        let rows = self.home.page(self.part, &self.after, self.rows_max).await?;
        let Some(last) = rows.last() else { return Ok(None) };
        let after = last.cursor();
        if after == self.after {
            return Err(StoreError::Fault(format!("{} has no order", self.home.place())));
        }
        self.after = after;
        let average = rows.iter().map(bytes).sum::<usize>() / rows.len();
        let most = if let Part::Commands = self.part { BATCH_COMMANDS_MAX } else { BATCH_ROWS_MAX };
        let fitting = (BATCH_BYTES / average.max(1)).clamp(1, most);
        self.rows_max = u32::try_from(fitting).unwrap_or(BATCH_ROWS_FIRST);
        Ok(Some(rows))
    }
}

/// About how large a row is.
fn bytes(row: &Row) -> usize {
    const FIXED_BYTES: usize = 200;
    FIXED_BYTES
        + match row {
            Row::Command(command) => {
                let payload = match &command.payload {
                    PayloadRow::Small(bytes) => bytes.len(),
                    PayloadRow::Gone | PayloadRow::Large => 0,
                };
                let report = match &command.state {
                    super::CommandRowState::Waiting => 0,
                    super::CommandRowState::Applied { report } => report.len(),
                    super::CommandRowState::Complete { report, .. } => report.len(),
                };
                command.options.len() + payload + report
            }
            Row::Contact(contact) => {
                contact.customer_id.len() + contact.profile.as_bytes().len() + contact.times.as_bytes().len()
            }
            Row::Key(key) => key.key.len(),
            Row::Column(column) => column.name.len() + column.field.len(),
            Row::Account(..)
            | Row::Program(..)
            | Row::Field(_)
            | Row::Token(_)
            | Row::User(_)
            | Row::Membership(_)
            | Row::Day(_)
            | Row::Signature(_) => 0,
        }
}
