//! TLS on the listener: who may be believed, what is refused at the start, renewal while it runs, and who does not speak it. On the embedded
//! home only: the listener knows nothing of the store.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::harness::{Client, Home, Service};
use crate::watching::{metrics, value, watch_address};

scenes_on_sqlite!(
    a_client_believes_whom_it_is_told_to,
    what_cannot_be_shown_is_refused_at_the_start,
    an_expired_certificate_is_shown_and_told,
    a_certificate_is_renewed_while_the_service_runs,
    who_says_nothing_holds_up_nobody,
    plain_http_is_answered_in_plain_http,
    clients_may_speak_http_2,
    only_what_is_safe_is_agreed_on,
);

/// Two authorities, and certificates of the first for `localhost` alone.
const MAKE: &str = r#"
set -e
cd "$1"
new='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
for authority in one two; do
  openssl req -x509 $new -days 2 -subj "/CN=roster tests $authority" -keyout $authority.key -out $authority.crt
done
echo subjectAltName=DNS:localhost >server.ext
for name in server long expired; do
  days=2
  if [ $name = expired ]; then days=-1; fi
  if [ $name = long ]; then days=9; fi
  openssl req $new -subj /CN=localhost -keyout $name.key -out $name.csr
  openssl x509 -req -in $name.csr -CA one.crt -CAkey one.key -CAcreateserial -days $days -extfile server.ext -out $name.crt
done
openssl pkey -in server.key -aes256 -passout pass:XqPassword -out encrypted.key
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout rsa.key -out rsa.crt
echo 'nothing in PEM' >garbage
printf -- '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n' >empty.crt
"#;

struct Certificates(tempfile::TempDir);

impl Certificates {
    fn new() -> Certificates {
        let directory = tempfile::tempdir().unwrap();
        let made = Command::new("sh").args(["-c", MAKE, "make"]).arg(directory.path()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Certificates(directory)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn der(&self, name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.path(name)).unwrap()
    }

    /// Puts another pair in the place of the one that is served.
    fn put(&self, certificate: &str, key: &str) {
        for (from, to) in [(certificate, "shown.crt"), (key, "shown.key")] {
            // Each at once: nobody reads half of it.
            std::fs::copy(self.path(from), self.path("new")).unwrap();
            std::fs::rename(self.path("new"), self.path(to)).unwrap();
        }
    }

    fn home(&self, certificate: &str, key: &str) -> Home {
        Home::sqlite()
            .with("ROSTER_TLS_CERTIFICATE", &self.path(certificate))
            .with("ROSTER_TLS_KEY", &self.path(key))
            .with("NO_COLOR", "1")
    }
}

fn port(service: &Service) -> &str {
    service.address.rsplit(':').next().unwrap()
}

/// A client of the first authority, over this connection.
fn connect(service: &Service, certificates: &Certificates, alpn: &[&str]) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(certificates.der("one.crt")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let connection = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(&service.address).unwrap());
    stream.conn.complete_io(&mut stream.sock).unwrap();
    stream
}

/// The certificate that a new connection is shown.
fn shown(service: &Service, certificates: &Certificates) -> CertificateDer<'static> {
    connect(service, certificates, &[]).conn.peer_certificates().unwrap()[0].clone().into_owned()
}

/// Asks for health over a connection that stays open.
fn ask(stream: &mut (impl Read + Write)) -> String {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"alive\n") {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&answer));
        answer.push(byte[0]);
    }
    String::from_utf8(answer).unwrap()
}

/// A command of the client, against this URL.
fn roster(client: &Client, url: &str, arguments: &[&str], ca: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roster"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    let Client { account, .. } = client;
    command.envs([("ROSTER_TOKEN", &*account.token), ("ROSTER_SECRET", &*account.secret), ("ROSTER_URL", url)]);
    command.envs(ca.map(|ca| ("ROSTER_CA", ca)));
    command.output().unwrap()
}

fn is_refused(output: &Output, code: i32, sentences: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    for sentence in sentences {
        assert!(stderr.contains(sentence), "'{sentence}' is not in: {stderr}");
    }
    assert!(!stderr.contains("Trying again"), "{stderr}");
}

