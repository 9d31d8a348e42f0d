//! What it is measured beside: the databases' own shells. They know neither signature nor types nor report, and write every row
//! of the file whether it changed or not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::service::postmaster;
use super::{Input, Sample, Side};
use crate::memory;
use crate::postgres::Server;
use crate::roster::text_of;

/// Of the file, in its order.
const COLUMNS: &str =
    "customer_id, phone, first_name, last_name, active, group_list, major, gpa, credits, honors, enrolled_on, notes";

/// What each night's file has in the notes of the rows that it changed.
const NOTES_OF_CHANGED: [(&str, &str); 3] =
    [("first load", "none"), ("1 % changed", "changed last night"), ("all changed", "changed in a later night")];

fn notes_of(input: &Input) -> &'static str {
    NOTES_OF_CHANGED.iter().find(|(name, _)| *name == input.name).map_or("none", |(_, notes)| notes)
}

/// That a table has the file's rows, and as many changed ones: `rows|changed` as the shell prints it.
fn check(printed: &str, input: &Input) -> Result<(), String> {
    let expected = format!("{}|{}", input.rows, input.changed);
    let found = printed.trim();
    if found == expected { Ok(()) } else { Err(format!("the table has {found} instead of {expected} (rows|changed)")) }
}

/// SQLite's, with a file that is flushed as the service's is.
pub(super) struct Sqlite3 {
    program: &'static str,
    file: PathBuf,
}

impl Sqlite3 {
    pub(super) fn new(program: &'static str, directory: &Path) -> Sqlite3 {
        Sqlite3 { program, file: directory.join("sqlite3.db") }
    }

    fn run(&self, script: &str) -> Result<String, String> {
        let mut shell = Command::new(self.program);
        text_of(shell.args(["-batch", "-bail"]).arg(&self.file).args(script.lines()).stdin(Stdio::null()))
    }
}

impl Side for Sqlite3 {
    fn name(&self) -> String {
        "sqlite3".to_owned()
    }

    fn begin(&mut self) -> Result<(), String> {
        for end in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{end}", self.file.display()));
        }
        self.run(&format!(
            "PRAGMA journal_mode = wal;\nCREATE TABLE contact (number INTEGER PRIMARY KEY, {COLUMNS}, UNIQUE (customer_id), UNIQUE (phone));"
        ))?;
        Ok(())
    }

    fn bring(&mut self, input: &Input) -> Result<Sample, String> {
        let values = set_all();
        let script = format!(
            "PRAGMA synchronous = full;\nCREATE TEMP TABLE incoming ({COLUMNS});\n.import --csv --skip 1 --schema temp {} incoming\nINSERT INTO contact ({COLUMNS}) SELECT {COLUMNS} FROM incoming WHERE true ON CONFLICT (customer_id) DO UPDATE SET {values};\n.system cat /proc/$PPID/status",
            input.path.display()
        );
        let begun = Instant::now();
        let status = self.run(&script)?;
        let took = begun.elapsed();
        check(&self.run(&format!("SELECT count(*), sum(notes = '{}') FROM contact;", notes_of(input)))?, input)?;
        Ok(Sample { took, peak_kib: memory::peak_kib_of(&status), processor_seconds: None, database_seconds: None })
    }
}

/// Every column but the key, from the row that is brought in.
fn set_all() -> String {
    let others = COLUMNS.split(", ").skip(1);
    others.map(|column| format!("{column} = excluded.{column}")).collect::<Vec<_>>().join(", ")
}

/// PostgreSQL's, on the same server as the service: COPY, and an upsert into a table with a jsonb of the other values.
pub(super) struct Psql<'a> {
    server: &'a Server,
    postmaster: u32,
}

impl<'a> Psql<'a> {
    pub(super) fn new(server: &'a Server) -> Result<Psql<'a>, String> {
        server.query("postgres", "CREATE DATABASE shell");
        Ok(Psql { server, postmaster: postmaster(server)? })
    }
}

impl Side for Psql<'_> {
    fn name(&self) -> String {
        "psql".to_owned()
    }

    fn begin(&mut self) -> Result<(), String> {
        self.server.query(
            "shell",
            "DROP TABLE IF EXISTS contact;
             CREATE TABLE contact (
               program uuid NOT NULL, number bigint GENERATED ALWAYS AS IDENTITY, customer_id text, phone text NOT NULL,
               profile jsonb NOT NULL, PRIMARY KEY (program, number), UNIQUE (program, customer_id), UNIQUE (program, phone))",
        );
        Ok(())
    }

    fn bring(&mut self, input: &Input) -> Result<Sample, String> {
        self.server.query("postgres", "CHECKPOINT");
        let texts = COLUMNS.replace(',', " text,");
        let values = COLUMNS.split(", ").skip(2).map(|column| format!("'{column}', {column}")).collect::<Vec<_>>();
        let script = [
            "BEGIN".to_owned(),
            format!("CREATE TEMP TABLE incoming ({texts} text) ON COMMIT DROP"),
            format!("\\copy incoming FROM '{}' CSV HEADER", input.path.display()),
            format!(
                "INSERT INTO contact (program, customer_id, phone, profile)
                 SELECT '00000000-0000-0000-0000-000000000001', customer_id, phone, jsonb_build_object({}) FROM incoming
                 ON CONFLICT (program, customer_id) DO UPDATE SET phone = excluded.phone, profile = excluded.profile",
                values.join(", ")
            ),
            "COMMIT".to_owned(),
            "\\! cat /proc/$PPID/status".to_owned(),
        ];
        let mut psql = self.server.psql("shell");
        psql.args(script.iter().flat_map(|command| ["--command", command])).stdin(Stdio::null());
        let before = memory::processor_seconds_with_children(self.postmaster);
        let begun = Instant::now();
        let status = text_of(&mut psql)?;
        let took = begun.elapsed();
        let after = memory::processor_seconds_with_children(self.postmaster);
        let counted = self.server.query(
            "shell",
            &format!("SELECT count(*), count(*) FILTER (WHERE profile->>'notes' = '{}') FROM contact", notes_of(input)),
        );
        check(&counted, input)?;
        Ok(Sample {
            took,
            peak_kib: memory::peak_kib_of(&status),
            processor_seconds: None,
            database_seconds: Some(after - before),
        })
    }
}
