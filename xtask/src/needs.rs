//! What the tests need beside Rust and a C compiler: put in place where it is missing and can be, else told.
//!
//! The store's tests and all scenes run on PostgreSQL too, behind PgBouncer as well; one test has it fail over, and `cargo xtask cluster --once` shows
//! many nodes behind HAProxy. One scene drives the published Python client, one has schemathesis try the API's document out, each in a virtual
//! environment of its own below the target directory; another the clients that docs/API.md shows, one of them in JavaScript. The pages are looked
//! at in Chromium, by axe-core too. Signing in is tried with a provider that runs in Node, of packages that npm puts below the target directory.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::{cargo, hash, say};

/// Debian's packages for a `python3 -m venv` that works.
const PYTHON_PACKAGES: [&str; 2] = ["python3", "python3-venv"];
/// Debian's packages of the second home, and of the pooler before it. The tests start servers of their own.
const DATABASE_PACKAGES: [&str; 2] = ["postgresql", "pgbouncer"];
/// Debian's packages of a cluster that fails over, and what makes its certificates. Where installing a package starts its service,
/// that does no harm, and is not used: the tests have ports and directories of their own.
const CLUSTER_PACKAGES: [&str; 4] = ["patroni", "etcd-server", "haproxy", "openssl"];
/// A program of each of them.
const CLUSTER_PROGRAMS: [&str; 4] = ["/usr/bin/patroni", "/usr/bin/etcd", "/usr/sbin/haproxy", "/usr/bin/openssl"];
/// Debian's packages of what the clients in docs/API.md are run with, beside Python, and a program of each.
const CLIENT_PACKAGES: [&str; 3] = ["curl", "openssl", "nodejs"];
const CLIENT_PROGRAMS: [&str; 3] = ["curl", "openssl", "node"];
/// What brings the provider of sign-in that the tests start: `npm`, for Node of this version or newer, which not every Debian has.
const PACKAGER: &str = "npm";
const NODE_MAJOR_MIN: u32 = 20;
/// Debian's packages of what makes and tries out a package, and a program of each. The machine's own systemd need not run.
const PACKAGE_PACKAGES: [&str; 4] = ["dpkg", "systemd", "iproute2", "binutils"];
const PACKAGE_PROGRAMS: [&str; 4] = ["/usr/bin/dpkg-deb", "/usr/bin/systemd-analyze", "/bin/ip", "/usr/bin/strip"];
/// Debian's package that has what reads Prometheus' rules. Only that program is taken out of it: a server that starts is not wanted.
const RULES_PACKAGE: &str = "prometheus";
const RULES_PROGRAM: &str = "promtool";
/// Debian's packages of the browser that the pages are looked at with, without a window, and of what drives it; a program of each.
const BROWSER_PACKAGES: [&str; 2] = ["chromium", "chromium-driver"];
const BROWSER_PROGRAMS: [&str; 2] = ["/usr/bin/chromium", "/usr/bin/chromedriver"];
/// What says whether everybody can read a page: of npm, this version and these bytes of it. It is only run, and never shipped.
const CHECKER: &str = "axe-core@4.14.1";
const CHECKER_SHA256: &str = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c";
/// Where the tests have it from, below the target directory.
const CHECKER_FILE: &str = "axe-core.min.js";
/// Debian's package of what fetches it.
const FETCHER: (&str, &str) = ("npm", "/usr/bin/npm");
/// What stands before many nodes.
const BALANCER: (&str, &str) = ("haproxy", "/usr/sbin/haproxy");
/// Debian's package of what the embedded store is measured beside.
const SHELL: (&str, &str) = ("sqlite3", "/usr/bin/sqlite3");
/// Debian's package of what signs files that are sent as they are, and makes certificates.
const SIGNER: (&str, &str) = ("openssl", "/usr/bin/openssl");
/// What `cargo fmt` and `cargo clippy` are, to rustup.
const COMPONENTS: [&str; 2] = ["rustfmt", "clippy"];

/// Sees to everything; the sentence says what is missing.
pub(crate) fn provide() -> Result<(), String> {
    components()?;
    python()?;
    database()?;
    cluster()?;
    clients()?;
    sign_in()?;
    packaging()?;
    rules()?;
    browser()?;
    checker()
}

/// What `cargo xtask cluster` needs beside what was built.
pub(crate) fn for_cluster() -> Result<&'static str, String> {
    database()?;
    one(BALANCER)
}

