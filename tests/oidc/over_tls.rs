//! Over TLS a provider is believed if an authority of the system's says so. Which those are is asked of the environment once, so what
//! is tried runs in a process of its own each time: this test again, with another file of authorities.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use roster::console::oidc::{OidcSettings, UserClaim};
use serde_json::json;

use crate::real::{CONSOLE_URL, client, now_ms};

/// What tells the process of its own which provider to try.
const ISSUER: &str = "ROSTER_TEST_OIDC_ISSUER";

/// Two authorities, a certificate of the first for `localhost` alone, and a server that sends the files of a folder.
const MAKE: &str = r#"
set -e
cd "$1"
new='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
for authority in one two; do
  openssl req -x509 $new -days 2 -subj "/CN=roster tests $authority" -keyout $authority.key -out $authority.crt 2>>log
done
echo subjectAltName=DNS:localhost >server.ext
openssl req $new -subj /CN=localhost -keyout server.key -out server.csr 2>>log
openssl x509 -req -in server.csr -CA one.crt -CAkey one.key -CAcreateserial -days 2 -extfile server.ext -out server.crt 2>>log
"#;

struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(folder: &Path) -> Server {
        let made = Command::new("sh").args(["-c", MAKE, "make"]).arg(folder).status().unwrap();
        assert!(made.success(), "{}", std::fs::read_to_string(folder.join("log")).unwrap());
        let mut child = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-WWW", "-cert", "server.crt", "-key", "server.key"])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let port = loop {
            let mut line = String::new();
            assert!(said.read_line(&mut line).unwrap() > 0, "openssl did not say where it listens");
            if let Some(address) = line.strip_prefix("ACCEPT ") {
                break address.trim().rsplit_once(':').unwrap().1.parse().unwrap();
            }
        };
        std::thread::spawn(move || said.lines().for_each(drop));
        Server { child, port }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a sign-in says that is begun in a process of its own.
fn begun(issuer: &str, authorities: &Path) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "over_tls::a_provider_is_believed_by_the_authorities_of_the_system", "--nocapture"])
        .env(ISSUER, issuer)
        .env("SSL_CERT_FILE", authorities)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
#[expect(clippy::print_stdout, reason = "the process that started this one reads it")]
fn a_provider_is_believed_by_the_authorities_of_the_system() {
    if let Ok(issuer) = std::env::var(ISSUER) {
        let settings = OidcSettings {
            issuer,
            client_id: "roster".to_owned(),
            client_secret: None,
            user_claim: UserClaim::Subject,
            label: "Sign in".to_owned(),
            console_url: CONSOLE_URL.to_owned(),
            answer_within: std::time::Duration::from_secs(60),
        };
        match client(settings).begin("", now_ms()) {
            Ok((url, _)) => println!("sent to {url}"),
            Err(refusal) => println!("refused: {:?}: {}", refusal.reason, refusal.detail()),
        }
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let describe = |issuer: &str| {
        let place = folder.path().join(".well-known");
        std::fs::create_dir_all(&place).unwrap();
        let at = |what: &str| format!("https://login.example.edu/{what}");
        let description = json!({
            "issuer": issuer, "authorization_endpoint": at("auth"), "token_endpoint": at("token"), "jwks_uri": at("jwks"),
        });
        std::fs::write(place.join("openid-configuration"), description.to_string()).unwrap();
    };
    let authority = |name: &str| folder.path().join(name);
    let issuer = format!("https://localhost:{}", server.port);
    describe(&issuer);
    assert!(begun(&issuer, &authority("one.crt")).contains("sent to https://login.example.edu/auth?"));
    let refused = begun(&issuer, &authority("two.crt"));
    assert!(refused.contains("refused: Unreachable") && refused.contains("certificate"), "{refused}");
    // Its certificate is for its name alone.
    let by_number = format!("https://127.0.0.1:{}", server.port);
    describe(&by_number);
    let refused = begun(&by_number, &authority("one.crt"));
    assert!(refused.contains("refused: Unreachable") && refused.contains("certificate"), "{refused}");
    // Whom nobody has, believe the public ones that are built in; this one is none of them.
    let refused = begun(&issuer, &authority("none.crt"));
    assert!(refused.contains("refused: Unreachable") && refused.contains("certificate"), "{refused}");
}
