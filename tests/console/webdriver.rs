//! Debian's Chromium without a window, through its own chromedriver: a process, a session, and commands in JSON. Which commands there are
//! is told by W3C's WebDriver, and by the DevTools protocol for what that has no words for.
//!
//! Not a crate: those bring forty others and a runtime for what is a handful of requests to the loopback. Not here: anything that knows of
//! pages (`browser`).

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

/// Starts the driver on a free port, says its directory and its port, and then reads the process id of the browser. When nobody holds its
/// standard input any more both are ended and the directory is removed: so however a test ends, nothing stays.
const START: &str = r#"
set -e
directory=$(mktemp -d /tmp/roster-browser.XXXXXX)
trap 'rm -rf "$directory" || { sleep 0.5; rm -rf "$directory"; }' EXIT
mkdir "$directory/downloads"
HOME=$directory chromedriver --port=0 >"$directory/log" 2>&1 </dev/null &
driver=$!
until port=$(sed -n 's/.*started successfully on port \([0-9]*\).*/\1/p' "$directory/log" 2>&1) && [ -n "$port" ]; do
  kill -0 $driver || { cat "$directory/log" >&2; exit 1; }
  sleep 0.02
done
echo "$directory"
echo "$port"
browser=
read -r browser || true
read -r _ || true
exec 2>/dev/null
kill -KILL $driver $browser || true
wait $driver || true
while [ -n "$browser" ] && kill -0 $browser; do sleep 0.02; done
"#;

/// Nothing is fetched that no test asks for, and what a container does not have is not needed.
const ARGUMENTS: [&str; 9] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--lang=en-US",
    "--force-device-scale-factor=1",
];

/// How the protocol names an element in JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Something of the page that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Element(String);

impl Element {
    pub(crate) fn of(value: &Value) -> Option<Element> {
        value[ELEMENT].as_str().map(|id| Element(id.to_owned()))
    }

    /// As an argument of a script.
    pub(crate) fn json(&self) -> Value {
        json!({ ELEMENT: self.0 })
    }
}

/// What the driver says went wrong: the protocol's word, and a sentence.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) word: String,
    pub(crate) sentence: String,
}

impl Fault {
    /// What was found is not there any more: the page has changed in between.
    pub(crate) fn is_gone(&self) -> bool {
        ["stale element reference", "no such element", "detached shadow root"].contains(&self.word.as_str())
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // After the first line it tells of its own insides.
        write!(f, "{}: {}", self.word, self.sentence.lines().next().unwrap_or_default())
    }
}

/// A browser of its own, with a fresh profile.
pub(crate) struct Session {
    agent: ureq::Agent,
    url: String,
    /// Where downloads and the profile are.
    pub(crate) directory: PathBuf,
    shell: Child,
}

impl Session {
    pub(crate) fn start() -> Session {
        let mut shell = Command::new("sh")
            .args(["-c", START])
            // A Ctrl-C at the terminal is for who started the tests; the shell sees the pipe's end, and cleans up.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut lines = BufReader::new(shell.stdout.take().unwrap()).lines();
        let mut line = || {
            let line = lines.next().and_then(Result::ok);
            line.expect("chromium and chromium-driver are needed (cargo xtask test installs them on Debian)")
        };
        let (directory, port) = (PathBuf::from(line()), line());
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(120)))
            .build()
            .into();
        let mut session = Session { agent, url: format!("http://127.0.0.1:{port}/session"), directory, shell };
        let begun = session.post("", json!({ "capabilities": { "alwaysMatch": session.capabilities() } }));
        let begun = begun.unwrap_or_else(|fault| panic!("no browser: {fault}"));
        session.url = format!("{}/{}", session.url, begun["sessionId"].as_str().unwrap());
        let browser = &begun["capabilities"]["goog:processID"];
        writeln!(session.shell.stdin.as_ref().unwrap(), "{browser}").unwrap();
        session
    }

    fn capabilities(&self) -> Value {
        let profile = format!("--user-data-dir={}", self.directory.join("profile").display());
        let arguments: Vec<&str> = ARGUMENTS.iter().copied().chain([profile.as_str()]).collect();
        json!({
            "browserName": "chrome",
            // Everything that a console would show.
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "args": arguments },
        })
    }

    /// A command below the session's path.
    pub(crate) fn post(&self, path: &str, body: Value) -> Result<Value, Fault> {
        let request = ureq::http::Request::builder().method("POST").uri(format!("{}{path}", self.url));
        let request = request.header("content-type", "application/json").body(body.to_string()).unwrap();
        self.answer(self.agent.run(request))
    }

    pub(crate) fn get(&self, path: &str) -> Result<Value, Fault> {
        let request = ureq::http::Request::builder().uri(format!("{}{path}", self.url)).body(()).unwrap();
        self.answer(self.agent.run(request))
    }

    fn answer(&self, answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Value, Fault> {
        // A whole page as an image is many megabytes.
        let limit = 256 << 20;
        let text = answer.and_then(|mut answer| answer.body_mut().with_config().limit(limit).read_to_string());
        let text = text.unwrap_or_else(|fault| panic!("chromedriver does not answer: {fault}"));
        let mut answer: Value = serde_json::from_str(&text).unwrap_or_else(|fault| panic!("{fault}: {text}"));
        let value = answer["value"].take();
        match (value["error"].as_str(), value["message"].as_str()) {
            (Some(word), Some(sentence)) => Err(Fault { word: word.to_owned(), sentence: sentence.to_owned() }),
            _ => Ok(value),
        }
    }

    /// A command to one element.
    pub(crate) fn to(&self, element: &Element, command: &str, body: Value) -> Result<Value, Fault> {
        self.post(&format!("/element/{}/{command}", element.0), body)
    }

    /// What one element is to who asks for it: `computedlabel`, `computedrole`.
    pub(crate) fn of(&self, element: &Element, what: &str) -> Result<String, Fault> {
        let value = self.get(&format!("/element/{}/{what}", element.0))?;
        Ok(value.as_str().unwrap_or_default().to_owned())
    }

    /// A command of the DevTools protocol.
    pub(crate) fn devtools(&self, command: &str, parameters: Value) -> Value {
        let answer = self.post("/goog/cdp/execute", json!({ "cmd": command, "params": parameters }));
        answer.unwrap_or_else(|fault| panic!("{command}: {fault}"))
    }

    /// What the body of a function gives. The page's content security policy has no say in it, nor whether the page may run scripts.
    pub(crate) fn script(&self, body: &str, arguments: &[Value]) -> Result<Value, Fault> {
        self.post("/execute/sync", json!({ "script": body, "args": arguments }))
    }

    /// The same of a function that calls its last argument when it is done.
    pub(crate) fn slow_script(&self, body: &str, arguments: &[Value]) -> Result<Value, Fault> {
        self.post("/execute/async", json!({ "script": body, "args": arguments }))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let request = ureq::http::Request::builder().method("DELETE").uri(&self.url).body(()).unwrap();
        let _ = self.agent.run(request);
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}
