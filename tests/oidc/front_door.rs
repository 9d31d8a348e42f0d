//! The console's own part in it: the real binary sends a browser to the real provider, and lets in who comes back, if there is a user of that name.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use ureq::Agent;

use crate::real::{Browser, CONSOLE_URL, Kind, Provider, SECRET};

const ADA: &str = "ada@example.edu";

struct Service {
    data: tempfile::TempDir,
    issuer: String,
    child: Option<Child>,
    url: String,
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// An answer without its body, but for what is looked for.
struct Answer {
    status: u16,
    location: String,
    cookies: Vec<String>,
    body: String,
}

impl Answer {
    /// The cookie of this name as a browser would send it back, and all that was said of it.
    fn cookie(&self, name: &str) -> Option<(String, &str)> {
        let whole = self.cookies.iter().find(|cookie| cookie.starts_with(&format!("{name}=")))?;
        Some((whole.split(';').next().unwrap().to_owned(), whole))
    }
}

impl Service {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_roster"));
        command.args(arguments).env_clear().current_dir(self.data.path()).env("ROSTER_DATA", self.data.path());
        for (name, value) in [
            ("ROSTER_CONSOLE_URL", CONSOLE_URL),
            ("ROSTER_OIDC_ISSUER", self.issuer.as_str()),
            ("ROSTER_OIDC_CLIENT_ID", "roster:1"),
            ("ROSTER_OIDC_CLIENT_SECRET", SECRET),
            ("ROSTER_OIDC_LABEL", "Sign in with the college"),
        ] {
            command.env(name, value);
        }
        command
    }

    fn operate(&self, arguments: &[&str]) -> Value {
        let output = self.command(arguments).arg("--json").output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn start(provider: &Provider) -> Service {
        let (data, issuer) = (tempfile::tempdir().unwrap(), provider.issuer.clone());
        let mut service = Service { data, issuer, child: None, url: String::new() };
        let account = service.operate(&["account", "create", "College"]);
        let account = account["id"].as_str().unwrap();
        service.operate(&["user", "create", ADA, "--account", account, "--role", "viewer"]);
        let mut serve = service.command(&["serve", "--listen", "127.0.0.1:0"]);
        let mut child = serve.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.next().unwrap().unwrap();
        service.url = line.strip_prefix("listening on ").unwrap().to_owned();
        std::thread::spawn(move || lines.for_each(drop));
        service.child = Some(child);
        service
    }

    fn get(&self, path: &str, cookie: &str) -> Answer {
        let agent: Agent = Agent::config_builder().max_redirects(0).http_status_as_error(false).build().into();
        let mut answer = agent.get(format!("{}{path}", self.url)).header("Cookie", cookie).call().unwrap();
        let text = |value: &ureq::http::HeaderValue| value.to_str().unwrap().to_owned();
        Answer {
            status: answer.status().as_u16(),
            location: answer.headers().get("location").map(text).unwrap_or_default(),
            cookies: answer.headers().get_all("set-cookie").iter().map(text).collect(),
            body: answer.body_mut().read_to_string().unwrap(),
        }
    }

    /// From the button to the way back: the path that the provider sends this person to, and the cookie of the browser.
    fn begin(&self, then: &str, person: &str) -> (String, String) {
        let begun = self.get(&format!("/console/oidc?then={then}"), "");
        assert_eq!(begun.status, 303, "{}", begun.body);
        let (cookie, whole) = begun.cookie("__Host-roster-provider").unwrap();
        for part in ["HttpOnly", "Secure", "SameSite=Lax", "Path=/", "Max-Age=600"] {
            assert!(whole.contains(part), "{whole}");
        }
        let pairs = Browser::new().sign_in(&begun.location, person);
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        (format!("/console/oidc/callback?{query}"), cookie)
    }
}

#[test]
fn who_comes_back_from_the_provider_is_in_if_there_is_such_a_user() {
    let provider = Provider::start(&Kind { methods: &["client_secret_basic"], conform: true });
    let service = Service::start(&provider);
    let page = service.get("/console/sign-in?then=%2Fconsole%2Fimports", "");
    assert!(
        page.body.contains("Sign in with the college") && page.body.contains("/console/oidc?then="),
        "{}",
        page.body
    );
    let (back, cookie) = service.begin("%2Fconsole%2Fimports", ADA);
    // In another browser it is nobody's sign-in.
    let elsewhere = service.get(&back, "");
    assert_eq!((elsewhere.status, elsewhere.cookie("__Host-roster").is_none()), (400, true));
    let entered = service.get(&back, &cookie);
    assert_eq!((entered.status, entered.location.as_str()), (303, "/console/imports"), "{}", entered.body);
    let (session, whole) = entered.cookie("__Host-roster").unwrap();
    assert!(whole.contains("Secure") && whole.contains("HttpOnly"), "{whole}");
    let (gone, _) = entered.cookie("__Host-roster-provider").unwrap();
    assert_eq!(gone, "__Host-roster-provider=", "it is over");
    let page = service.get("/console/imports", &session);
    assert!(page.status == 200 && page.body.contains(ADA), "{}", page.body);
    // The same way back lets nobody in twice.
    let again = service.get(&back, &cookie);
    assert_eq!((again.status, again.cookie("__Host-roster").is_none()), (400, true), "{}", again.body);
    // Whom the provider knows and this service does not, is not in, and no user is made.
    let (back, cookie) = service.begin("", "bo@example.edu");
    let stranger = service.get(&back, &cookie);
    assert_eq!((stranger.status, stranger.cookie("__Host-roster").is_none()), (403, true));
    assert!(stranger.body.contains("no user of your name"), "{}", stranger.body);
    assert!(!service.operate(&["user", "list"]).to_string().contains("bo@example.edu"));
    // Who is disabled is not in either, and whoever turns round is told so.
    service.operate(&["user", "disable", ADA]);
    assert_eq!(service.get("/console/imports", &session).status, 303);
    let (back, cookie) = service.begin("", ADA);
    assert_eq!(service.get(&back, &cookie).status, 403);
    let begun = service.get("/console/oidc", "");
    let (cookie, _) = begun.cookie("__Host-roster-provider").unwrap();
    let pairs = Browser::new().abort(&begun.location);
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let turned = service.get(&format!("/console/oidc/callback?{query}"), &cookie);
    assert_eq!(turned.status, 400, "{}", turned.body);
}
