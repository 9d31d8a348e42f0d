//! A data directory as a move sees it: rows out and rows in, with the serving lock held all the while.

mod read;
mod write;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use uuid::Uuid;

use self::read::{
    memberships, read_account, read_column, read_command, read_day, read_field, read_key, read_signature, read_token,
    select, users,
};
use self::write::{add_applied, add_command, add_contacts, add_plain, add_token, add_user};
use super::accounts::{PROGRAM_COLUMNS, find_program, read_program, uuid};
use super::connection::Context;
use super::directory::{CATALOGUE, ServingLock, lock_to_serve, make_directories, open_catalogue};
use super::payloads::Payloads;
use super::programs::{ProgramFile, ProgramFiles};
use super::{blocking, contacts};
use crate::store::StoreError;
use crate::store::history::Kept;
use crate::store::moving::{
    CommandRow, CommandRowState, Cursor, Direction, Mark, Movable, PIECE_BYTES, Part, PayloadRow, Row, SMALL_BYTES_MAX,
    TokenRow, UserRow, unwrapped,
};
use crate::store::secrets::{MasterKey, MasterKeySource};
use crate::store::stock::Stock;
use crate::store::token_row::{OldColumns, Unsealed};
use crate::store::user_row::seal_password;
use crate::tenant::ProgramId;

/// The page cache while contacts are written: their keys come in no order.
const CACHE_KIB: u32 = 64 * 1024;

/// A data directory that is moved from or into.
pub(crate) struct SqliteMovable {
    place: String,
    files: Arc<Mutex<Files>>,
}

/// The order of the fields is the order of dropping: the lock goes last.
struct Files {
    catalogue: Connection,
    programs: ProgramFiles,
    payloads: Payloads,
    key: MasterKey,
    _lock: ServingLock,
}

/// What people call a data directory.
pub(super) fn place(data: &Path) -> String {
    // A directory that is not there yet has no other name than the one that it was given.
    let path = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
    format!("the data directory {}", path.display())
}

