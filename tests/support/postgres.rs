//! A private PostgreSQL for the tests of one process: started when the first test asks for it, gone with the process.
//!
//! It is Debian's package, in a directory of its own and on a socket in it, so that it meets no other server. A shell stands
//! between: it waits on a pipe that only this process holds, so however the process ends, the server is stopped and its
//! directory removed.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Initialises and starts a server, says its directory when it is ready, and ends it when nobody holds its standard input
/// any more. Nothing here tests that PostgreSQL keeps what it has committed, so it need not wait for the disk.
const START: &str = r#"
set -e
directory=$(mktemp -d /tmp/roster-postgres.XXXXXX)
trap 'rm -rf "$directory"' EXIT
"$1/initdb" --pgdata "$directory/data" --username postgres --auth trust --encoding UTF8 --no-locale --no-sync >"$directory/log" 2>&1 || { cat "$directory/log" >&2; exit 1; }
"$1/postgres" -D "$directory/data" -k "$directory" -c listen_addresses= -c max_connections=600 -c fsync=off \
  -c full_page_writes=off -c synchronous_commit=off >>"$directory/log" 2>&1 </dev/null &
server=$!
until "$1/pg_isready" --quiet --host "$directory" --username postgres; do
  kill -0 $server || { cat "$directory/log" >&2; exit 1; }
  sleep 0.02
done
echo "$directory"
read -r _ || true
kill -QUIT $server
wait $server || true
"#;

struct Server {
    programs: PathBuf,
    directory: String,
    /// Its standard input is what the shell waits on.
    _shell: Child,
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(start)
}

fn start() -> Server {
    let programs = programs().unwrap_or_else(|| {
        install();
        programs().expect("initdb is in /usr/lib/postgresql/<version>/bin after installing the package postgresql")
    });
    // The server refuses to be run by root.
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    let mut command = if is_root {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--", "sh"]);
        command
    } else {
        Command::new("sh")
    };
    let mut shell = command
        .args(["-c", START, "start"])
        .arg(&programs)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a shell");
    let mut directory = String::new();
    BufReader::new(shell.stdout.take().expect("its output")).read_line(&mut directory).expect("readable");
    assert!(!directory.is_empty(), "the PostgreSQL of the tests did not start");
    Server { programs, directory: directory.trim().to_owned(), _shell: shell }
}

/// The newest installed server's programs.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<PathBuf> = versions
        .filter_map(|version| Some(version.ok()?.path().join("bin")))
        .filter(|programs| programs.join("initdb").exists())
        .collect();
    found.sort();
    found.pop()
}

/// Only where it is missing; tests on a fresh machine are run by root.
fn install() {
    for arguments in [["update", "-qq"].as_slice(), &["install", "-y", "-qq", "postgresql"]] {
        let installed = Command::new("apt-get")
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .status()
            .is_ok_and(|status| status.success());
        assert!(installed, "PostgreSQL 15 or newer is needed for these tests: apt-get install postgresql");
    }
}

/// The URL of a new, empty database.
pub(crate) fn new_database() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    query("postgres", &format!("CREATE DATABASE {name} TEMPLATE template0"));
    format!("postgres://postgres@{}/{name}", server().directory.replace('/', "%2F"))
}

/// Runs SQL in the database of a URL that [`new_database`] gave, and gives what psql prints of it.
#[allow(dead_code, reason = "not every test that includes this file looks into the database")]
pub(crate) fn query_in(url: &str, sql: &str) -> String {
    query(url.rsplit('/').next().expect("a name"), sql)
}

fn query(database: &str, sql: &str) -> String {
    let Server { programs, directory, .. } = server();
    let output = Command::new(programs.join("psql"))
        .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--username", "postgres"])
        .args(["--host", directory, "--dbname", database, "--command", sql])
        .output()
        .expect("psql runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