fn a_client_believes_whom_it_is_told_to(_: Home) {
    let certificates = Certificates::new();
    let service = certificates.home("server.crt", "server.key").serve();
    assert!(service.url.starts_with("https://127.0.0.1:"), "{}", service.url);
    let client = service.client();
    let csv = service.home.file("contacts.csv", "customer_id,phone\nA,2395745030\n").display().to_string();
    let import = ["import", &csv, "--program", &client.program, "--json"];
    let url = format!("https://localhost:{}", port(&service));
    let one = certificates.path("one.crt");

    let untrusted = "its certificate is signed by no authority that is trusted here";
    for ca in [None, Some(certificates.path("two.crt"))] {
        let output = roster(&client, &url, &import, ca.as_deref());
        is_refused(&output, 3, &[&format!("cannot reach {url}"), untrusted, "--ca FILE (or ROSTER_CA)"]);
    }
    let by_number = format!("https://{}", service.address);
    is_refused(&roster(&client, &by_number, &import, Some(&one)), 3, &["its certificate is for another name"]);
    for (name, sentence) in [
        ("none", "it cannot be read"),
        ("garbage", "there is no certificate in it"),
        ("one.key", "there is no certificate in it"),
        ("empty.crt", "a certificate in it is of no use"),
    ] {
        let path = certificates.path(name);
        let output = roster(&client, &url, &import, Some(&path));
        is_refused(&output, 2, &[&format!("--ca: {path}: {sentence}"), "Give a file with the certificates"]);
    }
    // Nothing of all that has come through.
    let list = format!("/v2/programs/{}/commands", client.program);
    let commands = |client: &Client| {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .tls_config(
                ureq::tls::TlsConfig::builder()
                    .root_certs(ureq::tls::RootCerts::new_with_certs(&[ureq::tls::Certificate::from_pem(
                        &std::fs::read(&one).unwrap(),
                    )
                    .unwrap()]))
                    .build(),
            )
            .build()
            .into();
        let request = client.request("GET", &list, "");
        let mut builder = ureq::http::Request::builder().uri(format!("{url}{list}"));
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        let text = agent.run(builder.body(()).unwrap()).unwrap().body_mut().read_to_string().unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["total"].clone()
    };
    assert_eq!(commands(&client), 0);

    let output = roster(&client, &url, &import, Some(&one));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(commands(&client), 1);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let location = format!("/v2/commands/{}", report["commandId"].as_str().unwrap());
    let program = ["--program", &client.program, "--ca", &one];
    assert_eq!(roster(&client, &url, &["status", &location, "--ca", &one], None).status.code(), Some(0));
    let export = roster(&client, &url, &[&["export"], &program[..]].concat(), None);
    assert_eq!(export.status.code(), Some(0), "{}", String::from_utf8_lossy(&export.stderr));
    assert!(String::from_utf8_lossy(&export.stdout).contains("+12395745030"));
    is_refused(&roster(&client, &url, &["cancel", &location], Some(&one)), 2, &["complete"]);
}

/// The operator's mistakes, all with exit code 2; nothing is made.
fn what_cannot_be_shown_is_refused_at_the_start(_: Home) {
    let certificates = Certificates::new();
    let serve = |variables: &[(&str, &str)]| {
        let home = Home::sqlite();
        let mut command = home.command(&["serve", "--listen", "127.0.0.1:0"]);
        for (name, file) in variables {
            command.env(name, certificates.path(file));
        }
        let output = command.output().unwrap();
        assert!(output.stdout.is_empty() && !home.data().exists(), "{output:?}");
        output
    };
    let pair = |certificate: &str, key: &str, file: &str, sentence: &str| {
        let output = serve(&[("ROSTER_TLS_CERTIFICATE", certificate), ("ROSTER_TLS_KEY", key)]);
        is_refused(&output, 2, &[&format!("{}: ", certificates.path(file)), sentence]);
        assert!(!String::from_utf8_lossy(&output.stderr).contains("PRIVATE"), "{output:?}");
    };
    pair("none", "server.key", "none", "tls_certificate: ");
    pair("server.crt", "none", "none", "it cannot be read: No such file");
    pair("garbage", "server.key", "garbage", "there is no certificate in it; it must hold the service's own in PEM");
    pair("server.key", "server.key", "server.key", "there is no certificate in it");
    pair("empty.crt", "server.key", "empty.crt", "its first certificate cannot be read");
    pair("server.crt", "garbage", "garbage", "there is no private key in it; it must hold one in PEM");
    pair("server.crt", "server.crt", "server.crt", "there is no private key in it");
    pair("server.crt", "long.key", "long.key", "it is not the key of the first certificate in");
    pair("server.crt", "rsa.key", "rsa.key", "it is not the key of the first certificate in");
    pair("server.crt", "encrypted.key", "encrypted.key", "the key is encrypted");
    for (given, lacking) in [("TLS_CERTIFICATE", "TLS_KEY"), ("TLS_KEY", "TLS_CERTIFICATE")] {
        let output = serve(&[(&format!("ROSTER_{given}"), "server.crt")]);
        let sentence = format!("{} is given without {}", given.to_lowercase(), lacking.to_lowercase());
        is_refused(&output, 2, &[&sentence, "give both to serve with TLS, or neither"]);
    }
    let home = certificates.home("server.crt", "server.key");
    let output = home.command(&["quickstart", "--once", "--listen", "127.0.0.1:0"]).output().unwrap();
    is_refused(&output, 2, &["quickstart imports over plain HTTP"]);
    // Another kind of key is as good.
    let service = certificates.home("rsa.crt", "rsa.key").serve();
    assert!(service.url.starts_with("https://"));
}

