//! Counting and digesting: every row of a home as bytes that are the same wherever it is kept.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::carry::{Pages, programs};
use super::{
    ColumnRow, CommandRow, CommandRowState, DayRow, FieldRow, KeyRow, MembershipRow, Movable, Part, PayloadRow, Row,
    SignatureRow, TokenRow, UserRow,
};
use crate::contact::{Contact, Phone};
use crate::store::StoreError;
use crate::store::stock::Stock;
use crate::store::token_row::{ScopeColumns, Unsealed};
use crate::tenant::{Account, PasswordHash, Program};

/// One kind of rows, on both sides.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Line {
    /// `accounts`, …, `contacts of <program>`.
    pub(crate) what: String,
    /// What is in the home that was moved from.
    pub(crate) source: Tally,
    /// What is in the home that was moved into.
    pub(crate) target: Tally,
}

impl Line {
    /// Whether both sides have the same.
    pub(crate) fn is_same(&self) -> bool {
        self.source == self.target
    }
}

/// How many rows, and which.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Tally {
    pub(crate) rows: u64,
    /// SHA-256 in hex.
    pub(crate) sha256: String,
}

/// Puts the tallies of both sides beside each other.
pub(super) fn compare(source: Vec<(String, Tally)>, target: Vec<(String, Tally)>) -> Vec<Line> {
    let mut others: BTreeMap<String, Tally> = target.into_iter().collect();
    let nothing = || Tallier::default().finish();
    let mut lines: Vec<Line> = source
        .into_iter()
        .map(|(what, source)| Line { target: others.remove(&what).unwrap_or_else(nothing), what, source })
        .collect();
    lines.extend(others.into_iter().map(|(what, target)| Line { what, source: nothing(), target }));
    lines
}

/// Reads everything in a home. Each time contacts are read, `tell` hears how many.
pub(super) async fn tally(home: &dyn Movable, tell: &(dyn Fn(u64) + Sync)) -> Result<Vec<(String, Tally)>, StoreError> {
    let mut tallies = Vec::new();
    let parts = [
        ("accounts", Part::Accounts),
        ("programs", Part::Programs),
        ("fields", Part::Fields),
        ("tokens", Part::Tokens),
        ("users", Part::Users),
        ("memberships", Part::Memberships),
        ("columns", Part::Columns),
        ("days", Part::Days),
        ("signatures", Part::Signatures),
        ("idempotency keys", Part::Keys),
    ];
    for (what, part) in parts {
        let mut tallier = Tallier::default();
        let mut pages = Pages::of(home, part);
        while let Some(rows) = pages.next().await? {
            rows.iter().for_each(|row| tallier.add(row));
        }
        tallies.push((what.to_owned(), tallier.finish()));
    }
    commands(home, &mut tallies).await?;
    let mut counters = Tallier::default();
    for program in programs(home).await? {
        let Stock { next_number, contacts, active } = home.stock(program).await?;
        counters.bytes(program.0.as_bytes());
        [next_number, contacts, active].into_iter().for_each(|count| counters.number(count));
        counters.end_row();
        let mut tallier = Tallier::default();
        let mut pages = Pages::of(home, Part::Contacts(program));
        while let Some(rows) = pages.next().await? {
            rows.iter().for_each(|row| tallier.add(row));
            tell(rows.len() as u64);
        }
        tallies.push((format!("contacts of {program}"), tallier.finish()));
    }
    tallies.push(("counters".to_owned(), counters.finish()));
    Ok(tallies)
}

