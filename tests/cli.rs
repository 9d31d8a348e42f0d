//! The words of the binary: exit code, standard output and standard error together. Nothing here needs a service.

use std::fmt::Write as _;
use std::process::{Command, Stdio};

use expect_test::{Expect, expect};

/// The binary in a directory of its own, with nothing of the caller's environment.
fn roster(args: &[&str], variables: &[(&str, &str)]) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("latin1.csv"), b"phone,first_name\n2395550101,Ren\xe9e\n").expect("written");
    std::fs::write(dir.path().join("contacts.csv"), "phone,first_name\n2395550101,Zoë\n").expect("written");
    std::fs::write(dir.path().join("body.json"), "{\"program\": \"É\"}").expect("written");
    let digest = "sha-256=:9tv5PkzvFcluwRH3vIbG8AH0j9clfhgGZ6WIlhKi5D4=:";
    std::fs::write(dir.path().join("digest"), digest).expect("written");
    std::fs::write(dir.path().join("wrong.toml"), "# mine\nworkers = \"many\"\n").expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_roster"))
        .args(args)
        .env_clear()
        .envs(variables.iter().copied())
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    let mut shown = format!("exit {}\n", output.status.code().expect("an exit code"));
    for (name, bytes) in [("stdout", output.stdout), ("stderr", output.stderr)] {
        let text = String::from_utf8(bytes).expect("UTF-8");
        // Trailing blanks are of no meaning, and editors eat them.
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        let _ = writeln!(shown, "--- {name}\n{}", lines.join("\n"));
    }
    shown
}

const CREDENTIALS: [(&str, &str); 2] = [("ROSTER_TOKEN", "INVENTED_TOKEN"), ("ROSTER_SECRET", "INVENTED_SECRET")];
const PROGRAM: &str = "018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10";

/// A port on which nobody listens: one that was free a moment ago.
fn nowhere() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("http://{}", listener.local_addr().expect("its address"))
}

fn check(args: &[&str], variables: &[(&str, &str)], expected: Expect) {
    expected.assert_eq(&roster(args, variables));
}