/// What `cargo xtask bench` needs beside what was built.
pub(crate) fn for_bench() -> Result<&'static str, String> {
    database()?;
    one(SIGNER)?;
    one(SHELL)
}

/// What `cargo xtask torture` needs beside what was built.
pub(crate) fn for_torture() -> Result<&'static str, String> {
    database()?;
    one(SHELL)
}

/// A package for the sake of one program, whose place it gives.
fn one((package, program): (&str, &'static str)) -> Result<&'static str, String> {
    if !Path::new(program).exists() {
        say(format_args!("xtask: installing {package} with apt-get"));
        install(&[package]);
    }
    if Path::new(program).exists() {
        Ok(program)
    } else {
        Err(format!("{program} is needed (Debian: apt-get install {package}, as root)"))
    }
}

fn components() -> Result<(), String> {
    let there = || ["fmt", "clippy"].iter().all(|tool| works(cargo().args([tool, "--version"])));
    if there() {
        return Ok(());
    }
    say("xtask: installing rustfmt and clippy with rustup");
    run(Command::new("rustup").args(["component", "add"]).args(COMPONENTS));
    if there() { Ok(()) } else { Err("'cargo fmt' and 'cargo clippy' are needed; install them".to_owned()) }
}

fn python() -> Result<(), String> {
    if can_make_environments() {
        return Ok(());
    }
    say(format_args!("xtask: 'python3 -m venv' does not work; installing {} with apt-get", PYTHON_PACKAGES.join(", ")));
    install(&PYTHON_PACKAGES);
    if can_make_environments() {
        Ok(())
    } else {
        Err("a Python 3 with 'venv' and 'pip' is needed (Debian: apt-get install python3-venv, as root)".to_owned())
    }
}

fn database() -> Result<(), String> {
    let there = || has_postgresql() && Path::new("/usr/sbin/pgbouncer").exists();
    if there() {
        return Ok(());
    }
    say(format_args!("xtask: installing {} with apt-get", DATABASE_PACKAGES.join(", ")));
    install(&DATABASE_PACKAGES);
    if there() {
        Ok(())
    } else {
        Err("PostgreSQL and PgBouncer are needed (Debian: apt-get install postgresql pgbouncer, as root)".to_owned())
    }
}

fn cluster() -> Result<(), String> {
    let there = || CLUSTER_PROGRAMS.iter().all(|program| Path::new(program).exists());
    if there() {
        return Ok(());
    }
    say(format_args!("xtask: installing {} with apt-get", CLUSTER_PACKAGES.join(", ")));
    install(&CLUSTER_PACKAGES);
    if there() {
        Ok(())
    } else {
        Err(format!("{} are needed (Debian: apt-get install, as root)", CLUSTER_PACKAGES.join(", ")))
    }
}

fn clients() -> Result<(), String> {
    // Each knows this word, and does nothing else then.
    let version = |program: &str| if program == "openssl" { "version" } else { "--version" };
    let there = || CLIENT_PROGRAMS.iter().all(|program| works(Command::new(program).arg(version(program))));
    if there() {
        return Ok(());
    }
    say(format_args!("xtask: installing {} with apt-get", CLIENT_PACKAGES.join(", ")));
    install(&CLIENT_PACKAGES);
    if there() {
        Ok(())
    } else {
        Err(format!("{} are needed (Debian: apt-get install, as root)", CLIENT_PACKAGES.join(", ")))
    }
}

fn sign_in() -> Result<(), String> {
    let there = || works(Command::new(PACKAGER).arg("--version"));
    if !there() {
        say(format_args!("xtask: installing {PACKAGER} with apt-get"));
        install(&[PACKAGER]);
    }
    if !there() {
        return Err(format!("{PACKAGER} is needed (Debian: apt-get install {PACKAGER}, as root)"));
    }
    let is_new = format!("process.exit(parseInt(process.versions.node) >= {NODE_MAJOR_MIN} ? 0 : 1)");
    if works(Command::new("node").args(["-e", &is_new])) {
        Ok(())
    } else {
        Err(format!(
            "Node {NODE_MAJOR_MIN} or newer is needed for the provider of sign-in that the tests start (https://nodejs.org)"
        ))
    }
}

fn packaging() -> Result<(), String> {
    let there = || PACKAGE_PROGRAMS.iter().all(|program| Path::new(program).exists());
    if there() {
        return Ok(());
    }
    say(format_args!("xtask: installing {} with apt-get", PACKAGE_PACKAGES.join(", ")));
    install(&PACKAGE_PACKAGES);
    if there() {
        Ok(())
    } else {
        Err(format!("{} are needed (Debian: apt-get install, as root)", PACKAGE_PACKAGES.join(", ")))
    }
}

fn rules() -> Result<(), String> {
    let folder = crate::package::target().join("tmp");
    let place = folder.join(RULES_PROGRAM);
    if works(Command::new(RULES_PROGRAM).arg("--version")) || works(Command::new(&place).arg("--version")) {
        return Ok(());
    }
    say(format_args!("xtask: taking {RULES_PROGRAM} out of Debian's package {RULES_PACKAGE}"));
    // Whatever the user that apt downloads as may write.
    let take = r#"
        set -e
        mkdir -p "$1"
        from=$(mktemp -d)
        trap 'rm -rf "$from"' EXIT
        cd "$from"
        apt-get download --quiet "$2" || { apt-get update --quiet && apt-get download --quiet "$2"; }
        dpkg-deb --extract ./*.deb .
        mv "usr/bin/$3" "$1/$3"
    "#;
    run(Command::new("sh").args(["-c", take, "take"]).arg(&folder).args([RULES_PACKAGE, RULES_PROGRAM]));
    if works(Command::new(&place).arg("--version")) {
        Ok(())
    } else {
        Err(format!("{RULES_PROGRAM} is needed (it is in Debian's package {RULES_PACKAGE})"))
    }
}

fn browser() -> Result<(), String> {
    let there = || BROWSER_PROGRAMS.iter().all(|program| works(Command::new(program).arg("--version")));
    if there() {
        return Ok(());
    }
    say(format_args!("xtask: installing {} with apt-get", BROWSER_PACKAGES.join(", ")));
    install(&BROWSER_PACKAGES);
    if there() {
        Ok(())
    } else {
        Err(format!("{} are needed (Debian: apt-get install, as root)", BROWSER_PACKAGES.join(", ")))
    }
}

fn checker() -> Result<(), String> {
    let folder = crate::package::target().join("tmp");
    let there = || {
        let file = std::fs::read(folder.join(CHECKER_FILE)).unwrap_or_default();
        hash::sha256(&file).iter().map(|byte| format!("{byte:02x}")).collect::<String>() == CHECKER_SHA256
    };
    if there() {
        return Ok(());
    }
    // Where npm came by another way it is used as it is.
    if !works(Command::new("npm").arg("--version")) {
        one(FETCHER)?;
    }
    say(format_args!("xtask: fetching {CHECKER} with npm"));
    let take = r#"
        set -e
        mkdir -p "$1"
        from=$(mktemp -d)
        trap 'rm -rf "$from"' EXIT
        cd "$from"
        npm pack --silent "$2" >/dev/null
        tar -xzf ./*.tgz package/axe.min.js
        mv package/axe.min.js "$1/$3"
    "#;
    run(Command::new("sh").args(["-c", take, "take"]).arg(&folder).args([CHECKER, CHECKER_FILE]));
    if there() {
        Ok(())
    } else {
        Err(format!(
            "{CHECKER} is needed as {}, with the SHA-256 {CHECKER_SHA256}",
            folder.join(CHECKER_FILE).display()
        ))
    }
}

fn has_postgresql() -> bool {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    versions.filter_map(Result::ok).any(|version| version.path().join("bin/initdb").exists())
}

fn install(packages: &[&str]) {
    let apt = |arguments: &[&str]| {
        run(Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"));
    };
    apt(&["update", "--quiet"]);
    apt(&[&["install", "--quiet", "--yes", "--no-install-recommends"], packages].concat());
}

/// Debian's Python has `venv` without `ensurepip`, and then makes environments without pip.
fn can_make_environments() -> bool {
    works(Command::new("python3").args(["-c", "import venv, ensurepip"]))
}

fn works(command: &mut Command) -> bool {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Runs it in view. Whether it helped is looked at afterwards.
fn run(command: &mut Command) {
    if let Err(fault) = command.stdin(Stdio::null()).status() {
        say(format_args!("xtask: {} could not be started: {fault}", command.get_program().to_string_lossy()));
    }
}