/// By program: homes agree on the order within each, and on no other.
async fn commands(home: &dyn Movable, tallies: &mut Vec<(String, Tally)>) -> Result<(), StoreError> {
    let mut of_programs = BTreeMap::new();
    let mut pages = Pages::of(home, Part::Commands);
    while let Some(rows) = pages.next().await? {
        for row in rows {
            let Row::Command(command) = &row else { continue };
            let tallier: &mut Tallier = of_programs.entry(command.program).or_default();
            if let PayloadRow::Large = command.payload {
                let mut number = 0;
                loop {
                    let piece = home.piece(command, number).await?;
                    if piece.is_empty() {
                        break;
                    }
                    tallier.bytes(&piece);
                    tallier.flush();
                    number += 1;
                }
            }
            tallier.add(&row);
        }
    }
    for (program, tallier) in of_programs {
        tallies.push((format!("commands of {program}"), tallier.finish()));
    }
    Ok(())
}

/// Every value goes with its length, so that no two rows make the same bytes.
#[derive(Default)]
struct Tallier {
    rows: u64,
    sha256: Sha256,
    row: Vec<u8>,
}

impl Tallier {
    fn bytes(&mut self, bytes: &[u8]) {
        self.row.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.row.extend_from_slice(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn number(&mut self, number: i64) {
        self.row.extend_from_slice(&number.to_le_bytes());
    }

    fn is(&mut self, is: bool) {
        self.row.push(u8::from(is));
    }

    fn maybe<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Tallier, T)) {
        self.is(value.is_some());
        if let Some(value) = value {
            put(self, value);
        }
    }

    fn flush(&mut self) {
        self.sha256.update(&self.row);
        self.row.clear();
    }

    fn end_row(&mut self) {
        self.flush();
        self.rows += 1;
    }

    fn finish(self) -> Tally {
        let mut sha256 = String::with_capacity(64);
        for byte in self.sha256.finalize() {
            let _ = write!(sha256, "{byte:02x}");
        }
        Tally { rows: self.rows, sha256 }
    }

    fn add(&mut self, row: &Row) {
        match row {
            Row::Account(number, account) => self.account(*number, account),
            Row::Program(number, program) => self.program(*number, program),
            Row::Field(field) => self.field(field),
            Row::Token(token) => self.token(token),
            Row::User(user) => self.user(user),
            Row::Membership(membership) => self.membership(membership),
            Row::Command(command) => self.command(command),
            Row::Signature(signature) => self.signature(signature),
            Row::Key(key) => self.key(key),
            Row::Column(column) => self.column(column),
            Row::Day(day) => self.day(day),
            Row::Contact(contact) => self.contact(contact),
        }
        self.end_row();
    }

    fn account(&mut self, number: i64, account: &Account) {
        let Account { id, name, created_ms } = account;
        self.number(number);
        self.bytes(id.0.as_bytes());
        self.text(name);
        self.number(*created_ms);
    }

    fn program(&mut self, number: i64, program: &Program) {
        let Program { id, account, name, active, region, phone, timezone, tag, created_ms } = program;
        self.number(number);
        self.bytes(id.0.as_bytes());
        self.bytes(account.0.as_bytes());
        self.text(name);
        self.is(*active);
        self.text(region.as_str());
        self.maybe(phone.map(Phone::digits), |tallier, digits| tallier.number(digits.cast_signed()));
        self.maybe(timezone.as_deref(), Tallier::text);
        self.number(tag.bits().cast_signed());
        self.number(*created_ms);
    }

    fn field(&mut self, field: &FieldRow) {
        let FieldRow { program, number, name, field_type, created_ms, removed_ms } = field;
        self.bytes(program.0.as_bytes());
        self.number(*number);
        self.text(name);
        self.text(field_type);
        self.number(*created_ms);
        self.maybe(*removed_ms, Tallier::number);
    }

    fn token(&mut self, row: &TokenRow) {
        let TokenRow { number, token, account, name, unsealed, created_ms, revoked_ms, last_used_ms } = row;
        let Unsealed { columns, secret, old_secret } = unsealed;
        let ScopeColumns { read_only, programs } = columns;
        self.number(*number);
        self.text(token);
        self.bytes(account.0.as_bytes());
        self.text(name);
        self.text(secret.expose());
        self.maybe(old_secret.as_ref(), |tallier, old| {
            tallier.text(old.secret.expose());
            tallier.number(old.until_ms);
        });
        self.number(i64::from(*read_only));
        self.maybe(programs.as_deref(), Tallier::text);
        self.number(*created_ms);
        self.maybe(*revoked_ms, Tallier::number);
        self.maybe(*last_used_ms, Tallier::number);
    }