#[test]
fn help() {
    check(
        &["--help"],
        &[],
        expect![[r#"
            exit 0
            --- stdout
            Takes contact imports over a signed HTTP API and applies them exactly once

            Usage: roster [OPTIONS] <COMMAND>

            Commands:
              quickstart  Make an account, a program, a token and a user, serve, and import a sample file
              serve       Run the service
              account     Accounts: whose programs and tokens there are
              program     Programs: each has its own contacts and fields
              field       A program's own fields
              token       Tokens: what requests are signed with
              user        Users of the console: who signs in with a browser, and what they may do
              backup      Copy the data directory, also while the service runs
              restore     Put such a copy into a new data directory
              import      Send a CSV file to a service, wait, and print what happened to every row
              watch       Import every CSV file that is put into a directory
              status      Show where an import stands
              cancel      End an import before it takes effect
              export      Get all contacts of a program as a CSV file
              migrate     Move everything from a data directory into a database, or back
              sign        Sign a request: prints its two headers

            Options:
              -h, --help     Print help
              -V, --version  Print version

            Everywhere:
                  --json                 Print JSON: one object, or one a line for lists [env: ROSTER_JSON]
              -q, --quiet                Print only data and failures [env: ROSTER_QUIET]
                  --config <FILE>        The configuration file (TOML); 'roster serve --print-config' shows what
                                         can be in it [env: ROSTER_CONFIG]
                  --log-level <LEVEL>    What is logged: off, error, warn, info, debug, trace, or like
                                         'warn,roster=debug' [env: ROSTER_LOG_LEVEL]
                  --log-format <FORMAT>  How log lines look: text or json [env: ROSTER_LOG_FORMAT]

            Try it:
              roster quickstart

            Exit codes: 0 done; 1 the import ran, but rows or the whole file were refused; 2 yours (arguments,
            signature, a refused request); 3 ours (unreachable, internal).
            --- stderr

        "#]],
    );
    check(
        &["import", "-h"],
        &[],
        expect![[r#"
            exit 0
            --- stdout
            Send a CSV file to a service, wait, and print what happened to every row

            Usage: roster import [OPTIONS] --program <ID> <FILE>

            Arguments:
              <FILE>  The CSV file; '-' is standard input

            Options:
                  --program <ID>                  The program whose contacts they are [env: ROSTER_PROGRAM]
                  --new <NEW>                     What to do with contacts that the program does not have [env:
                                                  ROSTER_NEW] [default: add] [possible values: add, ignore]
                  --existing <all|ignore|FIELDS>  Which fields of contacts that the program has are set: 'all'
                                                  columns of the file, some ('first_name,active'), or 'ignore'
                                                  to leave their rows out [env: ROSTER_EXISTING] [default: all]
                  --mode <MODE>                   When good rows take effect: 'row', also beside bad ones; 'tx',
                                                  only if there is no error at all [env: ROSTER_MODE] [default:
                                                  row] [possible values: row, tx]
                  --max-new <N>                   Apply nothing if more than N contacts would be added [env:
                                                  ROSTER_MAX_NEW]
                  --max-updated <N>               Apply nothing if more than N contacts would be changed [env:
                                                  ROSTER_MAX_UPDATED]
                  --max-errors <N>                Apply nothing if more than N rows fail [env:
                                                  ROSTER_MAX_ERRORS]
                  --dry-run                       Only tell what would be done: the counts, the errors, and some
                                                  of the changes [env: ROSTER_DRY_RUN]
                  --charset <NAME>                How the file's characters are written: utf-8, utf-16, utf-16be
                                                  or windows-1252; a byte order mark goes over it [default:
                                                  utf-8] [env: ROSTER_CHARSET]
                  --map <FILE>                    A TOML file that says which field each column is: "Student ID"
                                                  = "customer_id"; '_…' leaves a column out [env: ROSTER_MAP]
                  --stream                        Send the file as it is, and not in JSON, also if it is small
                                                  [env: ROSTER_STREAM]
                  --errors <FILE>                 Write the rows that failed to this file, with what was wrong;
                                                  corrected, it can be imported as it is [env: ROSTER_ERRORS]
                  --no-wait                       Do not wait for the result: print the command's location [env:
                                                  ROSTER_NO_WAIT]
                  --url <URL>                     The service [env: ROSTER_URL] [default: http://127.0.0.1:8080]
                  --ca <FILE>                     For https: a file with the certificates of the authorities to
                                                  trust, in PEM [default: the public ones] [env: ROSTER_CA]
                  --token <TOKEN>                 The token to sign with [env: ROSTER_TOKEN]
                  --secret <SECRET>               Its secret; better in the variable than as a flag, which
                                                  others can see [env: ROSTER_SECRET]
              -h, --help                          Print help (see more with '--help')

            Everywhere:
                  --json                 Print JSON: one object, or one a line for lists [env: ROSTER_JSON]
              -q, --quiet                Print only data and failures [env: ROSTER_QUIET]
                  --config <FILE>        The configuration file (TOML); 'roster serve --print-config' shows what
                                         can be in it [env: ROSTER_CONFIG]
                  --log-level <LEVEL>    What is logged: off, error, warn, info, debug, trace, or like
                                         'warn,roster=debug' [env: ROSTER_LOG_LEVEL]
                  --log-format <FORMAT>  How log lines look: text or json [env: ROSTER_LOG_FORMAT]

            Examples:
              export ROSTER_TOKEN=… ROSTER_SECRET=…
              roster import contacts.csv --program 018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10
              roster import - --program 018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10 \
                --new ignore --existing first_name,active < changes.csv
              roster import excel.csv --program 018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10 --charset windows-1252
              roster import theirs.csv --program 018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10 --map map.toml

            A file above 10 MB, or one that is not UTF-8 with commas, is sent as it is, compressed unless the
            service is on this machine; a smaller one in JSON.

            Exit codes: 0 all rows are done; 1 the import ran, but rows or the whole file were refused; 2 yours
            (arguments, signature, a refused request); 3 ours (unreachable, internal). Sending again is safe:
            one signed request is one import.
            --- stderr

        "#]],
    );
    check(
        &["token", "create", "-h"],
        &[],
        expect![[r#"
        exit 0
        --- stdout
        Make a token of an account; its secret is shown this once

        Usage: roster token create [OPTIONS] --account <ID> --name <NAME>

        Options:
              --account <ID>    The one account that it sees [env: ROSTER_ACCOUNT]
              --name <NAME>     What people call it; its imports are 'from' this name [env:
                                ROSTER_TOKEN_NAME]
              --read-only       It may look, and change nothing [env: ROSTER_TOKEN_READ_ONLY]
              --program <ID>    It reaches this program, and no other; may be repeated (else: all of the
                                account) [env: ROSTER_TOKEN_PROGRAMS]
              --data <DIR>      The directory that holds everything; with a database, the master key at most
                                [default: ./roster-data] [env: ROSTER_DATA]
              --database <URL>  A PostgreSQL database in place of the directory; better in the variable, as
                                it may hold a password [env: ROSTER_DATABASE]
          -h, --help            Print help (see more with '--help')

        Everywhere:
              --json                 Print JSON: one object, or one a line for lists [env: ROSTER_JSON]
          -q, --quiet                Print only data and failures [env: ROSTER_QUIET]
              --config <FILE>        The configuration file (TOML); 'roster serve --print-config' shows what
                                     can be in it [env: ROSTER_CONFIG]
              --log-level <LEVEL>    What is logged: off, error, warn, info, debug, trace, or like
                                     'warn,roster=debug' [env: ROSTER_LOG_LEVEL]
              --log-format <FORMAT>  How log lines look: text or json [env: ROSTER_LOG_FORMAT]

        Example:
          roster token create --account 018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10 --name 'nightly import'
          roster token create --account 018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10 --name dashboard --read-only \
            --program 018f3b52-9a11-7d2c-8a35-6d3f2b1c0e44
        --- stderr

    "#]],
    );
    check(
        &["token", "--help"],
        &[],
        expect![[r#"
            exit 0
            --- stdout
            Tokens: what requests are signed with

            Usage: roster token [OPTIONS] <COMMAND>

            Commands:
              create  Make a token of an account; its secret is shown this once
              list    List tokens, revoked ones too; secrets are not shown
              rotate  Give a token a new secret, shown this once; the old one holds for a while
              revoke  Revoke a token, at once and for good

            Options:
              -h, --help  Print help

            Everywhere:
                  --json                 Print JSON: one object, or one a line for lists [env: ROSTER_JSON]
              -q, --quiet                Print only data and failures [env: ROSTER_QUIET]
                  --config <FILE>        The configuration file (TOML); 'roster serve --print-config' shows what
                                         can be in it [env: ROSTER_CONFIG]
                  --log-level <LEVEL>    What is logged: off, error, warn, info, debug, trace, or like
                                         'warn,roster=debug' [env: ROSTER_LOG_LEVEL]
                  --log-format <FORMAT>  How log lines look: text or json [env: ROSTER_LOG_FORMAT]
            --- stderr

        "#]],
    );
}

#[test]
fn help_for_users_of_the_console() {
    check(
        &["user", "--help"],
        &[],
        expect![[r#"
        exit 0
        --- stdout
        Users of the console: who signs in with a browser, and what they may do

        Usage: roster user [OPTIONS] <COMMAND>

        Commands:
          create    Make a user with a role in an account; without a password it signs in by a link
          list      List users with what they may do, disabled ones too
          role      Set what a user may do in an account; 'none' takes it away, and ends the user's sessions
                    there
          password  Set a user's password, or take it away; all sessions and links of the user end
          disable   Let a user in no more, at once; all sessions and links of the user end
          enable    Let a disabled user in again
          link      Make a link that signs a user in once: for the first time, or when the password is
                    forgotten

        Options:
          -h, --help  Print help

        Everywhere:
              --json                 Print JSON: one object, or one a line for lists [env: ROSTER_JSON]
          -q, --quiet                Print only data and failures [env: ROSTER_QUIET]
              --config <FILE>        The configuration file (TOML); 'roster serve --print-config' shows what
                                     can be in it [env: ROSTER_CONFIG]
              --log-level <LEVEL>    What is logged: off, error, warn, info, debug, trace, or like
                                     'warn,roster=debug' [env: ROSTER_LOG_LEVEL]
              --log-format <FORMAT>  How log lines look: text or json [env: ROSTER_LOG_FORMAT]
        --- stderr

    "#]],
    );
    check(
        &["user", "create", "-h"],
        &[],
        expect![[r#"
        exit 0
        --- stdout
        Make a user with a role in an account; without a password it signs in by a link

        Usage: roster user create [OPTIONS] --account <ID> --role <viewer|editor|admin> <NAME>

        Arguments:
          <NAME>  What the user signs in with: an e-mail address, or any short name

        Options:
              --account <ID>                Where it may do something [env: ROSTER_ACCOUNT]
              --role <viewer|editor|admin>  What it may do there: viewer, look; editor, also import; admin,
                                            also change programs and tokens [env: ROSTER_ROLE]
              --password-file <FILE>        A file that holds the password; a line end at its end is not
                                            part of it [env: ROSTER_PASSWORD_FILE]
              --password-stdin              The password comes in from standard input [env:
                                            ROSTER_PASSWORD_STDIN]
              --data <DIR>                  The directory that holds everything; with a database, the master
                                            key at most [default: ./roster-data] [env: ROSTER_DATA]
              --database <URL>              A PostgreSQL database in place of the directory; better in the
                                            variable, as it may hold a password [env: ROSTER_DATABASE]
          -h, --help                        Print help (see more with '--help')

        Everywhere:
              --json                 Print JSON: one object, or one a line for lists [env: ROSTER_JSON]
          -q, --quiet                Print only data and failures [env: ROSTER_QUIET]
              --config <FILE>        The configuration file (TOML); 'roster serve --print-config' shows what
                                     can be in it [env: ROSTER_CONFIG]
              --log-level <LEVEL>    What is logged: off, error, warn, info, debug, trace, or like
                                     'warn,roster=debug' [env: ROSTER_LOG_LEVEL]
              --log-format <FORMAT>  How log lines look: text or json [env: ROSTER_LOG_FORMAT]

        Examples:
          roster user create ada@example.edu --account 018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10 --role admin
          roster user create ada@example.edu --account 018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10 --role editor \
            --password-stdin < password.txt
        --- stderr

    "#]],
    );
    check(
        &["user", "link", "-h"],
        &[],
        expect![[r#"
        exit 0
        --- stdout
        Make a link that signs a user in once: for the first time, or when the password is forgotten

        Usage: roster user link [OPTIONS] <NAME>

        Arguments:
          <NAME>  Whom

        Options:
              --minutes <N>        How long it lets in [env: ROSTER_LINK_MINUTES] [default: 15]
              --console-url <URL>  Where browsers reach the service [default: the settings' console_url, or
                                   else where it listens] [env: ROSTER_CONSOLE_URL] [alias: --url]
              --data <DIR>         The directory that holds everything; with a database, the master key at
                                   most [default: ./roster-data] [env: ROSTER_DATA]
              --database <URL>     A PostgreSQL database in place of the directory; better in the variable,
                                   as it may hold a password [env: ROSTER_DATABASE]
          -h, --help               Print help (see more with '--help')

        Everywhere:
              --json                 Print JSON: one object, or one a line for lists [env: ROSTER_JSON]
          -q, --quiet                Print only data and failures [env: ROSTER_QUIET]
              --config <FILE>        The configuration file (TOML); 'roster serve --print-config' shows what
                                     can be in it [env: ROSTER_CONFIG]
              --log-level <LEVEL>    What is logged: off, error, warn, info, debug, trace, or like
                                     'warn,roster=debug' [env: ROSTER_LOG_LEVEL]
              --log-format <FORMAT>  How log lines look: text or json [env: ROSTER_LOG_FORMAT]

        Example:
          roster user link ada@example.edu --url https://texting.example.edu
        --- stderr

    "#]],
    );
}

#[test]
fn what_is_wrong_about_a_user_is_yours() {
    let create = |more: &[&'static str]| [&["user", "create", "ada", "--account", PROGRAM], more].concat();
    check(
        &["user", "create", "ada lovelace", "--account", PROGRAM, "--role", "admin"],
        &[],
        expect![[r#"
        exit 2
        --- stdout

        --- stderr
        error: invalid value 'ada lovelace' for '<NAME>': a user's name has 1 to 254 characters, none of them blank or a control character; got 'ada lovelace'

        For more information, try '--help'.
    "#]],
    );
    check(
        &create(&["--role", "owner"]),
        &[],
        expect![[r#"
        exit 2
        --- stdout

        --- stderr
        error: invalid value 'owner' for '--role <viewer|editor|admin>': a role is viewer, editor or admin

        For more information, try '--help'.
    "#]],
    );
    check(
        &create(&["--role", "admin"]),
        &[],
        expect![[r#"
        exit 2
        --- stdout

        --- stderr
        error: there is no account 018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10
        'roster account list' shows all of them.
    "#]],
    );
    check(
        &create(&["--role", "admin", "--password-file", "nowhere"]),
        &[],
        expect![[r#"
        exit 2
        --- stdout

        --- stderr
        error: cannot read nowhere: No such file or directory (os error 2)
    "#]],
    );
    // Nothing comes in there.
    check(
        &create(&["--role", "admin", "--password-stdin"]),
        &[],
        expect![[r#"
        exit 2
        --- stdout

        --- stderr
        error: a password has at least 12 characters; this one has 0
        A sentence that nobody else would think of is a good one.
    "#]],
    );
    check(
        &create(&["--role", "admin", "--password-stdin", "--password-file", "body.json"]),
        &[],
        expect![[r#"
        exit 2
        --- stdout

        --- stderr
        error: --password-file and --password-stdin do not go together
        Give one of them.
    "#]],
    );
    check(
        &["user", "password", "ada"],
        &[],
        expect![[r#"
        exit 2
        --- stdout

        --- stderr
        error: either a new password is to be given, or --none
        Give --password-file FILE, or --password-stdin, or --none.
    "#]],
    );
    check(
        &["user", "role", "ada", "--account", PROGRAM, "--role", "none"],
        &[],
        expect![[r#"
        exit 2
        --- stdout

        --- stderr
        error: there is no user 'ada'
        'roster user list' shows all of them.
    "#]],
    );
    check(
        &["user", "link", "ada", "--minutes", "0"],
        &[],
        expect![[r#"
        exit 2
        --- stdout

        --- stderr
        error: invalid value '0' for '--minutes <N>': 0 is not in 1..=1440

        For more information, try '--help'.
    "#]],
    );
    check(
        &["user", "link", "ada", "--listen", "127.0.0.1:0"],
        &[],
        expect![[r#"
        exit 2
        --- stdout

        --- stderr
        error: the service listens on any free port, and nobody here knows which
        Give the console's address, like --url http://127.0.0.1:8080.
    "#]],
    );
    check(
        &["user", "link", "ada", "--url", "https://texting.example.edu/console"],
        &[],
        expect![[r#"
        exit 2
        --- stdout

        --- stderr
        error: --console-url (or ROSTER_CONSOLE_URL): console_url = https://texting.example.edu/console is not possible; it must be the scheme, the host and perhaps the port, like https://texting.example.edu or http://127.0.0.1:8080, and nothing behind them
    "#]],
    );
    check(
        &["user", "list"],
        &[],
        expect![[r#"
        exit 0
        --- stdout

        --- stderr
        There is no such user yet; 'roster user create NAME --account ID --role ROLE' makes one.
    "#]],
    );
}

#[test]
fn a_secret_in_the_environment_is_in_no_help() {
    let secrets = [("ROSTER_SECRET", "s3cr3t"), ("ROSTER_MASTER_KEY", "s3cr3t"), ("ROSTER_TOKEN", "s3cr3t")];
    for args in
        [&["import", "--help"][..], &["sign", "--help"], &["serve", "--help"], &["import"], &["serve", "--help"]]
    {
        assert!(!roster(args, &secrets).contains("s3cr3t"), "{args:?}");
    }
}

#[test]
fn usage_errors_are_yours() {
    check(
        &[],
        &[],
        expect![[r#"
            exit 2
            --- stdout

            --- stderr
            Takes contact imports over a signed HTTP API and applies them exactly once

            Usage: roster [OPTIONS] <COMMAND>

            Commands:
              quickstart  Make an account, a program, a token and a user, serve, and import a sample file
              serve       Run the service
              account     Accounts: whose programs and tokens there are
              program     Programs: each has its own contacts and fields
              field       A program's own fields
              token       Tokens: what requests are signed with
              user        Users of the console: who signs in with a browser, and what they may do
              backup      Copy the data directory, also while the service runs
              restore     Put such a copy into a new data directory
              import      Send a CSV file to a service, wait, and print what happened to every row
              watch       Import every CSV file that is put into a directory
              status      Show where an import stands
              cancel      End an import before it takes effect
              export      Get all contacts of a program as a CSV file
              migrate     Move everything from a data directory into a database, or back
              sign        Sign a request: prints its two headers

            Options:
              -h, --help     Print help
              -V, --version  Print version

            Everywhere:
                  --json                 Print JSON: one object, or one a line for lists [env: ROSTER_JSON]
              -q, --quiet                Print only data and failures [env: ROSTER_QUIET]
                  --config <FILE>        The configuration file (TOML); 'roster serve --print-config' shows what
                                         can be in it [env: ROSTER_CONFIG]
                  --log-level <LEVEL>    What is logged: off, error, warn, info, debug, trace, or like
                                         'warn,roster=debug' [env: ROSTER_LOG_LEVEL]
                  --log-format <FORMAT>  How log lines look: text or json [env: ROSTER_LOG_FORMAT]

            Try it:
              roster quickstart

            Exit codes: 0 done; 1 the import ran, but rows or the whole file were refused; 2 yours (arguments,
            signature, a refused request); 3 ours (unreachable, internal).
        "#]],
    );
    check(
        &["acount"],
        &[],
        expect![[r#"
        exit 2
        --- stdout

        --- stderr
        error: unrecognized subcommand 'acount'

          tip: a similar subcommand exists: 'account'

        Usage: roster [OPTIONS] <COMMAND>

        For more information, try '--help'.
    "#]],
    );
    check(
        &["account", "create", " "],
        &[],
        expect![[r#"
        exit 2
        --- stdout

        --- stderr
        error: invalid value ' ' for '<NAME>': a name has at least one visible character and no control characters

        For more information, try '--help'.
    "#]],
    );
    check(
        &["program", "create", "Fall", "--account", PROGRAM, "--field", "honors:Maybe Boolean"],
        &[],
        expect![[r#"
        exit 2
        --- stdout

        --- stderr
        error: invalid value 'honors:Maybe Boolean' for '--field <NAME:TYPE>': 'Maybe Boolean' is no type; the types are String, Boolean, Numeric, Float, Date, DateTime, Phone, UUID, Timezone, List, and each as 'Maybe (…)', which may be blank

        For more information, try '--help'.
    "#]],
    );
    check(
        &["program", "create", "Fall", "--account", PROGRAM, "--field", "a:String", "--field", "a:Date"],
        &[],
        expect![[r#"
            exit 2
            --- stdout

            --- stderr
            error: the field 'a' is given twice; nothing was made
        "#]],
    );
    check(
        &["program", "create", "Fall", "--account", PROGRAM, "--phone", "911"],
        &[],
        expect![[r#"
        exit 2
        --- stdout

        --- stderr
        error: --phone: '911' is no valid number of US
        Give it like +13035550123; nothing was made.
    "#]],
    );
    check(
        &["program", "create", "Fall", "--account", PROGRAM, "--timezone", "Mars/Base"],
        &[],
        expect![[r#"
        exit 2
        --- stdout

        --- stderr
        error: invalid value 'Mars/Base' for '--timezone <TZ>': a time zone is a name of the tz database, like America/Denver

        For more information, try '--help'.
    "#]],
    );
    check(
        &["import", "contacts.csv", "--program", PROGRAM, "--mode", "all"],
        &CREDENTIALS,
        expect![[r#"
        exit 2
        --- stdout

        --- stderr
        error: invalid value 'all' for '--mode <MODE>'
          [possible values: row, tx]

        For more information, try '--help'.
    "#]],
    );
}

#[test]
fn settings_are_refused_with_place_and_remedy() {
    check(
        &["serve", "--config", "wrong.toml"],
        &[],
        expect![[r#"
        exit 2
        --- stdout

        --- stderr
        error: wrong.toml: workers = many is not possible; it must be a whole number from 1 to 1024, or "auto"
    "#]],
    );
    check(
        &["serve", "--config", "missing.toml"],
        &[],
        expect![[r#"
        exit 2
        --- stdout

        --- stderr
        error: cannot read the configuration file missing.toml: No such file or directory (os error 2)
    "#]],
    );
    check(
        &["serve"],
        &[("ROSTER_WORKERS", "0")],
        expect![[r#"
        exit 2
        --- stdout

        --- stderr
        error: --workers (or ROSTER_WORKERS): workers = 0 is not possible; it must be a whole number from 1 to 1024, or "auto"
    "#]],
    );
}

#[test]
fn half_of_a_sign_in_by_openid_connect_is_refused_at_the_start() {
    check(
        &["serve", "--oidc-issuer", "https://login.example.edu"],
        &[],
        expect![[r#"
        exit 2
        --- stdout

        --- stderr
        error: oidc_issuer is given without oidc_client_id: give the id under which the provider knows this service
    "#]],
    );
    check(
        &["serve", "--oidc-issuer", "http://login.example.edu", "--oidc-client-id", "roster"],
        &[("ROSTER_CONSOLE_URL", "https://texting.example.edu")],
        expect![[r#"
            exit 2
            --- stdout

            --- stderr
            error: --oidc-issuer (or ROSTER_OIDC_ISSUER): oidc_issuer = http://login.example.edu is not possible; it must begin with https://; http:// is for a provider on this very machine only (127.0.0.1, localhost)
        "#]],
    );
    check(
        &["serve", "--oidc-issuer", "https://login.example.edu", "--oidc-client-id", "roster"],
        &[("ROSTER_CONSOLE_URL", "https://texting.example.edu"), ("ROSTER_OIDC_CLIENT_SECRET_FILE", "missing")],
        expect![[r#"
            exit 2
            --- stdout

            --- stderr
            error: oidc_client_secret_file: missing: it cannot be read: No such file or directory (os error 2)
        "#]],
    );
}

#[test]
fn the_settings_in_effect_are_printed_without_secrets() {
    let variables = [
        ("ROSTER_WORKERS", "3"),
        ("ROSTER_MASTER_KEY", "s3cr3t"),
        ("ROSTER_OIDC_ISSUER", "https://login.example.edu"),
        ("ROSTER_OIDC_CLIENT_ID", "roster"),
        ("ROSTER_OIDC_CLIENT_SECRET", "s3cr3t"),
        ("ROSTER_CONSOLE_URL", "https://texting.example.edu"),
    ];
    let shown = roster(&["serve", "--print-config", "--listen", "[::1]:9000", "--drain-seconds=5"], &variables);
    assert!(!shown.contains("s3cr3t"));
    let settings: String = shown.lines().filter(|line| line.contains(" = ")).map(|line| format!("{line}\n")).collect();
    expect![[r#"
        data = "./roster-data"
        # database = ""
        # database_direct = ""
        listen = "[::1]:9000"
        # tls_certificate = ""
        # tls_key = ""
        # metrics_listen = ""
        connections_max = 4096
        headers_seconds_max = 30
        workers = 3
        freshness_seconds = 900
        body_bytes_max = 67108864
        body_bytes_in_flight_max = 268435456
        stream_bytes_max = 4294967296
        streams_max = 32
        body_pause_seconds_max = 30
        queue_max = 10000
        account_queue_max = 50000
        token_requests_per_minute_max = 0
        account_requests_per_minute_max = 0
        token_uploads_max = 0
        account_uploads_max = 0
        prefer_wait_seconds_max = 60
        drain_seconds = 5
        lease_seconds = 10
        commands_kept_days = 30
        payloads_kept_days = 7
        console_url = "https://texting.example.edu"
        oidc_issuer = "https://login.example.edu"
        oidc_client_id = "roster"
        # oidc_client_secret = ""
        # oidc_client_secret_file = ""
        oidc_user_claim = "email"
        oidc_label = "Sign in with your organisation's account"
        log_format = "text"
        log_level = "auto"
        # master_key = ""
        # master_key_file = ""
    "#]]
    .assert_eq(&settings);
}

/// The stream form's vector in docs/API.md.
const STREAMED: &str = "/v2/programs/x/participants?new=add&existing=a,b&mode=row";

#[test]
fn sign() {
    let time = "1969-07-20T20:17:00+00:00";
    check(
        &["sign", "GET", "/bogus", "--timestamp", time],
        &CREDENTIALS,
        expect![[r#"
        exit 0
        --- stdout
        Authorization: SignalVine INVENTED_TOKEN:P1f0up2G0I6tJG4D3nRed/IlvvT2tqEQqbqEPXNQXDo=
        SignalVine-Date: 1969-07-20T20:17:00+00:00
        --- stderr

    "#]],
    );
    check(
        &["sign", "GET", "/bogus", "--timestamp", time, "--explain"],
        &CREDENTIALS,
        expect![[r#"
        exit 0
        --- stdout
        Authorization: SignalVine INVENTED_TOKEN:P1f0up2G0I6tJG4D3nRed/IlvvT2tqEQqbqEPXNQXDo=
        SignalVine-Date: 1969-07-20T20:17:00+00:00

        line       bytes  sha256                                                            text
        token         14  db63f27c97dd0b1aade578ff494cf8968b98b7df3c687962c21215bca9df90ea  invented_token
        method         3  2998b3232d29e8dc5a78d97a32ce83f556f3ed31b057077503df05641dd79158  get
        path           6  77ddc0fa049d9023112695d37bc4a662552f66ed08a8fd9e22cf1a528f9b9632  /bogus
        body           0  e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
        timestamp     25  7819e06d3767525f1789fd6882ed3730b4699b135a174641740672dc05ccfdae  1969-07-20t20:17:00+00:00
        --- stderr

    "#]],
    );
    check(
        &["sign", "POST", "/v2/X", "--body", "body.json", "--timestamp", time, "--explain", "--json"],
        &CREDENTIALS,
        expect![[r#"
            exit 0
            --- stdout
            {"authorization":"SignalVine INVENTED_TOKEN:y/CFdp5DY22RQKSXBpd3QrRZfIrMSeAJkJ7YvdOCNfM=","date":"1969-07-20T20:17:00+00:00","lines":[{"name":"token","sha256":"db63f27c97dd0b1aade578ff494cf8968b98b7df3c687962c21215bca9df90ea","bytes":14,"text":"invented_token"},{"name":"method","sha256":"72231043bc1807e6f740b235eb7511ecb33255a6a375435631196de8a9750d4b","bytes":4,"text":"post"},{"name":"path","sha256":"1cdce80e7d5ed47f4a3d426aa1ef0cc62545599085fff10cb6448c431ff013fe","bytes":5,"text":"/v2/x"},{"name":"body","sha256":"f467eef9fa66266df2b905b30c3da33623d908c0f5aff0917ff9c572ab9339c5","bytes":17,"text":"{\"program\": \"é\"}"},{"name":"timestamp","sha256":"7819e06d3767525f1789fd6882ed3730b4699b135a174641740672dc05ccfdae","bytes":25,"text":"1969-07-20t20:17:00+00:00"}]}
            --- stderr

        "#]],
    );
    check(
        &["sign", "GET", "/bogus"],
        &[],
        expect![[r#"
        exit 2
        --- stdout

        --- stderr
        error: there is no token or no secret to sign with
        Set ROSTER_TOKEN and ROSTER_SECRET (or --token and --secret); 'roster token create' makes them.
    "#]],
    );
    check(
        &["sign", "POST", STREAMED, "--body", "digest", "--timestamp", time],
        &CREDENTIALS,
        expect![[r#"
        exit 0
        --- stdout
        Authorization: SignalVine INVENTED_TOKEN:UbvucgxXeJ86R6T1SUT7PBSzjRThvUTC4Zeu4xpVJ40=
        SignalVine-Date: 1969-07-20T20:17:00+00:00
        --- stderr

    "#]],
    );
    // A query beside anything else is signed by nobody.
    check(
        &["sign", "POST", STREAMED, "--body", "body.json"],
        &CREDENTIALS,
        expect![[r#"
        exit 2
        --- stdout

        --- stderr
        error: '/v2/programs/x/participants?new=add&existing=a,b&mode=row' is no path to sign
        What is signed is the path alone, from its first '/', without host and query. (Of a file that is sent as it is, path and query; its body is the value of Content-Digest, without a line feed.)
    "#]],
    );
    check(
        &["sign", "GET", "http://127.0.0.1/bogus"],
        &CREDENTIALS,
        expect![[r#"
            exit 2
            --- stdout

            --- stderr
            error: 'http://127.0.0.1/bogus' is no path to sign
            What is signed is the path alone, from its first '/', without host and query. (Of a file that is sent as it is, path and query; its body is the value of Content-Digest, without a line feed.)
        "#]],
    );
    check(
        &["sign", "POST", "/bogus", "--body", "missing.json"],
        &CREDENTIALS,
        expect![[r#"
        exit 2
        --- stdout

        --- stderr
        error: cannot read missing.json: No such file or directory (os error 2)
    "#]],
    );
}

#[test]
fn a_service_that_is_not_there_is_ours() {
    let url = nowhere();
    let shown = roster(&["import", "contacts.csv", "--program", PROGRAM, "--url", &url], &CREDENTIALS);
    expect![[r#"
        exit 3
        --- stdout

        --- stderr
        error: cannot reach URL: Connection refused (os error 111)
        Is the service running there? 'roster serve' starts one.
    "#]]
    .assert_eq(&shown.replace(&url, "URL"));
    let shown = roster(&["status", PROGRAM, "--json"], &[&CREDENTIALS[..], &[("ROSTER_URL", &url)]].concat());
    expect![[r#"
        exit 3
        --- stdout

        --- stderr
        error: cannot reach URL: Connection refused (os error 111)
        Is the service running there? 'roster serve' starts one.
    "#]]
    .assert_eq(&shown.replace(&url, "URL"));
}

#[test]
fn what_cannot_be_sent_is_yours() {
    check(
        &["import", "latin1.csv", "--program", PROGRAM],
        &CREDENTIALS,
        expect![[r#"
            exit 2
            --- stdout

            --- stderr
            error: the file is not UTF-8: byte 31 (counted from 0) does not belong there
            Name its charset (--charset windows-1252), or save it as UTF-8; nothing was sent.
        "#]],
    );
    check(
        &["import", "missing.csv", "--program", PROGRAM],
        &CREDENTIALS,
        expect![[r#"
        exit 2
        --- stdout

        --- stderr
        error: cannot read missing.csv: No such file or directory (os error 2)
    "#]],
    );
    check(
        &["import", "contacts.csv", "--program", PROGRAM],
        &[],
        expect![[r#"
        exit 2
        --- stdout

        --- stderr
        error: there is no token or no secret to sign with
        Set ROSTER_TOKEN and ROSTER_SECRET (or --token and --secret); 'roster token create' makes them.
    "#]],
    );
    check(
        &["import", "contacts.csv", "--program", PROGRAM, "--url", "localhost:8080"],
        &CREDENTIALS,
        expect![[r#"
        exit 2
        --- stdout

        --- stderr
        error: 'localhost:8080' is no URL of a service
        Give it like http://127.0.0.1:8080 or https://roster.example.org.
    "#]],
    );
    check(
        &["status", "commands/7\u{1b}[2J"],
        &CREDENTIALS,
        expect![[r#"
        exit 2
        --- stdout

        --- stderr
        error: 'commands/7\u{1b}[2J' is no location of a command
        Give what the import printed (/v2/commands/…), its whole URL, or the command's id.
    "#]],
    );
}
