//! Many small requests: imports of one row from many clients beside one client, and what a small import waits for while a big one runs.

use std::time::Instant;

use super::place::{Kind, Place, Site};
use super::table::{median, sorted};
use super::{Effort, disk};
use crate::bench_file::{self, Changes};
use crate::http::Connection;
use crate::roster::{Home, Import, Tenant, text_of};
use crate::say;

pub(super) const NAME: &str = "small requests";

const CLIENTS: usize = 32;

pub(super) fn measure(place: &Place<'_>) -> Result<(), String> {
    let measures = "imports of one row from many clients and from one, beside what the disk allows; and what a small import waits for while a \
                    big one runs";
    for kind in place.begin(NAME, measures) {
        let sites = place.sites(kind, "small")?;
        imports(place, kind, &sites)?;
        for site in sites {
            say(format_args!("  {}, {}: an import of one row", kind.name(), site.build));
            beside_a_big_one(&site, place.wanted.contacts, place.wanted.effort.probes)?;
            place.end(site)?;
        }
    }
    Ok(())
}

/// A file of one new contact each.
pub(super) fn one_row(home: &Home, tenant: &Tenant, first: usize, count: usize) -> Result<Vec<Import>, String> {
    let mut file = Vec::new();
    bench_file::write(&mut file, (first + count) as u64, Changes::one_in(0)).map_err(|fault| fault.to_string())?;
    let file = String::from_utf8(file).map_err(|fault| fault.to_string())?;
    // No cell of it has a line end.
    let mut lines = file.lines();
    let header = lines.next().ok_or("the file is empty")?;
    lines.skip(first).map(|row| home.import(tenant, &format!("{header}\n{row}\n"))).collect()
}

/// Sends all, each client in turn; how many a second were accepted, that is, were durable.
fn accepted_a_second(address: &str, imports: &[Import], clients: usize) -> Result<f64, String> {
    let begun = Instant::now();
    let each = imports.len().div_ceil(clients);
    std::thread::scope(|scope| {
        let sent: Vec<_> = imports
            .chunks(each)
            .map(|imports| {
                scope.spawn(move || {
                    let mut connection = Connection::open(address)?;
                    imports.iter().try_for_each(|import| import.accepted(&mut connection).map(drop))
                })
            })
            .collect();
        sent.into_iter().try_for_each(|sent| sent.join().unwrap_or_else(|_| Err("a client panicked".to_owned())))
    })?;
    Ok(imports.len() as f64 / begun.elapsed().as_secs_f64())
}

/// Imports accepted a second, by all clients together, and by one alone.
#[derive(Default)]
struct Accepted {
    together: Vec<f64>,
    alone: Vec<f64>,
}

fn imports(place: &Place<'_>, kind: Kind, sites: &[Site]) -> Result<(), String> {
    let Effort { imports, imports_alone, .. } = place.wanted.effort;
    let mut accepted: Vec<Accepted> = sites.iter().map(|_| Accepted::default()).collect();
    let mut floor = Vec::new();
    for round in 0..place.wanted.rounds {
        floor.push(disk::writes_a_second(&place.directory)?);
        for at in super::in_turn(sites.len(), round) {
            let Site { home, tenant, node, .. } = &sites[at];
            let tenant = Tenant { program: home.new_program(&tenant.account, "One row each")?, ..tenant.clone() };
            let all = one_row(home, &tenant, 0, imports + imports_alone + 1)?;
            let [most @ .., last] = &*all else { return Err("there is no import".to_owned()) };
            accepted[at].alone.push(accepted_a_second(&node.address, &most[imports..], 1)?);
            accepted[at].together.push(accepted_a_second(&node.address, &most[..imports], CLIENTS)?);
            // What was accepted is carried out in its order: when this one is complete, nothing is left to disturb what comes next.
            last.completed(&mut Connection::open(&node.address)?)?;
        }
    }
    let floor = median(&sorted(floor));
    for (site, Accepted { together, alone }) in sites.iter().zip(accepted) {
        let (together, alone) = (median(&sorted(together)), median(&sorted(alone)));
        let ratio = together / alone;
        say(format_args!(
            "  {}, {}: imports of one row accepted a second: {CLIENTS} clients {together:.0}, one client {alone:.0}; ratio {ratio:.2}",
            kind.name(),
            site.build
        ));
        say(format_args!(
            "  floor: the disk {floor:.0} durable writes a second, one after the other (dd oflag=dsync); one client to it {:.2}",
            alone / floor
        ));
    }
    Ok(())
}

/// Milliseconds until the 202, and until the completed status.
fn latencies(address: &str, accept: &[Import], complete: &[Import]) -> Result<[Vec<f64>; 2], String> {
    let mut connection = Connection::open(address)?;
    let mut milliseconds = |imports: &[Import], waiting: bool| -> Result<Vec<f64>, String> {
        let took = imports.iter().map(|import| {
            let begun = Instant::now();
            if waiting {
                import.completed(&mut connection)?
            } else {
                import.accepted(&mut connection).map(drop)?
            }
            Ok(begun.elapsed().as_secs_f64() * 1_000.0)
        });
        Ok(sorted(took.collect::<Result<_, String>>()?))
    };
    let accepted = milliseconds(accept, false)?;
    // The first one waits for those that were only accepted.
    let (first, complete) = complete.split_first().ok_or("there is no import")?;
    milliseconds(std::slice::from_ref(first), true)?;
    Ok([accepted, milliseconds(complete, true)?])
}

fn beside_a_big_one(site: &Site, rows: u64, probes: usize) -> Result<(), String> {
    let Site { home, tenant, node, .. } = site;
    let address = &*node.address;
    let small = Tenant { program: home.new_program(&tenant.account, "Small")?, ..tenant.clone() };
    let all = one_row(home, &small, 0, 4 * probes)?;
    let of = |part: usize| &all[part * probes..(part + 1) * probes];
    let idle = latencies(address, of(0), of(1))?;
    let big = Tenant { program: home.new_program(&tenant.account, "Big")?, ..tenant.clone() };
    let mut file = Vec::new();
    bench_file::write(&mut file, rows, Changes::one_in(0)).map_err(|fault| fault.to_string())?;
    let path = home.directory.join("big.csv");
    std::fs::write(&path, &file).map_err(|fault| format!("{}: {fault}", path.display()))?;
    let mut import = home.command(&["import", "--new", "add", "--existing", "all", "--no-wait", "--program"]);
    import.arg(&big.program).args(["--url", &format!("http://{address}")]).arg(&path);
    text_of(import.envs([("ROSTER_TOKEN", &big.token), ("ROSTER_SECRET", &big.secret)]))?;
    let busy = latencies(address, of(2), of(3))?;
    for (what, idle, busy) in [("accepted", &idle[0], &busy[0]), ("complete", &idle[1], &busy[1])] {
        let p99 = |of: &[f64]| of[of.len() * 99 / 100];
        say(format_args!(
            "    {what}, ms: idle {:.2} (p99 {:.2}), while {rows} rows go into another program {:.2} (p99 {:.2}); p99 ratio {:.2}",
            median(idle),
            p99(idle),
            median(busy),
            p99(busy),
            p99(busy) / p99(idle)
        ));
    }
    Ok(())
}