    fn user(&mut self, user: &UserRow) {
        let UserRow { number, id, name, password, created_ms, last_signed_in_ms, disabled_ms } = user;
        self.number(*number);
        self.bytes(id.0.as_bytes());
        self.text(name.as_str());
        self.maybe(password.as_ref().map(PasswordHash::expose), Tallier::text);
        self.number(*created_ms);
        self.maybe(*last_signed_in_ms, Tallier::number);
        self.maybe(*disabled_ms, Tallier::number);
    }

    fn membership(&mut self, membership: &MembershipRow) {
        let MembershipRow { user, account, role } = membership;
        self.bytes(user.0.as_bytes());
        self.bytes(account.0.as_bytes());
        self.text(role.as_str());
    }

    fn day(&mut self, row: &DayRow) {
        let DayRow { account, day, program, imports, bad_imports, rows } = row;
        self.bytes(account.0.as_bytes());
        self.number(*day);
        self.bytes(program.0.as_bytes());
        [*imports, *bad_imports].into_iter().chain(*rows).for_each(|count| self.number(count));
    }

    fn command(&mut self, command: &CommandRow) {
        let CommandRow {
            id,
            account,
            program,
            token,
            from_name,
            created_ms,
            payload_bytes,
            options,
            body_digest,
            cancelled_by,
            state,
            payload,
            sequence: _,
        } = command;
        self.bytes(id.0.as_bytes());
        self.bytes(account.0.as_bytes());
        self.bytes(program.0.as_bytes());
        self.number(*token);
        self.text(from_name);
        self.number(*created_ms);
        self.number(*payload_bytes);
        self.text(options);
        self.maybe(cancelled_by.as_deref(), Tallier::text);
        self.maybe(body_digest.as_deref(), Tallier::bytes);
        match state {
            CommandRowState::Waiting => self.text("waiting"),
            CommandRowState::Applied { report } => {
                self.text("applied");
                self.text(report);
            }
            CommandRowState::Complete { finished_ms, trace, report } => {
                self.text("complete");
                self.number(*finished_ms);
                self.text(trace);
                self.text(report);
            }
        }
        match payload {
            PayloadRow::Gone => self.text("gone"),
            PayloadRow::Small(bytes) => self.bytes(bytes),
            // Its pieces came before.
            PayloadRow::Large => self.text("large"),
        }
    }

    fn signature(&mut self, row: &SignatureRow) {
        let SignatureRow { token, signature, command, request_digest, remember_until_ms } = row;
        self.number(*token);
        self.bytes(signature);
        self.bytes(command.0.as_bytes());
        self.bytes(request_digest);
        self.number(*remember_until_ms);
    }

    fn column(&mut self, row: &ColumnRow) {
        let ColumnRow { program, name, field, remembered_ms } = row;
        self.bytes(program.0.as_bytes());
        self.text(name);
        self.text(field);
        self.number(*remembered_ms);
    }

    fn key(&mut self, row: &KeyRow) {
        let KeyRow { token, program, key, command, body_digest, created_ms } = row;
        self.number(*token);
        self.bytes(program.0.as_bytes());
        self.text(key);
        self.bytes(command.0.as_bytes());
        self.bytes(body_digest);
        self.number(*created_ms);
    }

    fn contact(&mut self, contact: &Contact) {
        let Contact { id, customer_id, phone, active, created_ms, updated_ms, profile, times } = contact;
        self.bytes(id.to_uuid().as_bytes());
        self.text(customer_id);
        self.number(phone.digits().cast_signed());
        self.is(*active);
        self.number(*created_ms);
        self.number(*updated_ms);
        self.bytes(profile.as_bytes());
        self.bytes(times.as_bytes());
    }
}
