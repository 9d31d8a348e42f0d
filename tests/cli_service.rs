//! The binary against its own service: what an operator and a client do from the first minute on.
//!
//! Ignored until `app` starts a real service; then the attributes go.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use expect_test::expect;
use serde_json::Value;

/// The binary over a data directory, with nothing of the caller's environment.
fn roster(data: &Path, args: &[&str], variables: &[(&str, &str)]) -> Output {
    command(data, args, variables).output().expect("it runs")
}

fn command(data: &Path, args: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roster"));
    command.args(args).env_clear().env("ROSTER_DATA", data).envs(variables.iter().copied()).stdin(Stdio::null());
    command
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("an exit code")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

/// The objects that a command printed, which had to succeed.
fn objects(output: &Output) -> Vec<Value> {
    assert_eq!(code(output), 0, "{}", text(&output.stderr));
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn object(output: &Output) -> Value {
    let [object] = <[Value; 1]>::try_from(objects(output)).expect("one object");
    object
}

fn members(object: &Value) -> Vec<&str> {
    object.as_object().expect("an object").keys().map(String::as_str).collect()
}

/// A service in a process of its own.
struct Served {
    child: Child,
    url: String,
}

impl Served {
    fn start(data: &Path, listen: &str) -> Served {
        let mut child = command(data, &["serve", "--listen", listen], &[])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let url = line.trim_end().strip_prefix("listening on ").expect("its address").to_owned();
        Served { child, url }
    }

    /// As a service manager stops it.
    fn stop(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
        self.child.wait().expect("it ends").code()
    }
}

/// An account with a program and a token, made by an operator.
struct Made {
    program: String,
    token: String,
    secret: String,
}

impl Made {
    fn new(data: &Path) -> Made {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let account = object(&roster(data, &["account", "create", "Example College", "--json"], &[]));
        assert_eq!(members(&account), ["id", "name"]);
        let account = text(&account["id"]);
        let fields = ["--field", "honors:Maybe (Boolean)", "--field", "gpa:Float"];
        let args = [&["program", "create", "Fall", "--account", &account, "--json"][..], &fields].concat();
        let program = object(&roster(data, &args, &[]));
        assert_eq!(members(&program), ["accountId", "active", "id", "name"]);
        let token = object(&roster(data, &["token", "create", "--account", &account, "--name", "t", "--json"], &[]));
        assert_eq!(members(&token), ["name", "secret", "token"]);
        let made = Made { program: text(&program["id"]), token: text(&token["token"]), secret: text(&token["secret"]) };
        assert_eq!((made.token.len(), made.secret.len()), (32, 36));
        made
    }

    fn variables<'a>(&'a self, url: &'a str) -> [(&'a str, &'a str); 4] {
        [
            ("ROSTER_TOKEN", &self.token),
            ("ROSTER_SECRET", &self.secret),
            ("ROSTER_PROGRAM", &self.program),
            ("ROSTER_URL", url),
        ]
    }
}

#[test]
fn quickstart_works_twice_and_its_next_commands_work_when_pasted() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("my data");
    let args = ["quickstart", "--listen", "127.0.0.1:0", "--once", "--json"];
    let first = object(&roster(&data, &args, &[]));
    let rows = &first["status"]["message"]["rows"];
    assert_eq!((&rows["added"], &rows["failed"]), (&2160.into(), &22.into()));
    let second = object(&roster(&data, &args, &[]));
    let rows = &second["status"]["message"]["rows"];
    assert_eq!((&rows["added"], &rows["unchanged"]), (&0.into(), &2160.into()));
    assert_eq!(first["token"], second["token"], "what is there is used again");
    let link = second["consoleLink"].as_str().expect("a link");
    let (origin, ticket) = link.split_once("/console/link?ticket=").expect("a link");
    assert_eq!((origin, ticket.len()), (second["url"].as_str().expect("an address"), 64));
    assert_ne!(first["consoleLink"], second["consoleLink"], "each lets in once");
    let users = objects(&roster(&data, &["user", "list", "--json"], &[]));
    assert_eq!((users.len(), &users[0]["memberships"][0]["role"]), (1, &"admin".into()));

    let next = |place: usize| format!("exec env {}", second["next"][place].as_str().expect("a command"));
    let mut serving = Command::new("sh")
        .args(["-c", &next(0)])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell");
    let mut line = String::new();
    BufReader::new(serving.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    let imported = Command::new("sh").args(["-c", &next(1)]).output().expect("a shell");
    let shown = text(&imported.stdout);
    assert_eq!(code(&imported), 1, "the sample has bad rows: {}", text(&imported.stderr));
    assert!(shown.contains("unchanged  2160"), "{shown}");
    assert_eq!(Served { child: serving, url: line }.stop(), Some(0));
}

#[test]
fn an_operator_sees_what_was_made_also_while_the_service_runs() {
    let dir = tempfile::tempdir().expect("a directory");
    let made = Made::new(dir.path());
    let served = Served::start(dir.path(), "127.0.0.1:0");
    let data = dir.path();
    let fields = objects(&roster(data, &["field", "list", &made.program, "--json"], &[]));
    assert_eq!(fields[0].to_string(), r#"{"name":"honors","type":"Maybe (Boolean)"}"#);
    assert_eq!(code(&roster(data, &["field", "add", &made.program, "major:String"], &[])), 0);
    assert_eq!(code(&roster(data, &["field", "add", &made.program, "major:Date"], &[])), 2);
    assert_eq!(code(&roster(data, &["field", "remove", &made.program, "gpa"], &[])), 0);
    let shown = object(&roster(data, &["program", "show", &made.program, "--json"], &[]));
    let names = shown["fields"].as_array().expect("a list").iter().map(|field| field["name"].as_str().unwrap_or("?"));
    assert_eq!(names.skip(12).collect::<Vec<_>>(), ["honors", "major"]);
    assert_eq!(code(&roster(data, &["program", "archive", &made.program], &[])), 0);
    assert_eq!(objects(&roster(data, &["program", "list", "--json"], &[]))[0]["active"], false);
    assert_eq!(code(&roster(data, &["token", "revoke", &made.token], &[])), 0);
    assert_eq!(code(&roster(data, &["token", "revoke", &made.token], &[])), 2);
    assert!(objects(&roster(data, &["token", "list", "--json"], &[]))[0]["revoked"].is_string());
    let unknown = roster(data, &["program", "show", "018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10"], &[]);
    assert_eq!(code(&unknown), 2);
    assert_eq!(served.stop(), Some(0));
}

/// What a test must not see again, put in place of what is another one each time.
fn filtered(text: &str) -> String {
    let is_time = |word: &str| word.len() == 24 && word.ends_with('Z') && word.contains('T');
    let word = |word: &str| match word {
        time if is_time(time.trim_end_matches(':')) => time.replace(time.trim_end_matches(':'), "TIME"),
        id if id.trim_end_matches('.').len() == 36 => "ID".to_owned(),
        link if link.contains("ticket=") => format!("{}=TICKET", link.split('=').next().unwrap_or_default()),
        other => other.to_owned(),
    };
    let line = |line: &str| line.split_whitespace().map(word).collect::<Vec<_>>().join(" ");
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn an_operator_makes_users_of_the_console_also_while_the_service_runs() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = &dir.path().join("data");
    Made::new(data);
    let served = Served::start(data, "127.0.0.1:0");
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("a plain path").to_owned()
    };
    let (good, short) = (file("good", "correct horse battery staple\n"), file("short", "elevenchars\n"));
    let account = objects(&roster(data, &["account", "list", "--json"], &[]))[0]["id"].as_str().expect("id").to_owned();
    let told = |args: &[&str]| {
        let output = roster(data, args, &[]);
        format!("exit {}\n{}\n{}", code(&output), filtered(text(&output.stdout)), filtered(text(&output.stderr)))
    };
    let create = |name: &str, more: &[&str]| {
        told(&[&["user", "create", name, "--account", &account, "--role", "editor"], more].concat())
    };
    expect![[r#"
        exit 0

        Made the user 'ada@example.edu', editor of ID
        It has no password; 'roster user link ada@example.edu' makes a link that signs in once."#]]
    .assert_eq(&create("Ada@Example.edu", &[]));
    expect![[r#"
        exit 2

        error: a password has at least 12 characters; this one has 11
        A sentence that nobody else would think of is a good one."#]]
    .assert_eq(&create("zoe", &["--password-file", &short]));
    expect![[r#"
        exit 0

        Made the user 'zoe', editor of ID"#]]
    .assert_eq(&create("zoe", &["--password-file", &good]));
    expect![[r#"
        exit 2

        error: there is a user 'zoe' already"#]]
    .assert_eq(&create("ZOE", &[]));
    expect![[r#"
        exit 0

        'zoe' is admin of ID now."#]]
    .assert_eq(&told(&["user", "role", "zoe", "--account", &account, "--role", "admin"]));
    expect![[r#"
        exit 0
        http://127.0.0.1:8080/console/link?ticket=TICKET
        Signs 'ada@example.edu' in once, until TIME:"#]]
    .assert_eq(&told(&["user", "link", "ada@example.edu"]));
    expect![[r#"
        exit 0

        'ada@example.edu' has a new password; all sessions and links of it have ended."#]]
    .assert_eq(&told(&["user", "password", "ada@example.edu", "--password-file", &good]));
    expect![[r#"
        exit 0

        'zoe' has no password any more; all sessions and links of it have ended."#]]
    .assert_eq(&told(&["user", "password", "zoe", "--none"]));
    expect![[r#"
        exit 0

        Disabled 'zoe'; all sessions and links of it have ended."#]]
    .assert_eq(&told(&["user", "disable", "zoe"]));
    expect![[r#"
        exit 2

        error: 'zoe' is disabled, and no link lets it in
        'roster user enable zoe' lets it in again."#]]
    .assert_eq(&told(&["user", "link", "zoe"]));
    expect![[r#"
        exit 0
        name role account account's name password created last signed in disabled
        ada@example.edu editor ID Example College yes TIME
        zoe admin ID Example College no TIME TIME
    "#]]
    .assert_eq(&told(&["user", "list"]));
    expect![[r#"
        exit 0

        'zoe' may sign in again."#]]
    .assert_eq(&told(&["user", "enable", "zoe"]));
    expect![[r#"
        exit 0

        'zoe' may do nothing in ID any more."#]]
    .assert_eq(&told(&["user", "role", "zoe", "--account", &account, "--role", "none"]));
    expect![[r#"
        exit 0
        name role account account's name password created last signed in disabled
        ada@example.edu editor ID Example College yes TIME
        zoe none no TIME
    "#]]
    .assert_eq(&told(&["user", "list"]));
    let users = objects(&roster(data, &["user", "list", "--account", &account, "--json"], &[]));
    assert_eq!(users.len(), 1);
    assert_eq!(members(&users[0]), ["created", "disabled", "hasPassword", "lastSignedIn", "memberships", "name"]);
    assert_eq!(members(&users[0]["memberships"][0]), ["accountId", "accountName", "role"]);
    let url = ["--url", "https://texting.example.edu", "--minutes", "60", "--json"];
    let link = object(&roster(data, &[&["user", "link", "ADA@example.edu"][..], &url].concat(), &[]));
    assert_eq!(members(&link), ["link", "name", "until"]);
    assert!(link["link"].as_str().expect("a link").starts_with("https://texting.example.edu/console/link?ticket="));
    // What a script has in the environment is never shown again, and is no flag that is forgotten.
    let by_variables = [("ROSTER_ACCOUNT", &*account), ("ROSTER_ROLE", "viewer"), ("ROSTER_PASSWORD_FILE", &good)];
    let made = object(&roster(data, &["user", "create", "eve", "--json"], &by_variables));
    assert_eq!((&made["hasPassword"], &made["memberships"][0]["role"]), (&true.into(), &"viewer".into()));
    assert_eq!(served.stop(), Some(0));
}

#[test]
fn a_client_imports_looks_and_is_told_what_is_wrong() {
    let dir = tempfile::tempdir().expect("a directory");
    let made = Made::new(dir.path());
    let served = Served::start(dir.path(), "127.0.0.1:0");
    let variables = made.variables(&served.url);
    let file = dir.path().join("contacts.csv");
    let file = file.to_str().expect("a plain path");
    let import = |csv: &str, args: &[&str]| {
        std::fs::write(file, csv).expect("written");
        roster(dir.path(), &[&["import", file], args].concat(), &variables)
    };

    let good = import("customer_id,phone,gpa\nA,(303) 555-0101,3.5\n", &[]);
    assert_eq!(code(&good), 0, "{}", text(&good.stderr));
    let bad = import("customer_id,phone,gpa\nA,303 555 0101,A+\nB,303-555-0102,4\n", &[]);
    assert_eq!(code(&bad), 1);
    assert!(
        text(&bad.stdout).contains("2  gpa    invalid_value  Could not parse 'A+' as Float"),
        "{}",
        text(&bad.stdout)
    );
    let location = import("customer_id,phone,gpa\nC,3035550103,1\n", &["--no-wait"]);
    let location = text(&location.stdout).trim_end();
    let seen = object(&roster(dir.path(), &["status", location, "--wait", "--json"], &variables));
    assert_eq!(seen["message"]["rows"]["added"], 1);

    let mut forged = variables;
    forged[1].1 = "another";
    let refused = roster(dir.path(), &["import", file], &forged);
    assert_eq!(code(&refused), 2);
    assert!(text(&refused.stderr).contains("so the secret differs"), "{}", text(&refused.stderr));
    let foreign = roster(dir.path(), &["status", "018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10"], &variables);
    assert_eq!(code(&foreign), 2, "{}", text(&foreign.stderr));
    assert_eq!(served.stop(), Some(0));
}

/// Beyond a megabyte the client asks before it sends.
#[test]
fn a_large_file_that_is_refused_is_refused_in_words() {
    let dir = tempfile::tempdir().expect("a directory");
    let made = Made::new(dir.path());
    let file = dir.path().join("large.csv");
    std::fs::write(&file, "phone,notes\n".to_owned() + &"3035550101,notes and notes\n".repeat(100_000))
        .expect("written");
    let mut child = command(dir.path(), &["serve", "--listen", "127.0.0.1:0", "--body-bytes-max", "100000"], &[])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    let url = line.trim_end().strip_prefix("listening on ").expect("its address").to_owned();
    let refused = roster(dir.path(), &["import", file.to_str().expect("a plain path")], &made.variables(&url));
    assert_eq!(code(&refused), 2);
    assert!(text(&refused.stderr).contains("(413 too_large)"), "{}", text(&refused.stderr));
    assert_eq!(Served { child, url }.stop(), Some(0));
}

/// What systemd is told of a service of `Type=notify`, in this order and at the right moments.
#[test]
fn a_service_manager_is_told_that_it_is_ready_that_it_lives_and_that_it_stops() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&socket).expect("a socket");
    manager.set_read_timeout(Some(std::time::Duration::from_secs(60))).expect("set");
    let told = || {
        let mut words = [0; 200];
        let length = manager.recv(&mut words).expect("a word");
        text(&words[..length]).to_owned()
    };
    let mut child = command(
        &dir.path().join("data"),
        &["serve", "--listen", "127.0.0.1:0", "--drain-seconds", "7"],
        &[("NOTIFY_SOCKET", socket.to_str().expect("a path")), ("WATCHDOG_USEC", "200000")],
    )
    .stdout(Stdio::piped())
    .stderr(Stdio::null())
    .spawn()
    .expect("it starts");
    let first = told();
    let url = first.strip_prefix("READY=1\nSTATUS=listening on ").expect("ready").to_owned();
    // It is ready: whoever comes now is answered.
    std::net::TcpStream::connect(url.strip_prefix("http://").expect("an address")).expect("answered");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    assert_eq!(line.trim_end(), format!("listening on {url}"));
    assert_eq!([told(), told()], ["WATCHDOG=1", "WATCHDOG=1"]);

    assert_eq!(Served { child, url }.stop(), Some(0));
    let mut last = told();
    while last == "WATCHDOG=1" {
        last = told();
    }
    assert_eq!(last, "STOPPING=1\nSTATUS=stopping: what runs may finish\nEXTEND_TIMEOUT_USEC=37000000");
    manager.set_nonblocking(true).expect("set");
    manager.recv(&mut [0; 9]).expect_err("that was the last word");
}

/// A page of 2 MiB for each little that is used doubled the memory of a service.
#[cfg(target_os = "linux")]
#[test]
fn the_service_has_no_huge_pages() {
    let dir = tempfile::tempdir().expect("a directory");
    let served = Served::start(dir.path(), "127.0.0.1:0");
    let file = |name: &str| {
        let path = format!("/proc/{}/{name}", served.child.id());
        std::fs::read_to_string(&path).expect("it runs")
    };
    let (status, sizes) = (file("status"), file("smaps_rollup"));
    let line = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("Linux 5.0 or newer tells it");
        line.trim().to_owned()
    };
    assert_eq!(line(&status, "THP_enabled:"), "0", "it refuses them, wherever the system gives them unasked");
    assert_eq!(line(&sizes, "AnonHugePages:"), "0 kB", "nor has it asked for any before");
    assert_eq!(served.stop(), Some(0));
}

/// Secrets and contacts are in its memory: no image of it is left, whatever the system would allow.
#[cfg(target_os = "linux")]
#[test]
fn the_service_leaves_no_image_of_its_memory() {
    let dir = tempfile::tempdir().expect("a directory");
    let served = Served::start(dir.path(), "127.0.0.1:0");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", served.child.id())).expect("it runs");
    let line = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
    let words: Vec<&str> = line.split_whitespace().skip(4).take(2).collect();
    assert_eq!(words, ["0", "0"], "neither now nor after somebody asks for more");
    assert_eq!(served.stop(), Some(0));
}
