//! A PostgreSQL for one test alone, with a certificate: on a port of the loopback, where it takes connections with TLS only, and on
//! a socket. Its settings may be changed, which those of the common server must not.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use crate::postgres;

/// Of the role `roster`, whose the database is.
pub(crate) const PASSWORD: &str = "XqPassword";

/// Its certificate is for `localhost` alone; it ends with its standard input.
const START: &str = r#"
set -e
directory=$(mktemp -d /tmp/roster-tls.XXXXXX)
chmod 755 "$directory"
cd "$directory"
trap 'cd /; rm -rf "$directory"' EXIT
trap 'exit 1' HUP INT TERM
for authority in one two; do
  openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=roster tests $authority" -keyout $authority.key \
    -out $authority.crt 2>>log
done
openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr 2>>log
echo subjectAltName=DNS:localhost >server.ext
openssl x509 -req -in server.csr -CA one.crt -CAkey one.key -CAcreateserial -days 2 -extfile server.ext -out server.crt 2>>log
openssl x509 -req -in server.csr -CA one.crt -CAkey one.key -CAcreateserial -days -1 -extfile server.ext -out expired.crt 2>>log
echo 'no certificate' >garbage.crt
"$1/initdb" --pgdata data --username postgres --auth trust --encoding UTF8 --no-locale --no-sync >>log 2>&1 || { cat log >&2; exit 1; }
printf '%s\n' 'local all postgres trust' 'hostssl all roster all scram-sha-256' >data/pg_hba.conf
"$1/postgres" -D data -k "$directory" -p "$2" -c listen_addresses=127.0.0.1 -c fsync=off -c ssl_key_file="$directory/server.key" \
  >>log 2>&1 </dev/null &
server=$!
until "$1/pg_isready" --quiet --host "$directory" --port "$2" --username postgres; do
  kill -0 $server || { cat log >&2; exit 1; }
  sleep 0.02
done
echo "$directory"
read -r _ || true
kill -QUIT $server || true
wait $server || true
"#;

pub(crate) struct Server {
    directory: String,
    port: u16,
    shell: Child,
}

impl Server {
    pub(crate) fn start() -> Server {
        // It is given up before the server takes it; nobody else is asked for one meanwhile but by chance.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut shell = postgres::shell(START)
            .arg(postgres::installed())
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut directory = String::new();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut directory).unwrap();
        assert!(!directory.is_empty(), "the server did not start");
        let server = Server { directory: directory.trim().to_owned(), port, shell };
        server.query_in("postgres", &format!("CREATE ROLE roster LOGIN PASSWORD '{PASSWORD}'"));
        server.query_in("postgres", "CREATE DATABASE roster OWNER roster");
        server
    }

    /// Runs SQL as the superuser in the database of roster.
    pub(crate) fn query(&self, sql: &str) -> String {
        self.query_in("roster", sql)
    }

    fn query_in(&self, database: &str, sql: &str) -> String {
        let output = Command::new(postgres::installed().join("psql"))
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--username", "postgres"])
            .args(["--host", &self.directory, "--port", &self.port.to_string(), "--dbname", database, "--command", sql])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Changes a setting; from the next connection on it holds.
    pub(crate) fn set(&self, setting: &str, value: &str) {
        let before = self.query("SELECT pg_conf_load_time()");
        self.query(&format!("ALTER SYSTEM SET {setting} = '{value}'"));
        self.query("SELECT pg_reload_conf()");
        while self.query("SELECT pg_conf_load_time()") == before {}
    }

    /// A file of its directory.
    pub(crate) fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.directory)
    }

    /// A URL of its database.
    pub(crate) fn url(&self, host: &str, parameters: &str) -> String {
        format!("postgres://roster:{PASSWORD}@{host}:{}/roster?{parameters}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}
