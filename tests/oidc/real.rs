//! A real provider, Node's oidc-provider, and a browser that fills in its forms.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use roster::console::oidc::{OidcClient, OidcSettings, UserClaim};
use roster::tenant::Secret;
use serde_json::{Value, json};
use ureq::http::Response;
use ureq::{Agent, Body};
use zeroize::Zeroizing;

/// Where browsers would reach the service; nobody does in these tests.
pub(crate) const CONSOLE_URL: &str = "https://texting.example.edu";

/// With whatever must be escaped on the way.
pub(crate) const SECRET: &str = "s3cr3t: 100% +&=/?";

/// The provider, and what ends it.
pub(crate) struct Provider {
    child: Child,
    pub(crate) issuer: String,
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a provider is to be.
pub(crate) struct Kind {
    /// How it takes a client's secret.
    pub(crate) methods: &'static [&'static str],
    /// Whether it tells about a person at an address of its own only, as the specification has it.
    pub(crate) conform: bool,
}

impl Provider {
    pub(crate) fn start(kind: &Kind) -> Provider {
        let options = json!({ "secret": SECRET, "methods": kind.methods, "conform": kind.conform });
        let mut child = Command::new("node")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oidc/provider.mjs"))
            .arg(packages())
            .arg(options.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|fault| panic!("Node 20 or newer is needed (cargo xtask test says how): {fault}"));
        let mut issuer = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut issuer).unwrap();
        let issuer = issuer.trim().to_owned();
        if issuer.is_empty() {
            let said = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
            panic!("the provider did not start; it needs Node 20 or newer:\n{said}");
        }
        // What else it says is warnings of being no provider for production.
        let stderr = child.stderr.take().unwrap();
        std::thread::spawn(move || BufReader::new(stderr).lines().for_each(drop));
        Provider { child, issuer }
    }

    pub(crate) fn settings(&self, client_id: &str, user_claim: UserClaim) -> OidcSettings {
        OidcSettings {
            issuer: self.issuer.clone(),
            client_id: client_id.to_owned(),
            client_secret: (client_id != "public").then(|| Secret::new(SECRET.to_owned())),
            user_claim,
            label: "Sign in".to_owned(),
            console_url: CONSOLE_URL.to_owned(),
            answer_within: Duration::from_secs(60),
        }
    }

    pub(crate) fn client(&self, client_id: &str, user_claim: UserClaim) -> OidcClient {
        client(self.settings(client_id, user_claim))
    }

    /// From now on it signs with other keys.
    pub(crate) fn rotate(&self) {
        ureq::get(format!("{}/test/rotate", self.issuer)).call().unwrap();
    }

    /// How often this was asked for.
    pub(crate) fn count(&self, path: &str) -> u64 {
        let mut answer = ureq::get(format!("{}/test/counts", self.issuer)).call().unwrap();
        let counts: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
        counts[path].as_u64().unwrap_or(0)
    }
}

pub(crate) fn client(settings: OidcSettings) -> OidcClient {
    OidcClient::new(settings, &Zeroizing::new([7; 32]))
}

pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}

/// The folder with the provider's packages, as the lock file has them; made once for a checkout.
fn packages() -> PathBuf {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("oidc-provider-9.13.3");
    let ready = place.join("ready");
    if !ready.exists() {
        std::fs::create_dir_all(&place).unwrap();
        for file in ["package.json", "package-lock.json"] {
            let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oidc").join(file);
            std::fs::copy(from, place.join(file)).unwrap();
        }
        let output = Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(&place)
            .output()
            .unwrap_or_else(|fault| panic!("npm is needed (cargo xtask test installs it): {fault}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::write(&ready, "").unwrap();
    }
    place
}

/// As much of a browser as the provider's forms need.
pub(crate) struct Browser {
    agent: Agent,
    /// The paths of cookies are no matter here: one person signs in at one place.
    cookies: BTreeMap<String, String>,
}

impl Browser {
    pub(crate) fn new() -> Browser {
        let config = Agent::config_builder().max_redirects(0).http_status_as_error(false).build();
        Browser { agent: config.new_agent(), cookies: BTreeMap::new() }
    }

    /// Goes to the provider as this person, agrees to everything, and gives what it comes back to the service with.
    pub(crate) fn sign_in(&mut self, url: &str, person: &str) -> Vec<(String, String)> {
        let mut answer = self.get(url);
        // A form to sign in, one to agree, and the ways between them.
        for _ in 0..12 {
            if let Some(location) = self.location(&answer) {
                if let Some(query) = location.strip_prefix(CONSOLE_URL) {
                    return pairs(query.strip_prefix("/console/oidc/callback?").unwrap());
                }
                answer = self.get(&location);
                continue;
            }
            let status = answer.status();
            let page = answer.body_mut().read_to_string().unwrap();
            let action = between(&page, "action=\"", "\"").unwrap_or_else(|| panic!("{status}: {page}")).to_owned();
            let form = match between(&page, "name=\"prompt\" value=\"", "\"") {
                Some("login") => {
                    let login: String = form_urlencoded::byte_serialize(person.as_bytes()).collect();
                    format!("prompt=login&login={login}&password=any")
                }
                Some("consent") => "prompt=consent".to_owned(),
                _ => panic!("{status}: {page}"),
            };
            answer = self.post(&action, &form);
        }
        panic!("it goes on and on");
    }

    /// Goes to the provider, and turns round.
    pub(crate) fn abort(&mut self, url: &str) -> Vec<(String, String)> {
        let first = self.get(url);
        let form = self.location(&first).unwrap();
        self.get(&form);
        let mut at = format!("{form}/abort");
        loop {
            let answer = self.get(&at);
            at = self.location(&answer).unwrap();
            if let Some((_, query)) = at.strip_prefix(CONSOLE_URL).and_then(|rest| rest.split_once('?')) {
                return pairs(query);
            }
        }
    }

    fn get(&mut self, url: &str) -> Response<Body> {
        let answer = self.agent.get(url).header("Cookie", self.cookie()).call().unwrap();
        self.keep_cookies(&answer);
        answer
    }

    fn post(&mut self, url: &str, form: &str) -> Response<Body> {
        let request = self.agent.post(url).header("Cookie", self.cookie());
        let answer = request.content_type("application/x-www-form-urlencoded").send(form).unwrap();
        self.keep_cookies(&answer);
        answer
    }

    fn cookie(&self) -> String {
        self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    fn keep_cookies(&mut self, answer: &Response<Body>) {
        for cookie in answer.headers().get_all("set-cookie") {
            let (name, value) = cookie.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// Where it is sent on to, whole.
    fn location(&self, answer: &Response<Body>) -> Option<String> {
        let location = answer.headers().get("location")?.to_str().unwrap();
        let origin = || {
            use ureq::ResponseExt as _;
            let uri = answer.get_uri();
            format!("{}://{}", uri.scheme_str().unwrap(), uri.authority().unwrap())
        };
        Some(if location.starts_with('/') { format!("{}{location}", origin()) } else { location.to_owned() })
    }
}

/// The pairs of a query, decoded.
pub(crate) fn pairs(query: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

/// The parameter of an address.
pub(crate) fn parameter(url: &str, name: &str) -> String {
    let (_, query) = url.split_once('?').unwrap();
    pairs(query).into_iter().find(|(key, _)| key == name).unwrap().1
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.split_once(before)?.1.split_once(after).map(|(found, _)| found)
}
