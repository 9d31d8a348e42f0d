//! What every scene stands on: the real binary on a free port, an account with a program and a token made by the real
//! command line, and a client that signs.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_roster");

/// Declares scenes: functions that take a [`Home`]. Each becomes a test on every home of the store.
macro_rules! scenes {
    ($($scene:ident),* $(,)?) => {
        scenes_on_sqlite!($($scene),*);
        mod on_postgres {
            $(#[test]
            fn $scene() {
                super::$scene(crate::harness::Home::postgres());
            })*
        }
        mod on_postgres_behind_a_pooler {
            $(#[test]
            fn $scene() {
                super::$scene(crate::harness::Home::pooled_postgres());
            })*
        }
    };
}

/// The same for scenes about files, which only a data directory has.
macro_rules! scenes_on_sqlite {
    ($($scene:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[test]
            fn $scene() {
                super::$scene(crate::harness::Home::sqlite());
            })*
        }
    };
}

/// The master key of the nodes of a database.
const MASTER_KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// Where a service keeps its data; removed at the end of the scene.
pub(crate) struct Home {
    data: tempfile::TempDir,
    /// Where everything but the logs is kept, if not there.
    database: Option<String>,
    /// Whether the service ends with the thread that starts it, also where that is killed.
    ends_with_thread: bool,
    /// Further environment of the service.
    pub(crate) environment: Vec<(&'static str, String)>,
}

impl Home {
    pub(crate) fn sqlite() -> Home {
        Home { data: tempfile::tempdir().unwrap(), database: None, ends_with_thread: false, environment: Vec::new() }
    }

    pub(crate) fn postgres() -> Home {
        Home { database: Some(crate::postgres::new_database()), ..Home::sqlite() }
    }

    /// Every transaction gets any of the pooler's connections to the server.
    pub(crate) fn pooled_postgres() -> Home {
        Home { database: Some(crate::postgres::new_amply_pooled_database()), ..Home::sqlite() }
    }

    /// Behind a pooler that has a single connection to the server.
    pub(crate) fn postgres_behind_one_connection() -> Home {
        Home { database: Some(crate::postgres::new_database_behind_one_connection()), ..Home::sqlite() }
    }

    /// What psql prints of a statement in the database.
    pub(crate) fn query(&self, sql: &str) -> String {
        crate::postgres::query_in(self.database.as_deref().unwrap(), sql)
    }

    /// A file that is removed with the home.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.data.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Over a database that is there, for services that end with the thread that starts them.
    #[allow(dead_code, reason = "scenes have a database of their own")]
    pub(crate) fn over(url: String) -> Home {
        Home { database: Some(url), ends_with_thread: true, ..Home::sqlite() }
    }

    /// Another node's, over the same database.
    pub(crate) fn beside(&self) -> Home {
        Home { database: self.database.clone(), ..Home::sqlite() }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Home {
        self.environment.push((name, value.to_owned()));
        self
    }

    /// A service that waits at a test point until the file is removed.
    pub(crate) fn held_at(self, point: &str) -> (Home, PathBuf) {
        let hold = self.data.path().join("hold");
        std::fs::write(&hold, "").unwrap();
        (self.with("ROSTER_HOLD_AT", point).with("ROSTER_HOLD_FILE", &hold.to_string_lossy()), hold)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.data.path().join("data")
    }

    pub(crate) fn is_database(&self) -> bool {
        self.database.is_some()
    }

    /// Where everything is, as `roster migrate` is told.
    pub(crate) fn place(&self) -> String {
        self.database.clone().unwrap_or_else(|| self.data().display().to_string())
    }

    fn log_path(&self) -> PathBuf {
        self.data.path().join("log")
    }

    /// Everything that the services of this home have logged.
    pub(crate) fn log(&self) -> String {
        // A scene may have put a device in its place, which never ends.
        let is_file = std::fs::metadata(self.log_path()).is_ok_and(|log| log.is_file());
        if is_file { std::fs::read_to_string(self.log_path()).unwrap_or_default() } else { String::new() }
    }

    fn log_file(&self) -> std::fs::File {
        std::fs::File::options().create(true).append(true).open(self.log_path()).unwrap()
    }

    /// The binary with this home, and nothing of the caller's environment that could disturb.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = if self.ends_with_thread { Command::new("setpriv") } else { Command::new(BINARY) };
        if self.ends_with_thread {
            command.args(["--pdeathsig", "KILL", BINARY]);
        }
        command.args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        match &self.database {
            None => command.env("ROSTER_DATA", self.data()),
            // A short lease, because who was killed is to be missed soon.
            Some(url) => command
                .env("ROSTER_DATABASE", url)
                .env("ROSTER_MASTER_KEY", MASTER_KEY)
                .env("ROSTER_LEASE_SECONDS", "1"),
        };
        command.envs(self.environment.iter().map(|(name, value)| (*name, value)));
        command.current_dir(self.data.path());
        command
    }

