//! A real disk that is small: it fills up by what others write, and by an import that is too large for it.
//!
//! It is a `tmpfs`, which takes the right to mount; where that is not given this part is left out, and says so.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::ground::{Form, Ground, Import, Seen, until};
use crate::http::member;
use crate::roster::{Home, Tenant};
use crate::say;
use crate::sign::Signed;
use crate::torture::check::{self, Checked};

/// The size of the disk.
const DISK_MIB: u32 = 32;
/// An import whose upload has room there, and which has none when it is carried out.
const TOO_MANY: u64 = 250_000;
/// One for which there is room beside it, and which is no small one.
const SOME: u64 = 30_000;
const FEW: u64 = 20;
const PATIENCE: Duration = Duration::from_secs(120);

/// What is tried out on the disk, which is at this path.
type Scene = fn(&mut Ground, &Tenant, &Path) -> Result<(), String>;

/// A mounted disk.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path) -> Option<Disk> {
        fs::create_dir_all(at).ok()?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={DISK_MIB}m"), "tmpfs"]).arg(at);
        let is_mounted = mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        is_mounted.then(|| Disk(at.to_owned()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// What is wrong.
pub(super) fn run(binary: &Path, sqlite3: &str) -> Result<Vec<String>, String> {
    let directory = super::fresh("room")?;
    let Some(disk) = Disk::mount(&directory.join("data")) else {
        say("a small disk: LEFT OUT, because nothing may be mounted here (it needs root's right to mount)");
        return Ok(Vec::new());
    };
    say(format_args!("a disk of {DISK_MIB} MiB"));
    let data = disk.0.clone();
    let shim = super::shim::Shim::build(&directory)?;
    let home = Home { binary: binary.to_owned(), directory, database: None, lease_seconds: 1 };
    let tenant = home.new_tenant()?;
    let mut ground = Ground::new(home, shim, vec![("ROSTER_WORKERS", "1".to_owned())]);
    // While it is tried, an import that is too large takes all the room that there is.
    ground.patience = PATIENCE;
    ground.start()?;
    let mut wrong = Vec::new();
    let scenes: [(&str, Scene); 2] = [("filled by others", filled_by_others), ("too small for an import", too_small)];
    for (name, scene) in scenes {
        let begun = Instant::now();
        match scene(&mut ground, &tenant, &data) {
            Ok(()) => say(format_args!("  {name}: {:.1} s", begun.elapsed().as_secs_f64())),
            Err(what) => wrong.push(format!("a disk that is {name}: {what}")),
        }
    }
    let contacts = ground.contacts_are_right(&tenant);
    wrong.extend(contacts.err());
    ground.stop();
    // Where there is no room left, sqlite3 cannot look either.
    wrong.extend(
        check::look_into_directory(&data, sqlite3, &mut Checked::default()).unwrap_or_else(|fault| vec![fault]),
    );
    wrong.extend(ground.wrong_in_logs());
    Ok(wrong)
}

/// Somebody else fills the disk, and makes room again.
fn filled_by_others(ground: &mut Ground, tenant: &Tenant, data: &Path) -> Result<(), String> {
    let first = ground.import(tenant, FEW, Form::Json);
    ground.accepted_and_completes(&first, None)?;
    let filler = data.join("filler");
    let mut file = File::create(&filler).map_err(|fault| fault.to_string())?;
    while file.write_all(&[b'x'; 4_096]).is_ok() {}
    drop(file);
    let mut sent: Vec<(Import, Option<String>)> = Vec::new();
    for (rows, form) in [(FEW, Form::Json), (SOME, Form::Json), (SOME, Form::Stream), (FEW, Form::Stream)] {
        let import = ground.import(tenant, rows, form);
        let seen = Seen::of(&ground.send(&import.signed));
        say(format_args!("  full: {rows} contacts as {form:?}: {}", seen.words()));
        match seen {
            Seen::Accepted(location) => sent.push((import, Some(location))),
            Seen::Later { .. } if rows == FEW || form == Form::Stream || form == Form::Json => {
                sent.push((import, None))
            }
            other => return Err(format!("it is answered with {}", other.words())),
        }
    }
    let read = ground.send(&Signed::bare(tenant, "GET", &format!("/v1/programs/{}/participants", tenant.program)))?;
    if read.status != 200 {
        return Err(format!("reading is answered with {}: {}", read.status, read.body));
    }
    fs::remove_file(&filler).map_err(|fault| fault.to_string())?;
    for (import, location) in &sent {
        let (accepted, completed) = ground.accepted_and_completes(import, location.as_deref())?;
        say(format_args!(
            "  room again: accepted in {} ms, complete in {} ms",
            accepted.as_millis(),
            completed.as_millis()
        ));
    }
    Ok(())
}

/// An import has more contacts than the disk has room for: others have their turn all the same, and it can be cancelled.
fn too_small(ground: &mut Ground, tenant: &Tenant, _: &Path) -> Result<(), String> {
    let (mut beside, mut large) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        large.push(ground.new_program(tenant)?);
        beside.push(ground.new_program(tenant)?);
    }
    let too_large = ground.import(&large[0].clone(), TOO_MANY, Form::Stream);
    let Seen::Accepted(location) = Seen::of(&ground.send(&too_large.signed)) else {
        return Err("the upload of an import that is too large had no room".to_owned());
    };
    until(Duration::from_secs(60), "the import fails", || ground.log().contains("import failed and is tried again"))?;
    let begun = Instant::now();
    for (tenant, rows) in [(&beside[0], FEW), (&beside[1], SOME), (&beside[0], SOME)] {
        let import = ground.import(tenant, rows, Form::Json);
        let (accepted, completed) = ground.accepted_and_completes(&import, None)?;
        say(format_args!(
            "  beside an import that is too large: {rows} contacts accepted in {} ms, complete in {} ms",
            accepted.as_millis(),
            completed.as_millis()
        ));
    }
    // What follows in its own program has to wait for it, and does until it is cancelled.
    let behind = ground.import(&large[0].clone(), FEW, Form::Json);
    let cancelled = loop {
        let answer = ground.send(&Signed::bare(tenant, "DELETE", &location))?;
        if answer.status != 503 {
            break answer;
        }
    };
    if cancelled.status != 200 {
        return Err(format!("cancelling it is answered with {}: {}", cancelled.status, cancelled.body));
    }
    let mut last = String::new();
    until(Duration::from_secs(60), "it is cancelled", || {
        last = ground.status(tenant, &location, 1, 0).unwrap_or_default().unwrap_or_default();
        member(&last, "complete") == Some("true")
    })
    .map_err(|what| format!("{what}: {last}"))?;
    if member(&last, "notApplied") != Some("cancelled") {
        return Err(format!("it ended so: {last}"));
    }
    ground.accepted_and_completes(&behind, None)?;
    say(format_args!("  over in {:.1} s", begun.elapsed().as_secs_f64()));
    Ok(())
}
