//! The built service as these tools use it: nodes, an operator's commands, signed imports. Nothing here knows how it is made.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::bench_file::FIELDS;
use crate::guarded::Guarded;
use crate::http::{self, Connection, json_string, member};
use crate::{cargo, root, say};

/// The master key of nodes that hold nothing worth keeping.
pub(crate) const MASTER_KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// What an import's answer waits for its result, at most.
const WAIT_SECONDS: u32 = 60;

/// Builds the binary, the released one or that of the tests, and says where it is.
pub(crate) fn build(release: bool) -> Result<PathBuf, String> {
    let mut build = cargo();
    if release {
        say("building the release binary");
        build.args(["build", "--release", "--package", "roster", "--bin", "roster"]);
    } else {
        // As it is built for them, so that it is not built once more.
        build.args(["test", "--no-run", "--quiet", "--package", "roster", "--test", "scenes"]);
    }
    if !build.stdin(Stdio::null()).status().is_ok_and(|status| status.success()) {
        return Err("'cargo build' of roster failed".to_owned());
    }
    let folder = if release { "release" } else { "debug" };
    built(&format!("{folder}/roster"))
}

/// Builds the released binary, and beside it, as `place`, one that differs from it only in its test points. Gives both.
pub(crate) fn build_with_places(place: &Path) -> Result<(PathBuf, PathBuf), String> {
    let mut command = cargo();
    command.args(["build", "--release", "--package", "roster", "--bin", "roster", "--features", "test-points"]);
    say("building the release binary with its test points");
    if !command.stdin(Stdio::null()).status().is_ok_and(|status| status.success()) {
        return Err("'cargo build' of roster with its test points failed".to_owned());
    }
    // The other one is to have its place.
    let copied = built("release/roster").and_then(|built| {
        let _ = fs::remove_file(place);
        fs::copy(built, place).map_err(|fault| format!("{}: {fault}", place.display()))
    });
    copied?;
    let place = place.canonicalize().map_err(|fault| format!("{}: {fault}", place.display()))?;
    Ok((build(true)?, place))
}

/// Builds the bare endpoint and its client (`xtask/examples/bare.rs`), as quick as the service, and says where they are.
pub(crate) fn build_bare() -> Result<PathBuf, String> {
    let mut build = cargo();
    build.args(["build", "--release", "--quiet", "--package", "xtask", "--example", "bare"]).stdin(Stdio::null());
    if !build.status().is_ok_and(|status| status.success()) {
        return Err("'cargo build' of the bare endpoint failed".to_owned());
    }
    built("release/examples/bare")
}

/// In the target directory.
fn built(path: &str) -> Result<PathBuf, String> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join(path).canonicalize().map_err(|fault| format!("the built {path} is not there: {fault}"))
}

/// Where a service keeps its data, and the binary that is used on it.
#[derive(Clone)]
pub(crate) struct Home {
    pub(crate) binary: PathBuf,
    /// For data of a home without a database, and for files on the way.
    pub(crate) directory: PathBuf,
    pub(crate) database: Option<String>,
    pub(crate) lease_seconds: u32,
}

/// An account's credentials, and one of its programs.
#[derive(Clone)]
pub(crate) struct Tenant {
    pub(crate) account: String,
    pub(crate) program: String,
    pub(crate) token: String,
    pub(crate) secret: String,
}

