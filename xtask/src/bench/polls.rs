//! Status polls beside an endpoint that is only the framework: a process of its own with the service's listener, which answers the very bytes of
//! the status from memory. Over plain HTTP and over TLS, by the same client, a process of its own too (`xtask/examples/bare.rs`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::place::{Build, Kind, Place};
use super::small::one_row;
use super::table::{Aligned, median, sorted};
use crate::guarded::Guarded;
use crate::http::{self, Connection};
use crate::roster::{self, Home, Node, Tenant, counts, text_of};
use crate::say;

pub(super) const NAME: &str = "polls";

const CONNECTIONS: usize = 64;

/// An authority, and a certificate of it for `localhost`.
const MAKE: &str = r#"
set -e
cd "$1"
new='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
openssl req -x509 $new -days 2 -subj '/CN=roster bench' -keyout authority.key -out authority.crt
echo subjectAltName=DNS:localhost >server.ext
openssl req $new -subj /CN=localhost -keyout server.key -out server.csr
openssl x509 -req -in server.csr -CA authority.crt -CAkey authority.key -CAcreateserial -days 2 -extfile server.ext -out server.crt
"#;

/// Who answers over plain HTTP and over TLS, and what is asked.
struct Asked {
    name: String,
    addresses: [String; 2],
    /// For each of the two: the path, and its headers, signed anew for each round.
    polled: [Polled; 2],
    answered: [Vec<f64>; 2],
}

enum Polled {
    /// Without headers.
    Constant(&'static str),
    Status {
        home: Home,
        tenant: Tenant,
        location: String,
    },
}

/// A build's service, plain and with TLS: two of them, because a directory has one service.
struct Service {
    build: &'static str,
    nodes: [Node; 2],
    homes: [Home; 2],
    tenants: [Tenant; 2],
    locations: [String; 2],
}

/// The example, built, with what it shows and what clients believe.
struct Bare {
    binary: PathBuf,
    directory: PathBuf,
}

pub(super) fn measure(place: &Place<'_>) -> Result<(), String> {
    let measures = "status polls a second over 64 kept connections, beside a bare endpoint of the same framework and listener that answers the \
                    same bytes (floor), and /healthz; plain and TLS";
    let kinds = place.begin(NAME, measures);
    if kinds.is_empty() {
        return Ok(());
    }
    let bare = Bare::new(&place.directory)?;
    for kind in kinds {
        let services: Vec<Service> =
            place.builds.iter().map(|build| Service::start(place, kind, build, &bare)).collect::<Result<_, _>>()?;
        let floor = bare.serve(&services[0].status_body()?)?;
        let mut all =
            vec![Asked::constant("floor: bare endpoint", floor.each_ref().map(|(address, _)| address.clone()), "/")];
        for service in &services {
            let addresses = service.nodes.each_ref().map(|node| node.address.clone());
            all.push(Asked::constant(&format!("{}: /healthz", service.build), addresses.clone(), "/healthz"));
            all.push(Asked {
                name: format!("{}: status", service.build),
                addresses,
                polled: [0, 1].map(|at| Polled::Status {
                    home: service.homes[at].clone(),
                    tenant: service.tenants[at].clone(),
                    location: service.locations[at].clone(),
                }),
                answered: Default::default(),
            });
        }
        for round in 0..place.wanted.rounds {
            for at in super::in_turn(all.len(), round) {
                for way in 0..2 {
                    let answered = bare.poll(&all[at], way, place.wanted.effort.poll_seconds)?;
                    all[at].answered[way].push(answered);
                }
            }
        }
        print(kind, &all);
        floor.into_iter().for_each(|(_, process)| process.stop());
        services.into_iter().try_for_each(|service| service.end(place))?;
    }
    Ok(())
}

impl Asked {
    fn constant(name: &str, addresses: [String; 2], path: &'static str) -> Asked {
        let polled = [Polled::Constant(path), Polled::Constant(path)];
        Asked { name: name.to_owned(), addresses, polled, answered: Default::default() }
    }
}

impl Service {
    fn start(place: &Place<'_>, kind: Kind, build: &Build, bare: &Bare) -> Result<Service, String> {
        let one = |name: &str, settings: &[(&'static str, String)]| {
            let home = place.home(kind, build, name)?;
            let log = home.directory.join("service.log");
            let tenant = home.new_tenant()?;
            // The import of which the status is asked; without TLS, so that it can be sent from here.
            let node = home.serve("127.0.0.1:0", &log)?;
            let import = one_row(&home, &tenant, 0, 1)?.remove(0);
            let location = import.accepted(&mut Connection::open(&node.address)?)?;
            let status = get(&home, &tenant, &node.address, &location, &["Prefer: wait=60".to_owned()])?;
            counts(&status)?;
            node.process.stop();
            let node = home.serve_with("127.0.0.1:0", &log, settings)?;
            Ok::<_, String>((node, home, tenant, location))
        };
        let settings =
            [("ROSTER_TLS_CERTIFICATE", bare.file("server.crt")), ("ROSTER_TLS_KEY", bare.file("server.key"))];
        let (plain, tls) = (one("polls", &[])?, one("pollstls", &settings)?);
        Ok(Service {
            build: build.name,
            nodes: [plain.0, tls.0],
            homes: [plain.1, tls.1],
            tenants: [plain.2, tls.2],
            locations: [plain.3, tls.3],
        })
    }

    fn status_body(&self) -> Result<String, String> {
        get(&self.homes[0], &self.tenants[0], &self.nodes[0].address, &self.locations[0], &[])
    }

    fn end(self, place: &Place<'_>) -> Result<(), String> {
        self.nodes.into_iter().for_each(|node| node.process.stop());
        self.homes.iter().try_for_each(|home| place.remove(home))
    }
}

fn get(home: &Home, tenant: &Tenant, address: &str, path: &str, more: &[String]) -> Result<String, String> {
    let mut headers = home.sign(tenant, "GET", path)?;
    headers.extend_from_slice(more);
    let answer = http::send(address, "GET", path, &headers, b"").map_err(|fault| format!("{address}: {fault}"))?;
    if answer.status == 200 { Ok(answer.body) } else { Err(format!("{path}: {} {}", answer.status, answer.body)) }
}

impl Bare {
    fn new(directory: &Path) -> Result<Bare, String> {
        let directory = directory.join("bare");
        fs::create_dir(&directory).map_err(|fault| format!("{}: {fault}", directory.display()))?;
        text_of(Command::new("sh").args(["-c", MAKE, "make"]).arg(&directory))?;
        Ok(Bare { binary: roster::build_bare()?, directory })
    }