/// All marks.
pub(super) fn marks(catalogue: &Connection) -> Result<Vec<Mark>, StoreError> {
    let reading = || "reading the marks of moves";
    let mut select =
        catalogue.prepare("SELECT id, direction, peer, begun_ms, finished_ms FROM moving").context(reading)?;
    let rows = select
        .query_map([], |row| Ok((uuid(row, 0)?, row.get::<_, String>(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))
        .context(reading)?;
    let mut marks = Vec::new();
    for row in rows {
        let (id, direction, peer, begun_ms, finished_ms) = row.context(reading)?;
        marks.push(Mark { id, direction: Direction::parse(&direction)?, peer, begun_ms, finished_ms });
    }
    Ok(marks)
}

impl SqliteMovable {
    /// Opens a directory that has data.
    pub(crate) fn source(data: PathBuf, master_key: MasterKeySource) -> Result<SqliteMovable, StoreError> {
        if !data.join(CATALOGUE).is_file() {
            return Err(StoreError::Refused(format!("there is no data in {}", place(&data))));
        }
        Self::open(data, master_key)
    }

    /// Opens a directory, or makes it. Blocking.
    pub(crate) fn open(data: PathBuf, master_key: MasterKeySource) -> Result<SqliteMovable, StoreError> {
        super::check_library()?;
        let (programs, payloads) = make_directories(&data)?;
        let lock = lock_to_serve(&data)?;
        let (catalogue, key) = open_catalogue(&data, master_key)?;
        let files = Files {
            catalogue,
            programs: ProgramFiles::new(programs),
            payloads: Payloads::new(payloads),
            key,
            _lock: lock,
        };
        Ok(SqliteMovable { place: place(&data), files: Arc::new(Mutex::new(files)) })
    }

    /// Works on the files on a thread for blocking work.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Files) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let files = Arc::clone(&self.files);
        blocking(move || work(&mut files.lock().unwrap_or_else(PoisonError::into_inner))).await
    }
}

#[async_trait]
impl Movable for SqliteMovable {
    fn place(&self) -> String {
        self.place.clone()
    }

    async fn marks(&self) -> Result<Vec<Mark>, StoreError> {
        self.work(|files| marks(&files.catalogue)).await
    }

    async fn holds_anything(&self) -> Result<bool, StoreError> {
        self.work(|files| {
            let rows: bool = files
                .catalogue
                .query_row("SELECT EXISTS (SELECT 1 FROM account) OR EXISTS (SELECT 1 FROM console_user)", [], |row| {
                    row.get(0)
                })
                .context(|| "looking for accounts and users")?;
            Ok(rows || files.programs.any()? || files.payloads.any()?)
        })
        .await
    }

    /// Nobody is at work: the serving lock is here.
    async fn hold(&self, mark: &Mark) -> Result<(), StoreError> {
        let Mark { id, direction, peer, begun_ms, finished_ms: _ } = mark.clone();
        self.work(move |files| {
            files
                .catalogue
                .execute(
                    "INSERT INTO moving (id, direction, peer, begun_ms) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
                    params![id.as_bytes().as_slice(), direction.word(), peer, begun_ms],
                )
                .context(|| "marking the catalogue")?;
            Ok(())
        })
        .await
    }

    async fn end(&self, id: Uuid, direction: Direction, finished_ms: i64) -> Result<(), StoreError> {
        self.work(move |files| {
            files
                .catalogue
                .execute(
                    "UPDATE moving SET finished_ms = ?3 WHERE id = ?1 AND direction = ?2 AND finished_ms IS NULL",
                    params![id.as_bytes().as_slice(), direction.word(), finished_ms],
                )
                .context(|| "marking the catalogue")?;
            Ok(())
        })
        .await
    }

    async fn release(&self, id: Uuid, direction: Direction) -> Result<(), StoreError> {
        self.work(move |files| {
            files
                .catalogue
                .execute(
                    "DELETE FROM moving WHERE id = ?1 AND direction = ?2 AND finished_ms IS NULL",
                    params![id.as_bytes().as_slice(), direction.word()],
                )
                .context(|| "taking the catalogue's mark away")?;
            Ok(())
        })
        .await
    }

    async fn page(&self, part: Part, after: &Cursor, rows_max: u32) -> Result<Vec<Row>, StoreError> {
        let after = after.clone();
        self.work(move |files| files.page(part, &after, rows_max)).await
    }

    async fn piece(&self, command: &CommandRow, piece: u32) -> Result<Vec<u8>, StoreError> {
        let command = command.id;
        let from = u64::from(piece) * PIECE_BYTES as u64;
        self.work(move |files| files.payloads.read_at(command, from, PIECE_BYTES)).await
    }

    async fn stock(&self, program: ProgramId) -> Result<Stock, StoreError> {
        self.work(move |files| {
            let stock = files.program(program)?.read(|file| {
                file.query_row("SELECT next_number, contacts, active FROM meta", [], |row| {
                    Ok(Stock { next_number: row.get(0)?, contacts: row.get(1)?, active: row.get(2)? })
                })
                .context(|| format!("reading the counts of program {program}"))
            })?;
            Ok(stock.unwrap_or(Stock::EMPTY))
        })
        .await
    }

    async fn reached(&self, part: Part) -> Result<u64, StoreError> {
        self.work(move |files| files.reached(part)).await
    }

    async fn write(&self, part: Part, rows: Vec<Row>) -> Result<(), StoreError> {
        self.work(move |files| files.write(part, rows)).await
    }

    async fn write_piece(
        &self,
        command: &CommandRow,
        piece: u32,
        bytes: &[u8],
        is_last: bool,
    ) -> Result<(), StoreError> {
        let (command, bytes) = (command.id, bytes.to_vec());
        self.work(move |files| files.payloads.write_piece(command, piece == 0, &bytes, is_last)).await
    }

    async fn write_stock(&self, program: ProgramId, stock: Stock) -> Result<(), StoreError> {
        self.work(move |files| {
            // Without its first import a program has no file.
            if stock == Stock::EMPTY {
                return Ok(());
            }
            let Stock { next_number, contacts, active } = stock;
            files.write_program(program, |tx| {
                tx.execute(
                    "UPDATE meta SET next_number = ?1, contacts = ?2, active = ?3",
                    params![next_number, contacts, active],
                )?;
                Ok(())
            })
        })
        .await
    }

    /// Each file is ready as it is.
    async fn settle(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.work(|files| {
            files.programs.close();
            Ok(())
        })
        .await
    }
}

impl Files {
    fn program(&self, program: ProgramId) -> Result<Arc<ProgramFile>, StoreError> {
        let found = find_program(&self.catalogue, program)?;
        let found = found.ok_or_else(|| StoreError::Fault(format!("there is no program {program}")))?;
        Ok(self.programs.get(&found))
    }

    fn page(&self, part: Part, after: &Cursor, rows_max: u32) -> Result<Vec<Row>, StoreError> {
        let catalogue = &self.catalogue;
        let Cursor { is_open: _, number, program, bytes } = after;
        let program = program.as_bytes().as_slice();
        match part {
            Part::Accounts => select(
                catalogue,
                "SELECT number, id, name, created_ms FROM account WHERE number > ?1 ORDER BY number LIMIT ?2",
                params![number, rows_max],
                read_account,
            ),
            Part::Programs => select(
                catalogue,
                &format!("SELECT {PROGRAM_COLUMNS}, number FROM program WHERE number > ?1 ORDER BY number LIMIT ?2"),
                params![number, rows_max],
                |row| Ok(Row::Program(row.get(9)?, read_program(row)?)),
            ),
            Part::Fields => select(
                catalogue,
                "SELECT program, number, name, type, created_ms, removed_ms FROM field
                 WHERE (program, number) > (?1, ?2) ORDER BY program, number LIMIT ?3",
                params![program, number, rows_max],
                read_field,
            ),
            Part::Tokens => self.tokens(*number, rows_max),
            Part::Users => users(catalogue, &self.key, *number, rows_max),
            Part::Memberships => memberships(catalogue, (program, bytes), rows_max),
            Part::Commands => self.commands(after, rows_max),
            Part::Signatures => select(
                catalogue,
                "SELECT token, signature, command, request_digest, remember_until_ms FROM signature
                 WHERE (token, signature) > (?1, ?2) ORDER BY token, signature LIMIT ?3",
                params![number, bytes, rows_max],
                read_signature,
            ),
            Part::Columns => select(
                catalogue,
                "SELECT program, name, field, remembered_ms FROM mapped_column
                 WHERE (program, name) > (?1, ?2) ORDER BY program, name LIMIT ?3",
                params![program, String::from_utf8_lossy(bytes), rows_max],
                read_column,
            ),
            Part::Days => select(
                catalogue,
                "SELECT account, day, program, imports, bad_imports, added, updated, unchanged, ignored, failed
                 FROM day_tally WHERE (account, day, program) > (?1, ?2, ?3) ORDER BY account, day, program LIMIT ?4",
                params![bytes, number, program, rows_max],
                read_day,
            ),
            Part::Keys => select(
                catalogue,
                "SELECT token, program, key, command, body_digest, created_ms FROM idempotency_key
                 WHERE (token, program, key) > (?1, ?2, ?3) ORDER BY token, program, key LIMIT ?4",
                params![number, program, String::from_utf8_lossy(bytes), rows_max],
                read_key,
            ),
            Part::Contacts(program) => {
                let tag = find_program(catalogue, program)?.map(|program| program.tag);
                let Some(tag) = tag else { return Ok(Vec::new()) };
                let rows = self.program(program)?.read(|file| {
                    let sql =
                        format!("SELECT {} FROM contact WHERE number > ?1 ORDER BY number LIMIT ?2", contacts::COLUMNS);
                    select(file, &sql, params![number, rows_max], |row| {
                        Ok(Row::Contact(Box::new(contacts::read_contact(row, tag)?)))
                    })
                })?;
                Ok(rows.unwrap_or_default())
            }
        }
    }

    fn tokens(&self, after: i64, rows_max: u32) -> Result<Vec<Row>, StoreError> {
        let rows = select(
            &self.catalogue,
            "SELECT number, token, account, name, secret, created_ms, revoked_ms,
                read_only, programs, old_secret, old_secret_until_ms, last_used_ms
             FROM token
             WHERE number > ?1 ORDER BY number LIMIT ?2",
            params![after, rows_max],
            |row| {
                let old = OldColumns { sealed: row.get(9)?, until_ms: row.get(10)? };
                Ok((row.get::<_, Vec<u8>>(4)?, old, read_token(row)?))
            },
        )?;
        rows.into_iter()
            .map(|(sealed, old, token)| {
                let columns = token.unsealed.columns.clone();
                let unsealed = Unsealed::open(&self.key, &token.token, (&sealed, columns, old)).ok_or_else(|| {
                    StoreError::Fault(format!("the secret of token number {} cannot be opened", token.number))
                })?;
                Ok(Row::Token(TokenRow { unsealed, ..token }))
            })
            .collect()
    }

    fn commands(&self, after: &Cursor, rows_max: u32) -> Result<Vec<Row>, StoreError> {
        let rows = |is_open: bool, after: i64| {
            // Spelled as the index has it.
            let state = if is_open { "state <> 'complete'" } else { "state = 'complete'" };
            let sql = format!(
                "SELECT command.seq, id, account, program, token, from_name, created_ms, payload_bytes, options,
                   finished_ms, trace, report, payload.bytes, cancelled_by, body_digest
                 FROM command LEFT JOIN payload ON payload.seq = command.seq
                 WHERE {state} AND command.seq > ?1 ORDER BY command.seq LIMIT ?2"
            );
            select(&self.catalogue, &sql, params![after, rows_max], read_command)
        };
        let mut commands = if after.is_open { Vec::new() } else { rows(false, after.number)? };
        if commands.is_empty() {
            commands = rows(true, if after.is_open { after.number } else { 0 })?;
        }
        for command in &mut commands {
            if command.state == CommandRowState::Waiting
                && let Some(report) = self.applied(command)?
            {
                command.state = CommandRowState::Applied { report };
            }
            if command.payload == PayloadRow::Gone {
                command.payload = match self.payloads.length(command.id)? {
                    None if command.payload_bytes == 0 => PayloadRow::Small(Vec::new()),
                    None => PayloadRow::Gone,
                    Some(bytes) if bytes <= SMALL_BYTES_MAX => {
                        let bytes_max = usize::try_from(bytes).unwrap_or(PIECE_BYTES);
                        PayloadRow::Small(self.payloads.read_at(command.id, 0, bytes_max)?)
                    }
                    Some(_) => PayloadRow::Large,
                };
            }
        }
        Ok(commands.into_iter().map(|command| Row::Command(Box::new(command))).collect())
    }

    /// When the move that leads in here began.
    fn begun_ms(&self) -> Result<i64, StoreError> {
        self.catalogue
            .query_row("SELECT coalesce(max(begun_ms), 0) FROM moving", [], |row| row.get(0))
            .context(|| "reading the marks of moves")
    }

    fn applied(&self, command: &CommandRow) -> Result<Option<String>, StoreError> {
        let report = self.program(command.program)?.read(|file| {
            file.query_row(
                "SELECT report FROM applied WHERE command = ?1",
                [command.id.0.as_bytes().as_slice()],
                |row| row.get(0),
            )
            .optional()
            .context(|| format!("asking whether command {} was applied", command.id))
        })?;
        Ok(report.flatten())
    }

    fn reached(&self, part: Part) -> Result<u64, StoreError> {
        let counting = || "counting what is there";
        let count = |table: &str| -> Result<i64, StoreError> {
            let sql = format!("SELECT count(*) FROM {table}");
            self.catalogue.query_row(&sql, [], |row| row.get(0)).context(counting)
        };
        let reached = match part {
            Part::Accounts => count("account")?,
            Part::Programs => count("program")?,
            Part::Fields => count("field")?,
            Part::Tokens => count("token")?,
            Part::Users => count("console_user")?,
            Part::Memberships => count("console_membership")?,
            Part::Commands => count("command")?,
            Part::Signatures => count("signature")?,
            Part::Keys => count("idempotency_key")?,
            Part::Columns => count("mapped_column")?,
            Part::Days => count("day_tally")?,
            Part::Contacts(program) => {
                let highest = self.program(program)?.read(|file| {
                    file.query_row("SELECT coalesce(max(number), 0) FROM contact", [], |row| row.get(0))
                        .context(counting)
                })?;
                highest.unwrap_or(0)
            }
        };
        Ok(reached.cast_unsigned())
    }

    fn write(&mut self, part: Part, rows: Vec<Row>) -> Result<(), StoreError> {
        match part {
            Part::Contacts(program) => {
                let contacts = unwrapped(rows, |row| if let Row::Contact(row) = row { Some(row) } else { None })?;
                self.write_program(program, |tx| add_contacts(tx, &contacts))
            }
            Part::Commands => {
                let commands = unwrapped(rows, |row| if let Row::Command(row) = row { Some(row) } else { None })?;
                let begun_ms = self.begun_ms()?;
                // First the programs' files: they are believed.
                for command in &commands {
                    if let CommandRowState::Applied { report } = &command.state {
                        self.write_program(command.program, |tx| add_applied(tx, command, report, begun_ms))?;
                    }
                }
                let mut kept = Vec::new();
                for command in &commands {
                    kept.push(match &command.state {
                        CommandRowState::Complete { report, .. } => Some(Kept::of_stored(report)?),
                        CommandRowState::Waiting | CommandRowState::Applied { .. } => None,
                    });
                }
                self.write_catalogue(|tx| {
                    commands.iter().zip(&kept).try_for_each(|(command, kept)| add_command(tx, command, kept.as_ref()))
                })
            }
            Part::Tokens => {
                let mut tokens = Vec::new();
                for token in unwrapped(rows, |row| if let Row::Token(row) = row { Some(row) } else { None })? {
                    tokens.push((token.unsealed.seal(&self.key, &token.token)?, token));
                }
                self.write_catalogue(|tx| tokens.iter().try_for_each(|(sealed, token)| add_token(tx, token, sealed)))
            }
            Part::Users => {
                let users = unwrapped(rows, |row| if let Row::User(row) = row { Some(row) } else { None })?;
                let seal = |user: &UserRow| {
                    user.password.as_ref().map(|password| seal_password(&self.key, user.id, password)).transpose()
                };
                let sealed: Vec<Option<Vec<u8>>> = users.iter().map(seal).collect::<Result<_, _>>()?;
                self.write_catalogue(|tx| {
                    users.iter().zip(&sealed).try_for_each(|(user, sealed)| add_user(tx, user, sealed.as_deref()))
                })
            }
            Part::Accounts
            | Part::Programs
            | Part::Fields
            | Part::Memberships
            | Part::Columns
            | Part::Days
            | Part::Signatures
            | Part::Keys => self.write_catalogue(|tx| rows.iter().try_for_each(|row| add_plain(tx, row))),
        }
    }

    fn write_catalogue(&mut self, add: impl FnOnce(&Connection) -> rusqlite::Result<()>) -> Result<(), StoreError> {
        let write = || -> rusqlite::Result<()> {
            let tx = self.catalogue.transaction_with_behavior(TransactionBehavior::Immediate)?;
            add(&tx)?;
            tx.commit()
        };
        write().context(|| "filling the catalogue")
    }

    fn write_program(
        &self,
        program: ProgramId,
        add: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), StoreError> {
        let file = self.program(program)?;
        let mut connection = file.take_writer()?;
        let write = || -> rusqlite::Result<()> {
            connection.execute_batch(&format!("PRAGMA cache_size = -{CACHE_KIB}"))?;
            let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            add(&tx)?;
            tx.commit()
        };
        write().context(|| format!("filling program {program}"))?;
        file.return_writer(connection);
        Ok(())
    }
}

/// The tables of a file with their columns.
#[cfg(test)]
pub(crate) fn columns(path: &Path) -> Result<Vec<String>, StoreError> {
    let file = super::connection::open(path, super::connection::Access::Read)?;
    select(
        &file,
        "SELECT name || ': ' || (SELECT group_concat(name, ' ') FROM pragma_table_info(sqlite_schema.name))
         FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name",
        [],
        |row| row.get(0),
    )
}
