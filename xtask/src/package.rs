//! `cargo xtask package`: the Debian package, from `packaging/`.
//!
//! A tree is staged and given to `dpkg-deb`. A tool that makes packages (cargo-deb, debhelper) would be one more to install, for what is
//! a list of files and a handful of fields; and that list is here to read.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::roster::{self, text_of};
use crate::{complain, root, say};
use crate::{notices, package_check};

/// Where a file of the repository is installed, and with which rights.
const FILES: [(&str, &str, u32); 18] = [
    ("packaging/roster-admin", "usr/sbin/roster-admin", 0o755),
    ("packaging/roster.service", "usr/lib/systemd/system/roster.service", 0o644),
    ("packaging/roster-watch@.service", "usr/lib/systemd/system/roster-watch@.service", 0o644),
    ("packaging/sysusers.conf", "usr/lib/sysusers.d/roster.conf", 0o644),
    ("packaging/roster.toml", "etc/roster/roster.toml", 0o640),
    ("packaging/debian/copyright", "usr/share/doc/roster/copyright", 0o644),
    ("packaging/debian/lintian-overrides", "usr/share/lintian/overrides/roster", 0o644),
    ("README.md", "usr/share/doc/roster/README.md", 0o644),
    ("docs/API.md", "usr/share/doc/roster/API.md", 0o644),
    ("docs/MIGRATING.md", "usr/share/doc/roster/MIGRATING.md", 0o644),
    ("docs/OPERATIONS.md", "usr/share/doc/roster/OPERATIONS.md", 0o644),
    ("docs/SCALING.md", "usr/share/doc/roster/SCALING.md", 0o644),
    ("docs/SECURITY.md", "usr/share/doc/roster/SECURITY.md", 0o644),
    ("docs/ha/patroni.yml", "usr/share/doc/roster/ha/patroni.yml", 0o644),
    ("docs/ha/haproxy.cfg", "usr/share/doc/roster/ha/haproxy.cfg", 0o644),
    ("docs/observability/roster.dashboard.json", "usr/share/doc/roster/observability/roster.dashboard.json", 0o644),
    ("docs/observability/roster.rules.test.yml", "usr/share/doc/roster/observability/roster.rules.test.yml", 0o644),
    ("docs/observability/roster.rules.yml", "usr/share/doc/roster/observability/roster.rules.yml", 0o644),
];

/// The same, compressed.
const COMPRESSED: [(&str, &str); 4] = [
    ("CHANGELOG.md", "usr/share/doc/roster/changelog"),
    ("packaging/debian/changelog", "usr/share/doc/roster/changelog.Debian"),
    ("packaging/roster.1", "usr/share/man/man1/roster.1"),
    ("packaging/roster-admin.8", "usr/share/man/man8/roster-admin.8"),
];

/// The licences of what is built in, compressed, too.
const NOTICES: &str = "usr/share/doc/roster/third-party-notices";

/// What dpkg runs.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// Files that an operator changes and an upgrade keeps.
const CONFFILES: &str = "/etc/roster/roster.toml\n";

/// How the binary is built and the package compressed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Build {
    /// For a release.
    Release,
    /// For a look: the debug binary without its line tables, nothing compressed.
    Debug,
}

pub(crate) fn run(arguments: &[&str]) -> ExitCode {
    let made = match arguments {
        [] => make(Build::Release, &target().join("package"), "").map(|file| say(file.display())),
        ["--debug"] => make(Build::Debug, &target().join("package"), "").map(|file| say(file.display())),
        ["--check"] => package_check::run(),
        _ => {
            complain("usage: cargo xtask package [--debug | --check]");
            return ExitCode::from(2);
        }
    };
    match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            complain(format_args!("xtask package: {what}"));
            ExitCode::FAILURE
        }
    }
}

/// Builds the binary and the package of it, below the folder; `suffix` makes it a later version.
pub(crate) fn make(build: Build, folder: &Path, suffix: &str) -> Result<PathBuf, String> {
    let stage = Stage { root: folder.join("stage") };
    let version = version()? + suffix;
    let architecture = text_of(Command::new("dpkg").arg("--print-architecture"))?.trim().to_owned();
    let binary = roster::build(build == Build::Release)?;
    stage.fill(build, &binary).map_err(|fault| format!("{}: {fault}", stage.root.display()))?;
    stage.write_control(&version, &architecture)?;
    let file = folder.join(format!("roster_{version}_{architecture}.deb"));
    let compression = if build == Build::Release { "-Zxz" } else { "-Znone" };
    let mut pack = Command::new("dpkg-deb");
    pack.args(["--root-owner-group", compression, "--build"]).arg(&stage.root).arg(&file);
    text_of(&mut pack)?;
    file.canonicalize().map_err(|fault| format!("{}: {fault}", file.display()))
}

/// The version of the newest entry of Debian's changelog; it must be that of the code.
fn version() -> Result<String, String> {
    let read = |name: &str| fs::read_to_string(root().join(name)).map_err(|fault| format!("{name}: {fault}"));
    let changelog = read("packaging/debian/changelog")?;
    let version = changelog.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(version, _)| version);
    let version = version.ok_or("packaging/debian/changelog has no version")?;
    let manifest = read("Cargo.toml")?;
    let upstream = version.rsplit_once('-').map_or(version, |(upstream, _)| upstream);
    if manifest.contains(&format!("\nversion = \"{upstream}\"\n")) {
        Ok(version.to_owned())
    } else {
        Err(format!("packaging/debian/changelog has version {version}, and Cargo.toml another"))
    }
}

pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The tree that is packed.
struct Stage {
    root: PathBuf,
}

impl Stage {
    fn fill(&self, build: Build, binary: &Path) -> io::Result<()> {
        if self.root.exists() {
            fs::remove_dir_all(&self.root)?;
        }
        self.install(binary, "usr/bin/roster", 0o755)?;
        if build == Build::Debug {
            // Line tables are most of it, and of no use here.
            tool(Command::new("strip").arg("--strip-debug").arg(self.root.join("usr/bin/roster")))?;
        }
        let notices = notices::text().map_err(io::Error::other)?;
        for (from, to, mode) in FILES {
            self.install(&root().join(from), to, mode)?;
        }
        for (from, to) in COMPRESSED {
            self.install(&root().join(from), to, 0o644)?;
            tool(Command::new("gzip").args(["-9", "--no-name"]).arg(self.root.join(to)))?;
        }
        // Into the folder of the others.
        self.write(NOTICES, &notices)?;
        tool(Command::new("gzip").args(["-9", "--no-name"]).arg(self.root.join(NOTICES)))?;
        for script in SCRIPTS {
            self.install(&root().join("packaging/debian").join(script), &format!("DEBIAN/{script}"), 0o755)?;
        }
        self.write("DEBIAN/conffiles", CONFFILES)
    }

    fn install(&self, from: &Path, to: &str, mode: u32) -> io::Result<()> {
        let place = self.root.join(to);
        let mut folder = PathBuf::from(&self.root);
        fs::create_dir_all(&folder)?;
        for part in Path::new(to).parent().into_iter().flat_map(Path::components) {
            folder.push(part);
            if !folder.exists() {
                fs::create_dir(&folder)?;
            }
            // Whatever the caller's umask is.
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
        }
        fs::copy(from, &place).map_err(|fault| io::Error::other(format!("{}: {fault}", from.display())))?;
        fs::set_permissions(&place, fs::Permissions::from_mode(mode))
    }

    fn write(&self, to: &str, text: &str) -> io::Result<()> {
        let place = self.root.join(to);
        fs::write(&place, text)?;
        fs::set_permissions(&place, fs::Permissions::from_mode(0o644))
    }

    fn write_control(&self, version: &str, architecture: &str) -> Result<(), String> {
        let failed = |fault: io::Error| format!("{}: {fault}", self.root.display());
        let sums = r#"cd "$1" && find etc usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum"#;
        let sums = text_of(Command::new("sh").args(["-c", sums, "md5sums"]).arg(&self.root))?;
        // Conffiles have sums of their own.
        let sums: String =
            sums.lines().filter(|line| !line.contains("  etc/")).map(|line| format!("{line}\n")).collect();
        self.write("DEBIAN/md5sums", &sums).map_err(failed)?;
        let size = text_of(Command::new("du").args(["-sk", "--exclude=DEBIAN"]).arg(&self.root))?;
        let size = size.split_whitespace().next().ok_or("du tells no size")?;
        let binary = fs::read(self.root.join("usr/bin/roster")).map_err(failed)?;
        let control = fs::read_to_string(root().join("packaging/debian/control.in")).map_err(failed)?;
        let control = control
            .replace("@VERSION@", version)
            .replace("@ARCHITECTURE@", architecture)
            .replace("@INSTALLED_KIB@", size)
            .replace("@DEPENDS@", &depends(&binary)?);
        self.write("DEBIAN/control", &control).map_err(failed)
    }
}

/// What the binary needs of Debian: the C library at least as new as the newest of its symbols. (The C compiler's own library, which
/// unwinds the stack, has had its symbols for ever.)
fn depends(binary: &[u8]) -> Result<String, String> {
    let newest = versions(binary, b"GLIBC_2.").max().ok_or("the binary does not name the C library's symbols")?;
    Ok(format!("libc6 (>= 2.{newest}), libgcc-s1, passwd, init-system-helpers (>= 1.52)"))
}

/// The numbers that follow these bytes, wherever they stand.
fn versions<'a>(bytes: &'a [u8], before: &'a [u8]) -> impl Iterator<Item = u32> + 'a {
    let starts = bytes.windows(before.len()).enumerate().filter(move |(_, at)| *at == before);
    starts.filter_map(move |(at, _)| {
        let rest = &bytes[at + before.len()..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        str::from_utf8(&rest[..digits]).ok()?.parse().ok()
    })
}

fn tool(command: &mut Command) -> io::Result<()> {
    text_of(command).map(drop).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_symbol_says_which_c_library_is_needed() {
        let binary = b"\0GLIBC_2.9\0GLIBC_2.34\0x\0GLIBC_2.2.5\0GLIBC_PRIVATE\0";
        assert_eq!(versions(binary, b"GLIBC_2.").collect::<Vec<_>>(), [9, 34, 2]);
        assert!(depends(binary).expect("named").starts_with("libc6 (>= 2.34), "));
        depends(b"static").expect_err("nothing is named");
    }

    #[test]
    fn the_version_is_that_of_the_code() {
        assert!(version().expect("the same").starts_with("0."));
    }
}
