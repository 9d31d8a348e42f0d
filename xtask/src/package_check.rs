//! `cargo xtask package --check`: what is true of the package and its unit. The files and rights in it are looked at everywhere; on a
//! machine that lets root make a box (see `packaging/test/box.sh`), it is also installed, started, upgraded, rebooted and removed there,
//! by a systemd of its own.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitStatus};

use crate::package::{Build, make, target};
use crate::roster::text_of;
use crate::{root, say};

/// Everything in the package but its folders: rights, owner and place.
const CONTENTS: &str = "\
-rw-r----- root/root ./etc/roster/roster.toml
-rw-r--r-- root/root ./usr/lib/systemd/system/roster-watch@.service
-rw-r--r-- root/root ./usr/lib/systemd/system/roster.service
-rw-r--r-- root/root ./usr/lib/sysusers.d/roster.conf
-rw-r--r-- root/root ./usr/share/doc/roster/API.md
-rw-r--r-- root/root ./usr/share/doc/roster/MIGRATING.md
-rw-r--r-- root/root ./usr/share/doc/roster/OPERATIONS.md
-rw-r--r-- root/root ./usr/share/doc/roster/README.md
-rw-r--r-- root/root ./usr/share/doc/roster/SCALING.md
-rw-r--r-- root/root ./usr/share/doc/roster/SECURITY.md
-rw-r--r-- root/root ./usr/share/doc/roster/changelog.Debian.gz
-rw-r--r-- root/root ./usr/share/doc/roster/changelog.gz
-rw-r--r-- root/root ./usr/share/doc/roster/copyright
-rw-r--r-- root/root ./usr/share/doc/roster/ha/haproxy.cfg
-rw-r--r-- root/root ./usr/share/doc/roster/ha/patroni.yml
-rw-r--r-- root/root ./usr/share/doc/roster/observability/roster.dashboard.json
-rw-r--r-- root/root ./usr/share/doc/roster/observability/roster.rules.test.yml
-rw-r--r-- root/root ./usr/share/doc/roster/observability/roster.rules.yml
-rw-r--r-- root/root ./usr/share/doc/roster/third-party-notices.gz
-rw-r--r-- root/root ./usr/share/lintian/overrides/roster
-rw-r--r-- root/root ./usr/share/man/man1/roster.1.gz
-rw-r--r-- root/root ./usr/share/man/man8/roster-admin.8.gz
-rwxr-xr-x root/root ./usr/bin/roster
-rwxr-xr-x root/root ./usr/sbin/roster-admin
";

/// The most that `systemd-analyze security` may find open, in tenths; 0 is closed, 100 is open. Sockets to everywhere are what is left.
const EXPOSURE_MAX: &str = "12";

/// The exit code of a box that cannot be made here.
const NO_BOX: i32 = 77;

pub(crate) fn run() -> Result<(), String> {
    let folder = target().join("package-check");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(|fault| format!("{}: {fault}", folder.display()))?;
    let first = make(Build::Debug, &folder, "")?;
    contents(&first)?;
    unit(&folder, "roster.service", "roster.service")?;
    unit(&folder, "roster-watch@.service", "roster-watch@night.service")?;
    let next = make(Build::Debug, &folder, "+next")?;
    let given = |from: &Path, name: &str| {
        fs::rename(from, folder.join(name)).map_err(|fault| format!("{}: {fault}", from.display()))
    };
    given(&first, "first.deb")?;
    given(&next, "next.deb")?;
    fs::copy(root().join("packaging/test/scene.sh"), folder.join("scene.sh")).map_err(|fault| fault.to_string())?;
    let mut install = Command::new("bash");
    let status = install.arg(root().join("packaging/test/box.sh")).arg(&folder).status();
    let status = status.map_err(|fault| format!("bash could not be started: {fault}"))?;
    let _ = fs::remove_dir_all(folder.join("stage"));
    installed(status)
}

fn installed(status: ExitStatus) -> Result<(), String> {
    match status.code() {
        Some(0) => Ok(()),
        Some(NO_BOX) => {
            say(
                "xtask package: files and unit are as they should be. NOT TESTED HERE: installing, starting, upgrading and removing it",
            );
            Ok(())
        }
        _ => Err("the package does not do what it should in the box".to_owned()),
    }
}

fn contents(package: &Path) -> Result<(), String> {
    let listed = text_of(Command::new("dpkg-deb").arg("--contents").arg(package))?;
    let mut lines: Vec<String> = listed.lines().filter(|line| !line.starts_with('d')).filter_map(short).collect();
    lines.sort();
    same("the package's files", CONTENTS, &format!("{}\n", lines.join("\n")))?;
    let mut folders = listed.lines().filter(|line| line.starts_with('d'));
    if let Some(line) = folders.find(|line| !line.starts_with("drwxr-xr-x root/root ")) {
        return Err(format!("a folder in the package has other rights: {line}"));
    }
    let conffiles = text_of(Command::new("dpkg-deb").args(["--info"]).arg(package).arg("conffiles"))?;
    same("conffiles", "/etc/roster/roster.toml\n", &conffiles)
}

/// Rights, owner and name of a line of `dpkg-deb --contents`.
fn short(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    Some(format!("{} {} {}", words.first()?, words.get(1)?, words.get(5)?))
}

fn same(what: &str, expected: &str, found: &str) -> Result<(), String> {
    if expected == found { Ok(()) } else { Err(format!("{what} are not\n{expected}but\n{found}")) }
}

/// What systemd's own tools say of a unit in the tree that was packed, by this name.
fn unit(folder: &Path, file: &str, name: &str) -> Result<(), String> {
    let tree = folder.join("stage").canonicalize().map_err(|fault| format!("{}: {fault}", folder.display()))?;
    let failed = |fault: std::io::Error| format!("{file}: {fault}");
    let text = fs::read_to_string(tree.join("usr/lib/systemd/system").join(file)).map_err(failed)?;
    let place = folder.join(name);
    // They look for what it runs: that is in the tree as yet.
    let text = text.replace("=/usr/bin/roster", &format!("={}/usr/bin/roster", tree.display()));
    fs::write(&place, text).map_err(failed)?;

    let mut security = Command::new("systemd-analyze");
    let threshold = format!("--threshold={EXPOSURE_MAX}");
    let table = text_of(security.args(["security", "--offline=true", "--no-pager", &threshold]).arg(&place))?;
    say(table.lines().last().unwrap_or_default().trim());
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no", "--recursive-errors=no"]).arg(&place);
    let output = verify.output().map_err(|fault| format!("systemd-analyze could not be started: {fault}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    // It also complains about units of the machine's own.
    let is_clean = !said.lines().any(|line| line.contains("roster"));
    if is_clean && output.status.success() { Ok(()) } else { Err(format!("{file} has faults:\n{said}")) }
}