    fn file(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    /// The endpoint, plain and with TLS, and where it listens.
    fn serve(&self, body: &str) -> Result<[(String, Guarded); 2], String> {
        let path = self.directory.join("body");
        fs::write(&path, body).map_err(|fault| format!("{}: {fault}", path.display()))?;
        let one = |more: &[&str]| {
            let path = path.display().to_string();
            let arguments: Vec<&str> = ["serve", &path].into_iter().chain(more.iter().copied()).collect();
            let log = self.directory.join("bare.log");
            let mut process = Guarded::start(&self.binary, &arguments, &[], &log)?;
            let address = process.line().ok_or_else(|| {
                format!("the bare endpoint did not start: {}", fs::read_to_string(&log).unwrap_or_default())
            })?;
            Ok::<_, String>((address, process))
        };
        Ok([one(&[])?, one(&[&self.file("server.crt"), &self.file("server.key")])?])
    }

    /// Answers a second.
    fn poll(&self, asked: &Asked, way: usize, seconds: u64) -> Result<f64, String> {
        let (path, headers) = match &asked.polled[way] {
            Polled::Constant(path) => ((*path).to_owned(), Vec::new()),
            Polled::Status { home, tenant, location } => (location.clone(), home.sign(tenant, "GET", location)?),
        };
        let mut poll = Command::new(&self.binary);
        poll.args(["poll", &asked.addresses[way], &path, &CONNECTIONS.to_string(), &seconds.to_string()]);
        poll.arg(if way == 0 { "-".to_owned() } else { self.file("authority.crt") });
        let printed =
            text_of(poll.args(headers).stdin(Stdio::null())).map_err(|fault| format!("{}: {fault}", asked.name))?;
        printed.trim().parse().map_err(|_| format!("'{printed}' is no number"))
    }
}

fn print(kind: Kind, all: &[Asked]) {
    let mut table = Aligned::new(&[
        kind.name(),
        "plain, answers/s",
        "to the floor",
        "TLS, answers/s",
        "to the floor",
        "TLS to plain",
    ]);
    let speed = |asked: &Asked, way: usize| median(&sorted(asked.answered[way].clone()));
    for asked in all {
        let (plain, tls) = (speed(asked, 0), speed(asked, 1));
        table.row(vec![
            asked.name.clone(),
            format!("{plain:.0}"),
            format!("{:.2}", plain / speed(&all[0], 0)),
            format!("{tls:.0}"),
            format!("{:.2}", tls / speed(&all[0], 1)),
            format!("{:.2}", tls / plain),
        ]);
    }
    say("");
    table.print();
}
