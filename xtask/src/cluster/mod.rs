//! `cargo xtask cluster`: many nodes to try out on one machine, as they would stand on many.
//!
//! A private PostgreSQL that keeps what it has committed, nodes over it, and HAProxy before them, all on the loopback. They run
//! until Ctrl-C, SIGTERM, or the end of this tool's standard input; however it ends, everything ends with it, and the
//! database's directory is removed. Logs stay in `target/cluster/<port>`. With `--once` it shows by itself what becomes of an import whose
//! node is killed ([`shown`]), and ends; with `--debug` it takes the build of the tests. Port 0 is any that are free.

mod balancer;
mod shown;

use std::fs::{self, File};
use std::io::{BufWriter, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::bench_file::{self, Changes};
use crate::guarded::Guarded;
use crate::options::{Options, run_tool};
use crate::postgres::Server;
use crate::roster::{self, Home, MASTER_KEY, Node, Tenant};
use crate::{complain, needs, root, say};

/// Soon enough for who watches: the work of a node that was killed is taken over after it.
const LEASE_SECONDS: u32 = 3;

/// Connections of the database that are not the nodes': operators' commands and psql.
const CONNECTIONS_BESIDE: usize = 20;

/// Fields of the sample that the measuring files do not have.
const FIELDS_OF_SAMPLE: [&str; 5] = [
    "fafsa_complete:Boolean",
    "birth_date:Maybe (Date)",
    "last_contact_at:Maybe (DateTime)",
    "advisor_phone:Maybe (Phone)",
    "crm_id:Maybe (UUID)",
];

/// Rows of the file to try killing with: some seconds of work.
const LARGE_ROWS: u64 = 200_000;

struct Wanted {
    nodes: u16,
    port: u16,
    once: bool,
    debug: bool,
}

impl Wanted {
    fn of(arguments: &[&str]) -> Result<Wanted, String> {
        let mut wanted = Wanted { nodes: 3, port: 8100, once: false, debug: false };
        let mut options = Options::new(arguments);
        while let Some(name) = options.next() {
            match name {
                "--nodes" => wanted.nodes = options.number(name, 1)?,
                "--port" => wanted.port = options.number(name, 0)?,
                "--once" => wanted.once = true,
                "--debug" => wanted.debug = true,
                _ => return Err(format!("cluster has no option '{name}'")),
            }
        }
        if wanted.once && wanted.nodes < 2 {
            return Err("--once kills a node: it needs --nodes 2 at least".to_owned());
        }
        if wanted.port.checked_add(wanted.nodes).is_none() {
            return Err("the nodes have the ports after --port, up to 65535".to_owned());
        }
        Ok(wanted)
    }
}

const USAGE: &str = "usage: cargo xtask cluster [--nodes N] [--port P] [--once] [--debug]";

pub(crate) fn run(arguments: &[&str]) -> ExitCode {
    run_tool("cluster", USAGE, Wanted::of(arguments), |wanted| {
        let cluster = Cluster::start(wanted)?;
        if wanted.once {
            return shown::show(cluster).map(|()| true);
        }
        cluster.print();
        // Ctrl-C and SIGTERM end this process, and so everything else.
        std::io::stdin().lock().read_to_end(&mut Vec::new()).map_err(|fault| fault.to_string())?;
        Ok(true)
    })
}

/// What runs. In the order in which it is to be stopped.
struct Cluster {
    _balancer: Guarded,
    nodes: Vec<Node>,
    server: Server,
    home: Home,
    tenant: Tenant,
    /// Of the balancer.
    url: String,
}

impl Cluster {
    fn start(wanted: &Wanted) -> Result<Cluster, String> {
        let haproxy = needs::for_cluster()?;
        let binary = roster::build(!wanted.debug)?;
        let directory = root().join(format!("target/cluster/{}", wanted.port));
        let directory = fresh(&directory).map_err(|fault| format!("{}: {fault}", directory.display()))?;
        say("starting PostgreSQL, the nodes and HAProxy");
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // As many as a node's pool may have, and the one that listens.
        let connections = usize::from(wanted.nodes) * (2 * cores + 17) + CONNECTIONS_BESIDE;
        let server = Server::start(None, &["listen_addresses=", &format!("max_connections={connections}")]);
        server.query("postgres", "CREATE DATABASE cluster");
        let database = Some(server.url("cluster", ""));
        let home = Home { binary, directory, database, lease_seconds: LEASE_SECONDS };
        let mut nodes = Vec::new();
        for number in 1..=wanted.nodes {
            let log = home.directory.join(format!("node-{number}.log"));
            let port = if wanted.port == 0 { 0 } else { wanted.port + number };
            nodes.push(home.serve(&format!("127.0.0.1:{port}"), &log)?);
        }
        let addresses: Vec<&str> = nodes.iter().map(|node| node.address.as_str()).collect();
        let port = if wanted.port == 0 { free_port()? } else { wanted.port };
        let balancer = balancer::start(haproxy, &home.directory, port, &addresses)?;
        let tenant = tenant(&home)?;
        let url = format!("http://127.0.0.1:{port}");
        Ok(Cluster { _balancer: balancer, nodes, server, home, tenant, url })
    }

    /// What there is, and what to try.
    fn print(&self) {
        let Cluster { _balancer, nodes, server, home, tenant, url } = self;
        let (roster, directory) = (shown_path(&home.binary), shown_path(&home.directory));
        let large = format!("{directory}/contacts-{LARGE_ROWS}.csv");
        if let Err(sentence) = contacts(&home.directory, LARGE_ROWS) {
            complain(sentence);
        }
        say(format_args!("\nHAProxy     {url}"));
        for (node, number) in nodes.iter().zip(1..) {
            say(format_args!(
                "node {number}      http://{}  process {}, log {directory}/node-{number}.log",
                node.address, node.process.id
            ));
        }
        let database = home.database.as_deref().unwrap_or_default();
        let psql = format!("psql -h {} -U postgres cluster", server.directory);
        say(format_args!(
            "PostgreSQL  {psql}

In another terminal:
  export ROSTER_TOKEN={} ROSTER_SECRET={} ROSTER_PROGRAM={} ROSTER_URL={url}
  {roster} import {}                          # through any node
  {roster} import {large}   # some seconds: kill its node meanwhile

Who is at it, as host:process (the last line is for that process):
  {psql} -c 'SELECT node, attempt, rows FROM lane WHERE running'
  kill -9 PROCESS

The import goes on by itself: {LEASE_SECONDS} seconds after the node's last sign of life another takes it over, from the beginning, as
attempt 2, and all rows are added once. Whoever was talking to the dead node is sent to another; the client asks again by itself.

A node as it was started, here the first:
  ROSTER_DATABASE='{database}' ROSTER_MASTER_KEY={MASTER_KEY} ROSTER_LEASE_SECONDS={LEASE_SECONDS} {roster} serve --listen {}

Ctrl-C stops everything and forgets the data.",
            tenant.token,
            tenant.secret,
            tenant.program,
            shown_path(&root().join("samples/contacts.csv")),
            nodes[0].address,
        ));
    }
}

/// HAProxy cannot say which port it has got, so it is given one.
fn free_port() -> Result<u16, String> {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    address.map(|address| address.port()).map_err(|fault| fault.to_string())
}

/// An empty directory, whatever an earlier run has left in it.
fn fresh(directory: &Path) -> std::io::Result<PathBuf> {
    let _ = fs::remove_dir_all(directory);
    fs::create_dir_all(directory)?;
    directory.canonicalize()
}

/// An account whose program takes the sample and the measuring files.
fn tenant(home: &Home) -> Result<Tenant, String> {
    let tenant = home.new_tenant()?;
    for field in FIELDS_OF_SAMPLE {
        home.operate(&["field", "add", &tenant.program, field])?;
    }
    Ok(tenant)
}

/// A file of so many contacts, where the nodes have their logs.
fn contacts(directory: &Path, rows: u64) -> Result<PathBuf, String> {
    let path = directory.join(format!("contacts-{rows}.csv"));
    let written =
        File::create(&path).and_then(|file| bench_file::write(BufWriter::new(file), rows, Changes::one_in(0)));
    written.map(|_| path.clone()).map_err(|fault| format!("{}: {fault}", path.display()))
}

/// As short as it can be said from where the tool was started.
fn shown_path(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(&path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_checked() {
        let wanted = Wanted::of(&["--nodes", "5", "--port", "9000", "--once"])
            .unwrap_or_else(|sentence| unreachable!("{sentence}"));
        assert_eq!((wanted.nodes, wanted.port, wanted.once), (5, 9_000, true));
        let refused = |arguments: &[&str]| Wanted::of(arguments).err().expect("refused");
        assert_eq!(refused(&["--nodes"]), "--nodes needs a value");
        assert_eq!(refused(&["--nodes", "0"]), "--nodes is a number from 1 on");
        assert_eq!(refused(&["--node"]), "cluster has no option '--node'");
        assert!(refused(&["--nodes", "1", "--once"]).starts_with("--once kills a node"));
        assert!(refused(&["--port", "65534"]).starts_with("the nodes have the ports after"));
    }
}
