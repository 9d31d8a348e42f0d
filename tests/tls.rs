//! TLS to the database, as an operator meets it: a PostgreSQL that takes nothing else, and what the command line says to
//! every way of asking for it.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test says so by failing")]

#[path = "support/alone.rs"]
mod alone;
#[allow(dead_code, reason = "made for the scenes; only its programs are used here")]
#[path = "support/postgres.rs"]
mod postgres;

use std::process::{Command, Output};

use alone::{PASSWORD, Server};

/// What an operator's command on the database says.
fn accounts(server: &Server, host: &str, parameters: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_roster"))
        .args(["account", "list"])
        .env_clear()
        .env("ROSTER_DATABASE", server.url(host, parameters))
        .env("ROSTER_MASTER_KEY", "0".repeat(64))
        .output()
        .unwrap()
}

fn is_accepted(server: &Server, host: &str, parameters: &str) {
    let output = accounts(server, host, parameters);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{host} {parameters}: {stderr}");
}

/// Told to the operator, whose mistake it is; without the password.
fn is_refused(server: &Server, host: &str, parameters: &str, sentence: &str) {
    let output = accounts(server, host, parameters);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains(sentence), "{host} {parameters}: {stderr}");
    assert_eq!(output.status.code(), Some(2), "{host} {parameters}: {stderr}");
    assert!(!stderr.contains(PASSWORD), "{stderr}");
}
#[test]
fn a_server_is_believed_as_far_as_the_url_says() {
    let server = Server::start();
    let (one, two) = (server.file("one.crt"), server.file("two.crt"));
    let with = |mode: &str, root: &str| format!("sslmode={mode}&sslrootcert={root}");
    server.set("ssl", "off");
    is_refused(&server, "localhost", &with("verify-full", &one), "it offers no TLS, and sslmode asks for it");
    is_refused(&server, "localhost", "sslmode=require", "it offers no TLS, and sslmode asks for it");

    server.set("ssl_cert_file", &server.file("server.crt"));
    server.set("ssl", "on");
    is_accepted(&server, "localhost", &with("verify-full", &one));
    // The password is proved over this very connection, and no other: nobody in between could pass it on.
    is_accepted(&server, "localhost", &format!("{}&channel_binding=require", with("verify-full", &one)));
    is_refused(&server, "127.0.0.1", &with("verify-full", &one), "its certificate is for another name; use a name");
    is_refused(
        &server,
        "localhost",
        &with("verify-full", &two),
        "its certificate is signed by no authority that is trusted",
    );
    is_refused(&server, "localhost", "sslmode=verify-full", "sslrootcert=PATH in");
    is_accepted(&server, "127.0.0.1", &with("verify-ca", &one));
    is_refused(
        &server,
        "127.0.0.1",
        &with("verify-ca", &two),
        "its certificate is signed by no authority that is trusted",
    );
    is_refused(
        &server,
        "127.0.0.1",
        &with("require", &two),
        "its certificate is signed by no authority that is trusted",
    );
    is_accepted(&server, "127.0.0.1", "sslmode=require");
    is_accepted(&server, "127.0.0.1", "sslmode=prefer");
    // Not one of these came without TLS: the server takes no other.
    is_refused(&server, "localhost", "sslmode=disable", "no pg_hba.conf entry for host");
    is_refused(&server, "localhost", "", "no pg_hba.conf entry for host");

    is_refused(&server, "localhost", &with("verify-full", &server.file("none.crt")), "none.crt: it cannot be read");
    is_refused(
        &server,
        "localhost",
        &with("verify-full", &server.file("garbage.crt")),
        "garbage.crt: there is no certificate",
    );
    server.set("ssl_cert_file", &server.file("expired.crt"));
    is_refused(&server, "localhost", &with("verify-full", &one), "its certificate has expired; renew it");
}