    /// Runs an operator's command and gives its JSON.
    pub(crate) fn operate(&self, arguments: &[&str]) -> Value {
        let output = self.command(arguments).arg("--json").output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {stderr}");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|fault| panic!("{arguments:?}: {fault}"))
    }

    pub(crate) fn new_account(&self, name: &str) -> Account {
        let account = text(&self.operate(&["account", "create", name])["id"]);
        let token = self.operate(&["token", "create", "--account", &account, "--name", "nightly"]);
        Account { id: account, token: text(&token["token"]), secret: text(&token["secret"]) }
    }

    /// A program with variables of some types.
    pub(crate) fn new_program(&self, account: &Account, name: &str) -> String {
        let program = self.operate(&[
            "program",
            "create",
            name,
            "--account",
            &account.id,
            "--field",
            "honors:Maybe (Boolean)",
            "--field",
            "credits:Numeric",
            "--field",
            "note:String",
            "--phone",
            "+12125550100",
        ]);
        text(&program["id"])
    }

    pub(crate) fn serve(self) -> Service {
        let mut service = Service { home: self, child: None, url: String::new(), address: String::new() };
        service.start();
        service
    }
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// Who signs.
#[derive(Clone)]
pub(crate) struct Account {
    pub(crate) id: String,
    pub(crate) token: String,
    pub(crate) secret: String,
}

/// The running binary.
pub(crate) struct Service {
    pub(crate) home: Home,
    child: Option<Child>,
    /// Where it says that it listens.
    pub(crate) url: String,
    /// The same without the scheme.
    pub(crate) address: String,
}

impl Service {
    /// Starts it on a free port and reads from its first line where it listens.
    pub(crate) fn start(&mut self) {
        let mut child = self
            .home
            .command(&["serve", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(self.home.log_file())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ");
        let address = url.and_then(|url| url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")));
        self.url = url.unwrap_or_default().to_owned();
        self.address = address.unwrap_or_else(|| panic!("the service said '{line}'")).to_owned();
        // Whatever else it says is read, so that it never waits for a reader.
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        self.child = Some(child);
    }

    pub(crate) fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Ends it as a power cut ends a process.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Sends it a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// Asks it to stop, and gives its exit code.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        let mut child = self.child.take().unwrap();
        assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
        child.wait().unwrap().code()
    }

    /// Waits until it has ended by itself; a service that does not is ended, and the scene with it.
    pub(crate) fn wait_for_its_end(&mut self) {
        let mut child = self.child.take().unwrap();
        let id = child.id().to_string();
        let (ended, wait) = std::sync::mpsc::channel();
        std::thread::spawn(move || ended.send(child.wait()));
        if wait.recv_timeout(Duration::from_secs(120)).is_err() {
            let _ = Command::new("kill").args(["-KILL", &id]).status();
            panic!("the service did not end by itself");
        }
    }

    pub(crate) fn new_account(&self) -> Account {
        self.home.new_account("College")
    }

    /// An account with one program, and a client for both.
    pub(crate) fn client(&self) -> Client {
        let account = self.new_account();
        let program = self.home.new_program(&account, "Fall");
        self.client_of(&account, &program)
    }

    pub(crate) fn client_of(&self, account: &Account, program: &str) -> Client {
        Client { address: self.address.clone(), account: account.clone(), program: program.to_owned() }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("{}", self.home.log());
        }
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(at, _)| at == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|fault| panic!("{fault}: {}", self.body))
    }

    /// A refusal: problem document, status and code as they should be.
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        let problem = self.json();
        assert_eq!((self.status, problem["code"].as_str()), (status, Some(code)), "{problem:#}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(problem["status"], status);
        assert!(self.header("x-request-id").is_some());
        problem
    }

