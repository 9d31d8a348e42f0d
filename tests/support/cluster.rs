//! A small cluster of PostgreSQL for one test: two servers under Patroni, one etcd, an HAProxy; gone with the process.
//!
//! They are Debian's packages, in a directory of its own and on free ports of the loopback. The configuration is what docs/ha
//! tells operators to use: the addresses, names and directories in it are replaced here, and the times made short. As with
//! the single server of the tests, a shell stands between, which waits on a pipe that only this process holds.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::postgres;

const SCRIPT: &str = include_str!("cluster.sh");
const PATRONI: &str = include_str!("../../docs/ha/patroni.yml");
const HAPROXY: &str = include_str!("../../docs/ha/haproxy.cfg");

/// How many servers there are.
pub(crate) const NODES: usize = 2;

/// How long anything is waited for, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(90);

const PASSWORD: &str = "roster-tests";

pub(crate) struct Cluster {
    directory: PathBuf,
    programs: PathBuf,
    nodes: Vec<Ports>,
    proxy: u16,
    /// `None` once it is being ended.
    orders: Option<ChildStdin>,
    done: BufReader<ChildStdout>,
    /// Its standard input is what the shell waits on.
    shell: Child,
}

#[derive(Clone, Copy)]
struct Ports {
    postgresql: u16,
    patroni: u16,
}

impl Cluster {
    /// Starts everything, and waits until there is a primary with a synchronous standby, and a database in it.
    pub(crate) fn start() -> Cluster {
        let programs = programs();
        let ports = free_ports(2 * NODES + 3);
        let nodes: Vec<Ports> =
            (0..NODES).map(|at| Ports { postgresql: ports[2 * at], patroni: ports[2 * at + 1] }).collect();
        let (etcd, peers, proxy) = (ports[2 * NODES], ports[2 * NODES + 1], ports[2 * NODES + 2]);
        let mut shell = postgres::shell(SCRIPT)
            .arg(&programs)
            .args([NODES.to_string(), etcd.to_string(), peers.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut orders, mut done) = (shell.stdin.take().unwrap(), BufReader::new(shell.stdout.take().unwrap()));
        let mut directory = String::new();
        done.read_line(&mut directory).unwrap();
        assert!(!directory.is_empty(), "the cluster of the tests did not start");
        let directory = PathBuf::from(directory.trim());
        for (at, node) in nodes.iter().enumerate() {
            let text = patroni_file(&directory, &programs, at + 1, *node, etcd);
            std::fs::write(directory.join(format!("{}.yml", at + 1)), text).unwrap();
        }
        std::fs::write(directory.join("haproxy.cfg"), haproxy_file(&nodes, proxy)).unwrap();
        orders.write_all(b"go\n").unwrap();
        let cluster = Cluster { directory, programs, nodes, proxy, orders: Some(orders), done, shell };
        cluster.wait_until_replicated();
        cluster.query("postgres", &format!("CREATE ROLE roster LOGIN PASSWORD '{PASSWORD}'"));
        cluster.query("postgres", "CREATE DATABASE roster OWNER roster");
        cluster
    }

    /// All servers, with their certificates checked.
    pub(crate) fn url(&self) -> String {
        let hosts: Vec<String> = self.nodes.iter().map(|node| format!("localhost:{}", node.postgresql)).collect();
        self.url_of(&hosts.join(","))
    }

    /// The same through the proxy.
    pub(crate) fn proxied_url(&self) -> String {
        self.url_of(&format!("localhost:{}", self.proxy))
    }

    fn url_of(&self, hosts: &str) -> String {
        let authority = self.directory.join("authority.crt");
        format!("postgres://roster:{PASSWORD}@{hosts}/roster?sslmode=verify-full&sslrootcert={}", authority.display())
    }

    /// The server that Patroni says is the primary, if there is one; from 0.
    pub(crate) fn primary(&self) -> Option<usize> {
        (0..NODES).find(|at| self.says_yes(*at, "primary"))
    }

    /// Waits until there is a primary, and every other server is a standby; one of them synchronous. Gives the primary.
    pub(crate) fn wait_until_replicated(&self) -> usize {
        self.wait_for("a primary with a synchronous standby", || {
            let primary = self.primary()?;
            let standbys = (0..NODES).filter(|at| *at != primary);
            let all_there = standbys.clone().all(|at| self.says_yes(at, "replica"));
            let one_synchronous = standbys.clone().any(|at| self.says_yes(at, "synchronous"));
            (all_there && one_synchronous).then_some(primary)
        })
    }

    /// Looks again and again until it is so.
    pub(crate) fn wait_for<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(Instant::now() < deadline, "there is not {what}:\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends a server and its Patroni as a power cut would.
    pub(crate) fn kill(&mut self, node: usize) {
        self.order(&format!("kill {}", node + 1));
    }

    /// Starts the Patroni of a server that was killed.
    pub(crate) fn revive(&mut self, node: usize) {
        self.order(&format!("start {}", node + 1));
    }

    fn order(&mut self, what: &str) {
        self.orders.as_mut().unwrap().write_all(format!("{what}\n").as_bytes()).unwrap();
        let mut done = String::new();
        self.done.read_line(&mut done).unwrap();
        assert_eq!(done.trim(), what);
    }

    /// Where everything of it is.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    fn says_yes(&self, node: usize, what: &str) -> bool {
        let agent: ureq::Agent =
            ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(2))).build().into();
        agent.get(format!("http://127.0.0.1:{}/{what}", self.nodes[node].patroni)).call().is_ok()
    }

    /// Runs SQL as the superuser on the primary, and gives what psql prints of it.
    pub(crate) fn query(&self, database: &str, sql: &str) -> String {
        let primary = self.wait_for("a primary", || self.primary());
        let output = Command::new(self.programs.join("psql"))
            .env("PGPASSWORD", "change-me-superuser")
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--username", "postgres"])
            .args(["--host", "127.0.0.1", "--port", &self.nodes[primary].postgresql.to_string()])
            .args(["--dbname", database, "--command", sql])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// The ends of what everybody logged.
    fn logs(&self) -> String {
        let mut logs = String::new();
        for name in ["1.log", "2.log", "etcd.log", "haproxy.log"] {
            let text = std::fs::read_to_string(self.directory.join(name)).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            logs.push_str(&format!("== {name}\n{}\n", lines[lines.len().saturating_sub(25)..].join("\n")));
        }
        logs
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.orders = None;
        let _ = self.shell.wait();
    }
}

