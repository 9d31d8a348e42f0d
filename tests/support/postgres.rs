//! A private PostgreSQL for one process, gone with it. For tests, it is started when the first one asks for it, and beside it
//! there are PgBouncers that give every transaction any of their server connections: few, one, or enough. `cargo xtask cluster` and `bench`
//! start one that keeps what it has committed.
//!
//! They are Debian's packages, in a directory of its own and on sockets in it, so that they meet no other server. A shell stands
//! between: it waits on a pipe that only this process holds, so however the process ends, the server is stopped and its
//! directory removed.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Initialises and starts a server, says its directory when it is ready, and ends it when nobody holds its standard input
/// any more. Arguments: the directory of its programs, the pooler or nothing, and the server's settings.
const START: &str = r#"
set -e
directory=$(mktemp -d /tmp/roster-postgres.XXXXXX)
trap 'rm -rf "$directory"' EXIT
programs=$1
pooler_program=$2
shift 2
"$programs/initdb" --pgdata "$directory/data" --username postgres --auth trust --encoding UTF8 --no-locale --no-sync >"$directory/log" 2>&1 || { cat "$directory/log" >&2; exit 1; }
"$programs/postgres" -D "$directory/data" -k "$directory" "$@" >>"$directory/log" 2>&1 </dev/null &
server=$!
until "$programs/pg_isready" --quiet --host "$directory" --username postgres; do
  kill -0 $server || { cat "$directory/log" >&2; exit 1; }
  sleep 0.02
done
poolers=
if [ -n "$pooler_program" ]; then
  for pooler in 6432:3 6433:1 6434:40; do
    port=${pooler%:*}
    printf '%s\n' '[databases]' "* = host=$directory user=postgres" '[pgbouncer]' 'pool_mode = transaction' 'auth_type = any' \
      "unix_socket_dir = $directory" "listen_port = $port" 'listen_addr =' "default_pool_size = ${pooler#*:}" \
      'max_client_conn = 2000' 'server_idle_timeout = 5' >"$directory/pooler.$port.ini"
    "$pooler_program" --quiet "$directory/pooler.$port.ini" >>"$directory/log" 2>&1 </dev/null &
    poolers="$poolers $!"
    until [ -S "$directory/.s.PGSQL.$port" ]; do
      kill -0 $! || { cat "$directory/log" >&2; exit 1; }
      sleep 0.02
    done
  done
fi
echo "$directory"
read -r _ || true
[ -z "$poolers" ] || kill -KILL $poolers || true
kill -QUIT $server || true
wait $server || true
"#;

const WHERE_PROGRAMS_ARE: &str = "the package postgresql puts initdb into /usr/lib/postgresql/<version>/bin";

const POOLER: &str = "/usr/sbin/pgbouncer";

/// What a server of tests is told. Nothing there tests that PostgreSQL keeps what it has committed, so it need not wait for
/// the disk.
const FOR_TESTS: [&str; 5] =
    ["listen_addresses=", "max_connections=600", "fsync=off", "full_page_writes=off", "synchronous_commit=off"];

/// A running server. It ends with this value, or with the process.
pub(crate) struct Server {
    pub(crate) programs: PathBuf,
    /// Its own, with its sockets and its log.
    pub(crate) directory: String,
    /// Its standard input is what the shell waits on.
    shell: Child,
}

impl Server {
    /// A new server with settings like `fsync=off`, with or without the pooler. PostgreSQL is installed.
    pub(crate) fn start(pooler: Option<&Path>, settings: &[&str]) -> Server {
        Server::start_with(pooler, settings, &[])
    }

    /// The same, with something in its environment.
    pub(crate) fn start_with(
        pooler: Option<&Path>,
        settings: &[&str],
        environment: &[(&'static str, String)],
    ) -> Server {
        let programs = programs().expect(WHERE_PROGRAMS_ARE);
        let mut shell = shell(START)
            .args([programs.as_path(), pooler.unwrap_or(Path::new(""))])
            .args(settings.iter().flat_map(|setting| ["-c", setting]))
            .envs(environment.iter().map(|(name, value)| (name, value)))
            // A Ctrl-C at the terminal is for who started it; the shell sees the pipe's end, and cleans up.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut directory = String::new();
        BufReader::new(shell.stdout.take().expect("its output")).read_line(&mut directory).expect("readable");
        assert!(!directory.is_empty(), "the private PostgreSQL did not start");
        Server { programs, directory: directory.trim().to_owned(), shell }
    }

    /// A URL of one of its databases; `port` is empty or like `:6432`.
    pub(crate) fn url(&self, database: &str, port: &str) -> String {
        format!("postgres://postgres@{}{port}/{database}", self.directory.replace('/', "%2F"))
    }

    /// Its `psql`, with a database and nothing of the caller's settings.
    pub(crate) fn psql(&self, database: &str) -> Command {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--username", "postgres"]).args([
            "--set",
            "ON_ERROR_STOP=1",
            "--host",
            &self.directory,
            "--dbname",
            database,
        ]);
        psql
    }

    /// Runs SQL, and gives what psql prints of it.
    pub(crate) fn query(&self, database: &str, sql: &str) -> String {
        let output = self.psql(database).args(["--command", sql]).output().expect("psql runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        installed();
        Server::start(Some(Path::new(POOLER)), &FOR_TESTS)
    })
}

/// The server's programs, installed if they are not there.
pub(crate) fn installed() -> PathBuf {
    if programs().is_none() || !Path::new(POOLER).exists() {
        install();
    }
    programs().expect(WHERE_PROGRAMS_ARE)
}

/// A shell with this script, for somebody who may run the server, which refuses to be run by root.
pub(crate) fn shell(script: &str) -> Command {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    let mut command = if is_root {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--", "sh"]);
        command
    } else {
        Command::new("sh")
    };
    command.args(["-c", script, "start"]).current_dir("/");
    command
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
    for arguments in [["update", "-qq"].as_slice(), &["install", "-y", "-qq", "postgresql", "pgbouncer"]] {
        let installed = Command::new("apt-get")
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .status()
            .is_ok_and(|status| status.success());
        assert!(
            installed,
            "these tests need PostgreSQL 15 or newer, and PgBouncer: apt-get install postgresql pgbouncer"
        );
    }
}

/// The URL of a new, empty database.
pub(crate) fn new_database() -> String {
    server().url(&new_name(), "")
}

/// The same, through the pooler with three server connections.
#[allow(dead_code, reason = "not every test that includes this file goes through it")]
pub(crate) fn new_pooled_database() -> String {
    server().url(&new_name(), ":6432")
}

/// The same, through the pooler with a single server connection.
#[allow(dead_code, reason = "not every test that includes this file goes through it")]
pub(crate) fn new_database_behind_one_connection() -> String {
    server().url(&new_name(), ":6433")
}

/// The same, through the pooler with as many server connections as some nodes want.
#[allow(dead_code, reason = "not every test that includes this file goes through it")]
pub(crate) fn new_amply_pooled_database() -> String {
    server().url(&new_name(), ":6434")
}

fn new_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    server().query("postgres", &format!("CREATE DATABASE {name} TEMPLATE template0"));
    name
}

/// Runs SQL in the database of a URL that [`new_database`] gave, and gives what psql prints of it.
#[allow(dead_code, reason = "not every test that includes this file looks into the database")]
pub(crate) fn query_in(url: &str, sql: &str) -> String {
    server().query(url.rsplit('/').next().expect("a name"), sql)
}