impl Home {
    /// The environment that says where the data is.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        match &self.database {
            Some(url) => vec![
                ("ROSTER_DATABASE", url.clone()),
                ("ROSTER_MASTER_KEY", MASTER_KEY.to_owned()),
                ("ROSTER_LEASE_SECONDS", self.lease_seconds.to_string()),
            ],
            None => vec![("ROSTER_DATA", self.directory.join("data").to_string_lossy().into_owned())],
        }
    }

    /// The binary with this home.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments).envs(self.environment()).current_dir(&self.directory).stdin(Stdio::null());
        command
    }

    /// Runs a command of an operator, and gives its JSON.
    pub(crate) fn operate(&self, arguments: &[&str]) -> Result<String, String> {
        text_of(self.command(arguments).arg("--json"))
    }

    /// An account with a token and one program.
    pub(crate) fn new_tenant(&self) -> Result<Tenant, String> {
        let account = needed(&self.operate(&["account", "create", "Example College"])?, "id")?;
        let token = self.operate(&["token", "create", "--account", &account, "--name", "nightly"])?;
        let program = self.new_program(&account, "Fall Outreach")?;
        Ok(Tenant { account, program, token: needed(&token, "token")?, secret: needed(&token, "secret")? })
    }

    /// A program with the fields of `cargo xtask bench-file`.
    pub(crate) fn new_program(&self, account: &str, name: &str) -> Result<String, String> {
        let mut arguments = vec!["program", "create", name, "--account", account];
        arguments.extend(FIELDS.iter().flat_map(|field| ["--field", field]));
        needed(&self.operate(&arguments)?, "id")
    }

    /// Starts a node and waits until it listens.
    pub(crate) fn serve(&self, listen: &str, log: &Path) -> Result<Node, String> {
        self.serve_with(listen, log, &[])
    }

    /// The same, with settings by their variables; with a certificate it listens for HTTPS.
    pub(crate) fn serve_with(
        &self,
        listen: &str,
        log: &Path,
        settings: &[(&'static str, String)],
    ) -> Result<Node, String> {
        let mut environment = self.environment();
        environment.extend_from_slice(settings);
        let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut process = Guarded::start(&self.binary, &["serve", "--listen", listen], &environment, log)?;
        let told = process
            .line()
            .and_then(|line| Some(line.strip_prefix("listening on http")?.split_once("://")?.1.to_owned()));
        let said = || fs::read_to_string(log).unwrap_or_default();
        Ok(Node { address: told.ok_or_else(|| format!("a node did not start:\n{}", said()))?, process })
    }

    /// A file ready to be sent as it is, signed now. All its columns are set.
    pub(crate) fn upload(&self, tenant: &Tenant, file: &Path, digest: &str) -> Result<Upload, String> {
        let mut header = String::new();
        let read = File::open(file).and_then(|file| BufReader::new(file).read_line(&mut header));
        read.map_err(|fault| format!("{}: {fault}", file.display()))?;
        let path = format!("/v2/programs/{}/participants?new=add&existing={}&mode=row", tenant.program, header.trim());
        // `roster sign` signs no query.
        let date = text_of(Command::new("date").args(["--utc", "+%Y-%m-%dT%H:%M:%SZ"]))?.trim().to_owned();
        let lines = [&*tenant.token, "POST", &path, digest, &date].join("\n").to_lowercase();
        let sign = r#"printf %s "$1" | openssl dgst -sha256 -hmac "$2" -binary | openssl base64 -A"#;
        let signature = text_of(Command::new("sh").args(["-c", sign, "sign", &lines, &tenant.secret]))?;
        let headers = vec![
            format!("Authorization: SignalVine {}:{signature}", tenant.token),
            format!("SignalVine-Date: {date}"),
            format!("Content-Digest: {digest}"),
            format!("Prefer: wait={WAIT_SECONDS}"),
        ];
        Ok(Upload { path, headers, file: file.to_owned() })
    }

    /// The headers of a request without a body.
    pub(crate) fn sign(&self, tenant: &Tenant, method: &str, path: &str) -> Result<Vec<String>, String> {
        let mut sign = self.command(&["sign", method, path, "--json"]);
        let signed = text_of(sign.envs([("ROSTER_TOKEN", &tenant.token), ("ROSTER_SECRET", &tenant.secret)]))?;
        Ok(vec![
            format!("Authorization: {}", needed(&signed, "authorization")?),
            format!("SignalVine-Date: {}", needed(&signed, "date")?),
        ])
    }

    /// An import ready to be sent, signed now. All columns of the file are set.
    pub(crate) fn import(&self, tenant: &Tenant, csv: &str) -> Result<Import, String> {
        self.import_with(tenant, Options::AddAndSet, csv)
    }

    /// The same, with other options.
    pub(crate) fn import_with(&self, tenant: &Tenant, options: Options, csv: &str) -> Result<Import, String> {
        let options = match options {
            Options::AddAndSet => {
                let names = csv.lines().next().unwrap_or_default().split(',');
                let names = names.map(json_string).collect::<Vec<_>>().join(",");
                format!(r#""new":"add","existing":[{names}]"#)
            }
            Options::Ignore => r#""new":"ignore","existing":"ignore""#.to_owned(),
        };
        let body = format!(
            r#"{{"program":"{}","options":{{{options},"mode":"row","absent":"ignore"}},"participants":{}}}"#,
            tenant.program,
            json_string(csv)
        );
        let path = format!("/v2/programs/{}/participants", tenant.program);
        let file = self.directory.join("body.json");
        fs::write(&file, &body).map_err(|fault| format!("{}: {fault}", file.display()))?;
        let mut sign = self.command(&["sign", "POST", &path, "--json", "--body"]);
        sign.arg(&file).envs([("ROSTER_TOKEN", &tenant.token), ("ROSTER_SECRET", &tenant.secret)]);
        let signed = text_of(&mut sign)?;
        let headers = vec![
            format!("Authorization: {}", needed(&signed, "authorization")?),
            format!("SignalVine-Date: {}", needed(&signed, "date")?),
            format!("Prefer: wait={WAIT_SECONDS}"),
        ];
        Ok(Import { path, headers, body })
    }
}

/// A running node.
pub(crate) struct Node {
    pub(crate) address: String,
    pub(crate) process: Guarded,
}

/// A signed request.
pub(crate) struct Import {
    path: String,
    headers: Vec<String>,
    body: String,
}

/// What is done with the rows of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Options {
    /// Rows that are new are added, and of the others all columns are set.
    AddAndSet,
    /// Nothing: they are only read.
    Ignore,
}

/// The counts of a report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Counts {
    pub(crate) read: u64,
    pub(crate) added: u64,
    pub(crate) updated: u64,
    pub(crate) unchanged: u64,
}