    pub(crate) fn location(&self) -> String {
        assert_eq!(self.status, 202, "{}", self.body);
        self.header("location").unwrap().to_owned()
    }
}

/// A request before it is sent.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Request {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Request {
        self.headers.retain(|(at, _)| !at.eq_ignore_ascii_case(name));
        self
    }

    /// Sends it over a connection of the agent's.
    pub(crate) fn send_with(&self, agent: &ureq::Agent, address: &str) -> Result<Answer, ureq::Error> {
        let uri = format!("http://{address}{}{}", self.path, self.query);
        let mut builder = ureq::http::Request::builder().method(self.method).uri(uri);
        for (name, value) in &self.headers {
            builder = builder.header(*name, value);
        }
        let mut response = if self.method == "POST" {
            agent.run(builder.body(self.body.as_slice()).unwrap())?
        } else {
            agent.run(builder.body(()).unwrap())?
        };
        let headers = response.headers().iter();
        let headers = headers
            .map(|(name, value)| (name.as_str().to_owned(), value.to_str().unwrap_or_default().to_owned()))
            .collect();
        let mut body = String::new();
        response.body_mut().as_reader().read_to_string(&mut body)?;
        Ok(Answer { status: response.status().as_u16(), headers, body })
    }
}

/// Sends requests as an account, about a program.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) address: String,
    pub(crate) account: Account,
    pub(crate) program: String,
}

pub(crate) fn now() -> String {
    format!("{:.3}", Timestamp::now())
}

/// The body of an import. `existing`: `ignore`, or names with commas, or nothing for an empty list.
pub(crate) fn body(program: &str, new: &str, existing: &str, mode: &str, csv: &str) -> String {
    let existing = match existing {
        "ignore" => json!("ignore"),
        "" => json!([]),
        names => json!(names.split(',').collect::<Vec<_>>()),
    };
    let options = json!({ "new": new, "existing": existing, "mode": mode, "absent": "ignore" });
    json!({ "program": program, "options": options, "participants": csv }).to_string()
}

/// The body of an import with further options.
pub(crate) fn body_with(program: &str, options: Value, csv: &str) -> String {
    let mut body: Value = serde_json::from_str(&body(program, "add", "", "row", csv)).unwrap();
    for (name, value) in options.as_object().unwrap() {
        body["options"][name] = value.clone();
    }
    body.to_string()
}

impl Client {
    pub(crate) fn participants_path(&self) -> String {
        format!("/v2/programs/{}/participants", self.program)
    }

    /// A signed request.
    pub(crate) fn request(&self, method: &'static str, path: &str, body: impl Into<Vec<u8>>) -> Request {
        self.request_at(&now(), method, path, body)
    }

    pub(crate) fn request_at(
        &self,
        timestamp: &str,
        method: &'static str,
        path: &str,
        body: impl Into<Vec<u8>>,
    ) -> Request {
        let body = body.into();
        let (path, query) =
            path.split_once('?').map_or((path, String::new()), |(path, query)| (path, format!("?{query}")));
        let Account { token, secret, id: _ } = &self.account;
        let signature = roster::signature::sign(token, secret.as_bytes(), method, path, &body, timestamp);
        Request { method, path: path.to_owned(), query, headers: Vec::new(), body }
            .header("content-type", "application/json")
            .header("authorization", &format!("SignalVine {token}:{signature}"))
            .header("signalvine-date", timestamp)
    }

    pub(crate) fn import_request(&self, new: &str, existing: &str, mode: &str, csv: &str) -> Request {
        self.request("POST", &self.participants_path(), body(&self.program, new, existing, mode, csv))
    }

    pub(crate) fn send(&self, request: &Request) -> Answer {
        self.try_send(request).unwrap_or_else(|fault| panic!("{} {}: {fault}", request.method, request.path))
    }

