//! The clients that docs/API.md shows: taken from the page as they stand there, and run against the real service.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::thread::JoinHandle;

use crate::harness::{Client, Home, field};

scenes_on_sqlite!(
    the_page_s_clients_import_and_print_the_counts,
    the_page_s_clients_say_what_is_wrong_and_import_nothing,
    the_page_s_clients_send_what_was_put_off_again_as_it_is,
);

/// An example: its language, as the fence on the page names it, and how it is run.
struct Example {
    fence: &'static str,
    file: &'static str,
    program: &'static str,
    further: &'static [&'static str],
}

const EXAMPLES: [Example; 4] = [
    Example { fence: "bash", file: "import.sh", program: "bash", further: &[] },
    Example { fence: "bash", file: "import.sh", program: "bash", further: &["stream"] },
    Example { fence: "python", file: "import.py", program: "python3", further: &[] },
    Example { fence: "javascript", file: "import.mjs", program: "node", further: &[] },
];

impl Example {
    /// The first block of the language below the examples' heading.
    fn text(&self) -> String {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/API.md");
        let page = std::fs::read_to_string(page).unwrap();
        let (_, examples) = page.split_once("\n## Worked examples\n").unwrap();
        let (_, block) = examples.split_once(&format!("\n```{}\n", self.fence)).unwrap();
        block.split_once("\n```\n").unwrap().0.to_owned() + "\n"
    }

    fn run(&self, home: &Home, client: &Client, csv: &str) -> Output {
        self.run_text(home, client, &self.text(), csv)
    }

    fn run_text(&self, home: &Home, client: &Client, text: &str, csv: &str) -> Output {
        let (script, contacts) = (home.file(self.file, text), home.file("contacts.csv", csv));
        Command::new(self.program)
            .arg(script)
            .arg(contacts)
            .args(self.further)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("ROSTER_URL", format!("http://{}", client.address))
            .env("ROSTER_TOKEN", &client.account.token)
            .env("ROSTER_SECRET", &client.account.secret)
            .env("ROSTER_PROGRAM", &client.program)
            .output()
            .unwrap_or_else(|fault| panic!("{} is needed (cargo xtask test installs it): {fault}", self.program))
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn the_page_s_clients_import_and_print_the_counts(home: Home) {
    let service = home.serve();
    for (example, phone) in EXAMPLES.iter().zip(3_035_550_100_u64..) {
        let client = service.client();
        // Whatever a JSON string must escape, and what the two lower-casings treat differently.
        let csv = format!(
            "customer_id,phone,first_name,note\r\nA-1,{phone},\"Zoë \"\"Ångström\"\"\",\"a\\b\tÉ\nc\"\r\nA-2,nope,Bo,\r\n"
        );
        let output = example.run(&service.home, &client, &csv);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{}: a row is bad: {said}", example.fence);
        assert!(said.contains("accepted as /v2/commands/"), "{said}");
        assert!(said.contains("read:2,") && said.contains("added:1,") && said.contains("failed:1"), "{said}");
        assert!(said.contains("Could not parse 'nope' as Phone"), "{said}");
        assert!(!said.contains(&client.account.secret), "{said}");
        let contacts = client.contacts();
        assert_eq!(contacts.len(), 1, "{}", example.fence);
        assert_eq!(field(&contacts[0], "first_name"), "Zoë \"Ångström\"");
        assert_eq!(field(&contacts[0], "note"), "a\\b\tÉ\nc");

        // And the good row again, with another name.
        let output = example.run(&service.home, &client, "customer_id,first_name\nA-1,Ada\n");
        let said = self::said(&output);
        assert_eq!(output.status.code(), Some(0), "{}: {said}", example.fence);
        assert!(said.contains("updated:1,") && said.contains("failed:0"), "{said}");
        assert_eq!(field(&client.contact("A-1"), "first_name"), "Ada");
    }
}

fn the_page_s_clients_say_what_is_wrong_and_import_nothing(home: Home) {
    let service = home.serve();
    let client = service.client();
    let csv = "customer_id,phone\nA-1,3035550101\n";
    for example in &EXAMPLES {
        let mut forged = client.clone();
        forged.account.secret = "another".to_owned();
        let output = example.run(&service.home, &forged, csv);
        let said = said(&output);
        assert!(!output.status.success() && said.contains("signature_mismatch"), "{}: {said}", example.fence);

        // A machine that signs the known vector otherwise sends nothing: the service's address is not even one.
        let nowhere = Client { address: "nowhere.invalid".to_owned(), ..client.clone() };
        let text = example.text();
        assert_eq!(text.matches("INVENTED_SECRET").count(), 1);
        let wrong = text.replace("INVENTED_SECRET", "ANOTHER_SECRET");
        let output = example.run_text(&service.home, &nowhere, &wrong, csv);
        let said = self::said(&output);
        assert!(!output.status.success() && said.contains("signs the known vector as "), "{}: {said}", example.fence);
    }
    assert!(client.contacts().is_empty());
    assert_eq!(client.get(&format!("/v2/programs/{}/commands", client.program)).json()["total"], 0);
}

fn the_page_s_clients_send_what_was_put_off_again_as_it_is(home: Home) {
    let service = home.serve();
    let client = service.client();
    for example in &EXAMPLES {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let busy = Client { address: listener.local_addr().unwrap().to_string(), ..client.clone() };
        let server = first_busy_then_refusing(listener);
        let output = example.run(&service.home, &busy, "customer_id,phone\nA-1,3035550101\n");
        assert!(!output.status.success(), "{}: {}", example.fence, said(&output));
        let [first, second] = server.join().unwrap();
        assert!(first.0.contains("\nauthorization: signalvine "), "{}", first.0);
        assert_eq!(first, second, "{}: the second is the first again", example.fence);
    }
    assert!(client.contacts().is_empty());
}

/// Takes two requests, and gives their heads, lower-cased, and their bodies.
fn first_busy_then_refusing(listener: TcpListener) -> JoinHandle<[(String, Vec<u8>); 2]> {
    std::thread::spawn(move || {
        ["503 Service Unavailable\r\nRetry-After: 0", "401 Unauthorized"].map(|status| {
            let (stream, _) = listener.accept().unwrap();
            take_one(stream, status)
        })
    })
}

fn take_one(mut stream: TcpStream, status: &str) -> (String, Vec<u8>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
    }
    let head = head.to_lowercase();
    let length = head.split("content-length: ").nth(1).unwrap();
    let mut body = vec![0; length.split("\r\n").next().unwrap().parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
    (head, body)
}