impl Import {
    /// Sends it to a node: what was done, and how long it took from the first byte sent to the completed status.
    pub(crate) fn send(&self, address: &str) -> Result<(Counts, Duration), String> {
        let begun = Instant::now();
        let answer = http::send(address, "POST", &self.path, &self.headers, self.body.as_bytes())
            .map_err(|fault| format!("{address}: {fault}"))?;
        let took = begun.elapsed();
        if answer.status != 202 || member(&answer.body, "complete") != Some("true") {
            return Err(format!("{address} answers {}: {}", answer.status, answer.body));
        }
        Ok((counts(&answer.body)?, took))
    }
}

impl Import {
    pub(crate) fn body_bytes(&self) -> usize {
        self.body.len()
    }

    /// Sends it without waiting for its end: its place.
    pub(crate) fn accepted(&self, connection: &mut Connection) -> Result<String, String> {
        let headers: Vec<String> = self.headers.iter().filter(|line| !line.starts_with("Prefer:")).cloned().collect();
        let answer = connection.send("POST", &self.path, &headers, self.body.as_bytes())?;
        let location = answer.header("location").filter(|_| answer.status == 202).map(str::to_owned);
        location.ok_or_else(|| format!("it is answered {}: {}", answer.status, answer.body))
    }

    /// Sends it and waits for its end.
    pub(crate) fn completed(&self, connection: &mut Connection) -> Result<(), String> {
        let answer = connection.send("POST", &self.path, &self.headers, self.body.as_bytes())?;
        let is_complete = answer.status == 202 && member(&answer.body, "complete") == Some("true");
        if is_complete { Ok(()) } else { Err(format!("it is answered {}: {}", answer.status, answer.body)) }
    }
}

/// A signed file.
pub(crate) struct Upload {
    path: String,
    headers: Vec<String>,
    file: PathBuf,
}

impl Upload {
    /// Sends it to a node: what was done, and how long it took from the first byte sent to the completed status, however long that is.
    pub(crate) fn send(&self, home: &Home, tenant: &Tenant, address: &str) -> Result<(Counts, Duration), String> {
        let failed = |fault: std::io::Error| format!("{address}: {fault}");
        let begun = Instant::now();
        let mut answer = http::post_file(address, &self.path, &self.headers, &self.file).map_err(failed)?;
        let location = answer.header("location").unwrap_or_default().to_owned();
        while matches!(answer.status, 200 | 202) && member(&answer.body, "complete") == Some("false") {
            let mut headers = home.sign(tenant, "GET", &location)?;
            headers.push(format!("Prefer: wait={WAIT_SECONDS}"));
            answer = http::send(address, "GET", &location, &headers, b"").map_err(failed)?;
        }
        let took = begun.elapsed();
        if member(&answer.body, "complete") != Some("true") {
            return Err(format!("{address} answers {}: {}", answer.status, answer.body));
        }
        Ok((counts(&answer.body)?, took))
    }
}

/// The value of `Content-Digest` for a file.
pub(crate) fn digest_of(file: &Path) -> Result<String, String> {
    let digest = r#"openssl dgst -sha256 -binary "$1" | openssl base64 -A"#;
    Ok(format!("sha-256=:{}:", text_of(Command::new("sh").args(["-c", digest, "digest"]).arg(file))?))
}

/// The counts of a completed status, in which no row failed.
pub(crate) fn counts(status: &str) -> Result<Counts, String> {
    let count =
        |name| member(status, name).and_then(|count| count.parse().ok()).ok_or(format!("no '{name}': {status}"));
    if member(status, "error") != Some("false") || member(status, "applied") != Some("true") {
        return Err(format!("the import has errors: {status}"));
    }
    Ok(Counts {
        read: count("read")?,
        added: count("added")?,
        updated: count("updated")?,
        unchanged: count("unchanged")?,
    })
}

pub(crate) fn needed(json: &str, name: &str) -> Result<String, String> {
    member(json, name).map(str::to_owned).ok_or_else(|| format!("no '{name}' in {json}"))
}

/// What a command prints; an error with its own words if it fails.
pub(crate) fn text_of(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|fault| format!("{name} could not be started: {fault}"))?;
    if !output.status.success() {
        return Err(format!("{name} failed: {}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