fn an_expired_certificate_is_shown_and_told(_: Home) {
    let certificates = Certificates::new();
    let service = certificates.home("expired.crt", "expired.key").serve();
    let log = service.home.log();
    assert!(log.contains("WARN") && log.contains("has expired: clients refuse it; renew it"), "{log}");
    let client = service.client();
    let (url, one) = (format!("https://localhost:{}", port(&service)), certificates.path("one.crt"));
    let output = roster(&client, &url, &["export", "--program", &client.program], Some(&one));
    is_refused(&output, 3, &["its certificate has expired", "Have it renewed"]);
}

const DAY_S: i64 = 24 * 60 * 60;

/// For how long the certificate is still valid, as the metrics tell it.
fn left_s(service: &Service) -> i64 {
    let until = value(&metrics(&watch_address(service)), "roster_certificate_until_timestamp_seconds");
    until as i64 - jiff::Timestamp::now().as_second()
}

fn a_certificate_is_renewed_while_the_service_runs(_: Home) {
    let certificates = Certificates::new();
    certificates.put("server.crt", "server.key");
    let home = certificates.home("shown.crt", "shown.key").with("ROSTER_METRICS_LISTEN", "127.0.0.1:0");
    let mut service = home.serve();
    let mut kept = connect(&service, &certificates, &["http/1.1"]);
    ask(&mut kept);
    assert_eq!(shown(&service, &certificates), certificates.der("server.crt"));
    assert!((1..=2 * DAY_S).contains(&left_s(&service)), "{}", left_s(&service));

    // A pair that does not hold is told, and changes nothing.
    certificates.put("long.crt", "server.key");
    service.signal("HUP");
    while !service.home.log().contains("the certificate is not renewed") {
        assert_eq!(shown(&service, &certificates), certificates.der("server.crt"));
    }
    // Looked at again it is the same, and nobody is told again.
    service.signal("HUP");
    while service.home.log().matches("SIGHUP").count() < 2 {
        assert_eq!(shown(&service, &certificates), certificates.der("server.crt"));
    }
    assert!(left_s(&service) <= 2 * DAY_S, "it is that of the one that is shown");
    certificates.put("long.crt", "long.key");
    service.signal("HUP");
    while shown(&service, &certificates) != certificates.der("long.crt") {}
    while !service.home.log().contains("the certificate is renewed") {}
    assert!((8 * DAY_S..=9 * DAY_S).contains(&left_s(&service)), "{}", left_s(&service));
    let log = service.home.log();
    assert_eq!(log.matches("the certificate is not renewed").count(), 1, "{log}");
    assert!(log.contains("it is not the key of the first certificate in"), "{log}");
    // Who is connected stays so.
    ask(&mut kept);
    assert_eq!(service.terminate(), Some(0));
}