fn programs() -> PathBuf {
    let here = |program: &str| Path::new(program).exists();
    let all = ["/usr/bin/patroni", "/usr/bin/etcd", "/usr/sbin/haproxy", "/usr/bin/openssl"].into_iter().all(here);
    assert!(all, "this test needs Patroni, etcd and HAProxy: apt-get install patroni etcd-server haproxy openssl");
    postgres::installed()
}

/// Ports that nobody listens on; they are all held at once, so that they differ.
fn free_ports(count: usize) -> Vec<u16> {
    let held: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    held.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

/// The operators' file, with every text replaced that is about their machines. Each must be there: else the file has changed, and
/// this test would no longer run what it says.
fn replaced(text: &str, replacements: &[(&str, String)]) -> String {
    replacements.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "the example in docs/ha no longer has '{from}'");
        text.replace(from, to)
    })
}

fn patroni_file(directory: &Path, programs: &Path, number: usize, ports: Ports, etcd: u16) -> String {
    let at = |name: &str| directory.join(name).display().to_string();
    let node = |name: &str| directory.join(number.to_string()).join(name).display().to_string();
    replaced(
        PATRONI,
        &[
            ("name: db1", format!("name: db{number}")),
            ("etcd1.internal:2379,etcd2.internal:2379,etcd3.internal:2379", format!("127.0.0.1:{etcd}")),
            ("10.0.0.11:8008", format!("127.0.0.1:{}", ports.patroni)),
            ("10.0.0.11:5432", format!("127.0.0.1:{}", ports.postgresql)),
            ("10.0.0.0/24", "127.0.0.1/32".to_owned()),
            ("/var/lib/postgresql/15/roster", node("data")),
            ("/usr/lib/postgresql/15/bin", programs.display().to_string()),
            ("/var/lib/postgresql/patroni.pgpass", at(&format!("{number}.pgpass"))),
            ("/var/run/postgresql", at("sockets")),
            ("/etc/postgresql/roster.crt", at("server.crt")),
            ("/etc/postgresql/roster.key", at("server.key")),
            // A failover within seconds.
            ("ttl: 30", "ttl: 5".to_owned()),
            ("loop_wait: 10", "loop_wait: 1".to_owned()),
            ("retry_timeout: 10", "retry_timeout: 2".to_owned()),
            // Processes are killed, not machines.
            ("    ssl: \"on\"", "    fsync: \"off\"\n    ssl: \"on\"".to_owned()),
        ],
    )
}

fn haproxy_file(nodes: &[Ports], proxy: u16) -> String {
    let server = |at: usize| {
        let Ports { postgresql, patroni } = nodes[at];
        format!("127.0.0.1:{postgresql} check port {patroni}")
    };
    replaced(
        HAPROXY,
        &[
            ("10.0.0.10:5432", format!("127.0.0.1:{proxy}")),
            ("10.0.0.11:5432", server(0)),
            ("10.0.0.12:5432", server(1)),
            (" check port 8008 inter", " inter".to_owned()),
        ],
    )
}