    pub(crate) fn try_send(&self, request: &Request) -> Result<Answer, ureq::Error> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(120)))
            .build()
            .into();
        request.send_with(&agent, &self.address)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send(&self.request("GET", path, ""))
    }

    /// The status of a command once it is complete.
    pub(crate) fn completed(&self, location: &str) -> Value {
        for _ in 0..10 {
            let answer = self.send(&self.request("GET", location, "").header("prefer", "wait=30"));
            assert_eq!(answer.status, 200, "{}", answer.body);
            let status = answer.json();
            if status["complete"] == true {
                check_status(&status);
                return status;
            }
        }
        panic!("{location} is not complete after five minutes");
    }

    /// Sends an import and gives its completed status.
    pub(crate) fn import(&self, new: &str, existing: &str, mode: &str, csv: &str) -> Value {
        let answer = self.send(&self.import_request(new, existing, mode, csv));
        self.completed(&answer.location())
    }

    /// All contacts of the program, in full.
    pub(crate) fn contacts(&self) -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            let path = format!(
                "/v1/programs/{}/participants?type=full&active=all&count=1000&offset={}",
                self.program,
                all.len()
            );
            let page = self.get(&path).json();
            let items = page["items"].as_array().unwrap();
            if items.is_empty() {
                assert_eq!(page["total"], all.len());
                return all;
            }
            all.extend(items.iter().cloned());
        }
    }

    pub(crate) fn contact(&self, customer_id: &str) -> Value {
        let contacts = self.contacts();
        let found = contacts.into_iter().find(|contact| contact["customerId"] == customer_id);
        found.unwrap_or_else(|| panic!("no contact '{customer_id}'"))
    }
}

/// A field of a contact read in full.
pub(crate) fn field(contact: &Value, name: &str) -> String {
    let profile = contact["profile"].as_array().unwrap();
    let entry = profile.iter().find(|entry| entry["name"] == name);
    text(&entry.unwrap_or_else(|| panic!("no field '{name}'"))["value"])
}

/// What holds for every completed command.
fn check_status(status: &Value) {
    let message = &status["message"];
    let rows = &message["rows"];
    let count = |name: &str| rows[name].as_u64().unwrap();
    let fates = ["added", "updated", "unchanged", "ignored", "failed"].map(count).iter().sum::<u64>();
    assert_eq!(count("read"), fates, "{message:#}");
    let errors = message["errorCount"].as_u64().unwrap();
    assert_eq!(status["error"], errors > 0);
    assert_eq!(message["errors"].as_array().unwrap().len() as u64, errors.min(1_000));
    assert_eq!(message.get("notApplied").is_none(), message["applied"] == true);
    assert_eq!(status.get("trace").is_some(), errors > 0);
    assert!(status.get("progress").is_none());
}

/// `read added updated unchanged ignored failed`, and whether it was applied.
pub(crate) fn counts(status: &Value) -> ([u64; 6], bool) {
    let rows = &status["message"]["rows"];
    let counts =
        ["read", "added", "updated", "unchanged", "ignored", "failed"].map(|name| rows[name].as_u64().unwrap());
    (counts, status["message"]["applied"] == true)
}

/// `row field code` of every error, a line each.
pub(crate) fn errors(status: &Value) -> Vec<String> {
    let errors = status["message"]["errors"].as_array().unwrap();
    errors
        .iter()
        .map(|error| {
            let row = error.get("row").map_or("file".to_owned(), Value::to_string);
            let field = error.get("field").map_or("-".to_owned(), text);
            format!("{row} {field} {}", text(&error["code"]))
        })
        .collect()
}

/// A file of so many valid contacts, the first with this number; all columns differ.
pub(crate) fn contacts_csv(first: u64, rows: u64) -> String {
    let mut csv = "customer_id,phone,first_name,last_name,active,group_list,timezone,honors,credits,note\n".to_owned();
    for number in first..first + rows {
        let phone = nth_phone(number);
        csv.push_str(&format!(
            "c{number:07},{phone},Zoë {number},\"O'Neil, {number}\",yes,a;b,America/Denver,{},{},\"note\n{number}\"\n",
            if number % 2 == 0 { "yes" } else { "" },
            number % 120
        ));
    }
    csv
}

/// A valid number for each number below 7,900,000.
pub(crate) fn nth_phone(number: u64) -> String {
    // 917 and 212 … are areas in which every exchange from 200 to 999 without N11 is assigned.
    const AREAS: [u64; 10] = [212, 917, 646, 347, 718, 415, 510, 650, 408, 925];
    let area = AREAS[usize::try_from(number / 790_000).unwrap()];
    let within = number % 790_000;
    let exchange = 210 + within / 1_000;
    format!("({area}) {exchange}-{:04}", 1_000 + within % 1_000)
}