fn who_says_nothing_holds_up_nobody(_: Home) {
    let certificates = Certificates::new();
    let mut service = certificates.home("server.crt", "server.key").serve();
    let mut silent: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(&service.address).unwrap()).collect();
    // Some begin, and stop in the middle.
    for half in &mut silent[..20] {
        half.write_all(&[0x16, 3, 1, 2, 0, 1]).unwrap();
    }
    for _ in 0..5 {
        ask(&mut connect(&service, &certificates, &[]));
    }
    // Nor do they hold up its end.
    assert_eq!(service.terminate(), Some(0));
    for stream in &mut silent {
        // Closed from the other side: nothing was said, or a reset.
        assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
    }
}

fn plain_http_is_answered_in_plain_http(_: Home) {
    let certificates = Certificates::new();
    let service = certificates.home("server.crt", "server.key").serve();
    let body = "x".repeat(300_000);
    for request in [
        "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(),
        format!("POST /v2/programs/x/participants HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len()),
    ] {
        let mut stream = TcpStream::connect(&service.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        assert!(answer.ends_with("This port speaks HTTPS: send the request to https://.\n"), "{answer}");
    }
    let client = service.client();
    let export = ["export", "--program", &client.program];
    let output = roster(&client, &format!("http://{}", service.address), &export, None);
    is_refused(&output, 2, &["This port speaks HTTPS"]);
    // And the other way round.
    let plain = Home::sqlite().serve();
    let output = roster(&client, &format!("https://{}", plain.address), &export, None);
    is_refused(&output, 3, &["it does not speak TLS", "Is it http:// and not https:// there?"]);
}

/// By hand: the preface, settings, and one request; then the answer's first byte says 200.
fn clients_may_speak_http_2(_: Home) {
    let certificates = Certificates::new();
    let service = certificates.home("server.crt", "server.key").serve();
    for (offered, taken) in [(&["h2", "http/1.1"][..], Some("h2")), (&["http/1.1"], Some("http/1.1")), (&[], None)] {
        let stream = connect(&service, &certificates, offered);
        assert_eq!(stream.conn.alpn_protocol(), taken.map(str::as_bytes));
    }
    let mut stream = connect(&service, &certificates, &["h2"]);
    let headers = b"\x82\x87\x04\x08/healthz\x01\x09localhost";
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    sent.extend([0, 0, u8::try_from(headers.len()).unwrap(), 1, 5, 0, 0, 0, 1]);
    sent.extend(headers);
    stream.write_all(&sent).unwrap();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).unwrap();
        let mut frame = vec![0; usize::from(head[1]) * 256 + usize::from(head[2])];
        stream.read_exact(&mut frame).unwrap();
        assert_ne!(head[3], 7, "it goes away: {frame:?}");
        if head[3] == 1 {
            assert_eq!(frame[0], 0x88, "status 200");
            return;
        }
    }
}

/// What `openssl s_client` agrees on with the service: version and cipher, or nothing.
fn agreed(service: &Service, offer: &[&str]) -> Option<String> {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-brief", "-connect", &service.address, "-servername", "localhost"]).args(offer);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let value = |name: &str| told.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned());
    Some(format!("{} {}", value("Protocol version:")?, value("Ciphersuite:")?))
}

fn only_what_is_safe_is_agreed_on(_: Home) {
    let certificates = Certificates::new();
    // A certificate that the old ways could use, too.
    let service = certificates.home("rsa.crt", "rsa.key").serve();
    assert_eq!(agreed(&service, &[]).as_deref(), Some("TLSv1.3 TLS_AES_256_GCM_SHA384"));
    let of_2 = |ciphers: &str| agreed(&service, &["-tls1_2", "-cipher", ciphers]);
    assert_eq!(of_2("ECDHE-RSA-AES128-GCM-SHA256").as_deref(), Some("TLSv1.2 ECDHE-RSA-AES128-GCM-SHA256"));
    for no_secrecy_later in ["AES128-GCM-SHA256", "AES256-SHA"] {
        assert_eq!(of_2(no_secrecy_later), None, "whoever has the key some day could read what was recorded");
    }
    for padded in ["ECDHE-RSA-AES128-SHA", "ECDHE-RSA-AES256-SHA384"] {
        assert_eq!(of_2(padded), None, "{padded}");
    }
    // The client's own level would not let it offer these.
    for old in ["-tls1", "-tls1_1"] {
        assert_eq!(agreed(&service, &[old, "-cipher", "ALL:@SECLEVEL=0"]), None, "{old}");
    }
    // It is the same service all the while.
    assert!(of_2("ECDHE-RSA-CHACHA20-POLY1305").is_some());
}
