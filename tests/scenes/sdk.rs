//! The published Python client, unmodified but for the host name.

use std::path::Path;
use std::process::Command;

use crate::harness::{Home, field};
use crate::python::programs;

scenes!(the_published_client_uploads_and_reads_the_status);

const PACKAGES: [&str; 5] = ["signalvine-sdk==0.4.6", "pandas<2", "numpy<2", "python-box", "requests"];

fn the_published_client_uploads_and_reads_the_status(home: Home) {
    let service = home.serve();
    let client = service.client();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenes/sdk.py");
    let account = &client.account;
    let output = Command::new(programs("signalvine-sdk-0.4.6", &PACKAGES).join("python"))
        .arg(script)
        .args([&format!("http://{}", service.address), &account.id, &account.token, &account.secret, &client.program])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.trim_end().ends_with("done"), "{said}");
    // What it uploaded is there, accents and all.
    let zoe = client.contact("s1");
    assert_eq!((field(&zoe, "first_name"), field(&zoe, "last_name")), ("Zoë".to_owned(), "Núñez-Ångström".to_owned()));
    assert_eq!(field(&client.contact("s3"), "first_name"), "ΟΔΥΣΣΕΥΣ");
    assert_eq!(client.contacts().len(), 4);
}
