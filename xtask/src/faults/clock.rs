//! The clock of the day jumps by hours, ahead and back, while imports run and wait.

use super::ground::{Form, Ground, Import, Seen};
use crate::http::member;
use crate::roster::Tenant;
use crate::say;
use crate::sign::Signed;

const HOUR_MS: i64 = 3_600_000;
/// How far it jumps; each time it is set right afterwards.
const JUMPS_MS: [i64; 4] = [3 * HOUR_MS, -3 * HOUR_MS, 30 * HOUR_MS, -30 * HOUR_MS];
const ROWS: u64 = 6_000;
const FEW: u64 = 20;

/// An import that was accepted.
struct Accepted {
    import: Import,
    location: String,
}

/// What is wrong.
pub(super) fn run(ground: &mut Ground, tenant: &Tenant) -> Result<(), String> {
    let mut all = Vec::new();
    for off_ms in JUMPS_MS {
        let hours = off_ms / HOUR_MS;
        jump(ground, tenant, off_ms, &mut all).map_err(|what| format!("the clock jumps by {hours} hours: {what}"))?;
        say(format_args!("  the clock jumps by {hours} hours, and back: well"));
    }
    in_order(ground, tenant, &all)
}

fn accept(ground: &mut Ground, tenant: &Tenant, rows: u64, off_ms: i64) -> Result<Accepted, String> {
    let import = ground.import_at(tenant, rows, Form::Json, off_ms);
    match Seen::of(&ground.send(&import.signed)) {
        Seen::Accepted(location) => Ok(Accepted { import, location }),
        other => Err(format!("an import is answered with {}", other.words())),
    }
}

fn jump(ground: &mut Ground, tenant: &Tenant, off_ms: i64, all: &mut Vec<Accepted>) -> Result<(), String> {
    let of_before = [accept(ground, tenant, ROWS, 0)?, accept(ground, tenant, FEW, 0)?];
    ground.shim.set_clock_off(off_ms);
    // Who has the right time is told that the clocks differ; who has the same one is served.
    let right = ground.import(tenant, FEW, Form::Json);
    let refused = ground.send(&right.signed)?;
    if (refused.status, member(&refused.body, "code")) != (401, Some("clock_off")) {
        return Err(format!("a request of the right time is answered with {}: {}", refused.status, refused.body));
    }
    let of_jump = [accept(ground, tenant, ROWS, off_ms)?, accept(ground, tenant, FEW, off_ms)?];
    for accepted in &of_before {
        ground.completes(&accepted.import, &accepted.location, off_ms)?;
    }
    // Some of those still wait or run when it is set right.
    ground.shim.set_clock_off(0);
    for accepted in &of_jump {
        ground.completes(&accepted.import, &accepted.location, 0)?;
    }
    // What was accepted before is the same request still.
    for Accepted { import, location } in &of_before {
        let again = ground.send(&import.signed)?;
        if (again.status, again.header("location")) != (202, Some(location)) {
            return Err(format!("a request sent again is answered with {}: {}", again.status, again.body));
        }
    }
    let after = accept(ground, tenant, FEW, 0)?;
    ground.completes(&after.import, &after.location, 0)?;
    all.extend(of_before);
    all.extend(of_jump);
    all.push(after);
    ground.contacts_are_right(tenant)
}

/// The commands are listed in the order in which they were accepted, whatever the time was.
fn in_order(ground: &Ground, tenant: &Tenant, all: &[Accepted]) -> Result<(), String> {
    let path = format!("/v2/programs/{}/commands?count={}", tenant.program, all.len());
    let answer = ground.send(&Signed::bare(tenant, "GET", &path))?;
    let listed: Vec<&str> =
        answer.body.split("\"location\":\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let accepted: Vec<&str> = all.iter().rev().map(|accepted| &*accepted.location).collect();
    if listed != accepted {
        return Err(format!("the commands are listed as {listed:?}, and were accepted as {accepted:?}"));
    }
    Ok(())
}
