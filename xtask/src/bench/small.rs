//! Many small requests: imports of one row from many clients beside one client, status polls beside an answer that costs nothing, and what a
//! small import waits for while a big one runs.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::table::{median, sorted};
use crate::bench_file::{self, Changes};
use crate::http::Connection;
use crate::roster::{Home, Import, Tenant, text_of};
use crate::say;

pub(super) const NAME: &str = "small requests";

const CLIENTS: usize = 32;
/// Imports of one row by all of them together, and by one client alone.
const IMPORTS: usize = 960;
const IMPORTS_ALONE: usize = 160;
const POLLERS: usize = 64;
const POLL_FOR: Duration = Duration::from_secs(3);
/// Imports whose latency is measured, idle and beside a big one.
const PROBES: usize = 200;

pub(super) fn measure(name: &str, home: &Home, rounds: usize, rows: u64) -> Result<(), String> {
    let node = home.serve("127.0.0.1:0", &home.directory.join("small.log"))?;
    let tenant = home.new_tenant()?;
    say(format_args!("\n{NAME}, {name}"));
    imports(home, &tenant, &node.address, rounds)?;
    polls(home, &tenant, &node.address, rounds)?;
    beside_a_big_one(home, &tenant, &node.address, rows)?;
    node.process.stop();
    Ok(())
}

/// A file of one new contact each.
fn one_row(home: &Home, tenant: &Tenant, first: usize, count: usize) -> Result<Vec<Import>, String> {
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

fn imports(home: &Home, tenant: &Tenant, address: &str, rounds: usize) -> Result<(), String> {
    let (mut together, mut alone) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let tenant = Tenant { program: home.new_program(&tenant.account, "One row each")?, ..tenant.clone() };
        let all = one_row(home, &tenant, 0, IMPORTS + IMPORTS_ALONE + 1)?;
        let ([most @ .., last], end) = (&*all, IMPORTS) else { return Err("there is no import".to_owned()) };
        alone.push(accepted_a_second(address, &most[end..], 1)?);
        together.push(accepted_a_second(address, &most[..end], CLIENTS)?);
        // What was accepted is carried out in its order: when this one is complete, nothing is left to disturb what comes next.
        last.completed(&mut Connection::open(address)?)?;
    }
    let (together, alone) = (median(&sorted(together)), median(&sorted(alone)));
    say(format_args!(
        "  imports of one row accepted a second: {CLIENTS} clients {together:.0}, one client {alone:.0}; ratio {:.2}",
        together / alone
    ));
    Ok(())
}

/// Requests a second over connections that are kept.
fn asked_a_second(address: &str, path: &str, headers: &[String]) -> Result<f64, String> {
    let total = Mutex::new(0_usize);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let pollers: Vec<_> = (0..POLLERS)
            .map(|_| {
                scope.spawn(|| -> Result<(), String> {
                    let mut connection = Connection::open(address)?;
                    let mut asked = 0;
                    while begun.elapsed() < POLL_FOR {
                        let answer = connection.send("GET", path, headers, b"")?;
                        if answer.status != 200 {
                            return Err(format!("{path}: {} {}", answer.status, answer.body));
                        }
                        asked += 1;
                    }
                    *total.lock().map_err(|fault| fault.to_string())? += asked;
                    Ok(())
                })
            })
            .collect();
        pollers.into_iter().try_for_each(|poller| poller.join().unwrap_or_else(|_| Err("a poller panicked".to_owned())))
    })?;
    let total = *total.lock().map_err(|fault| fault.to_string())?;
    Ok(total as f64 / begun.elapsed().as_secs_f64())
}

/// A complete status beside `/healthz`, which is the bare framework: the same listener, nothing looked up, a constant told.
fn polls(home: &Home, tenant: &Tenant, address: &str, rounds: usize) -> Result<(), String> {
    let tenant = Tenant { program: home.new_program(&tenant.account, "Polled")?, ..tenant.clone() };
    let import = one_row(home, &tenant, 0, 1)?.remove(0);
    let location = import.accepted(&mut Connection::open(address)?)?;
    let headers = home.sign(&tenant, "GET", &location)?;
    let (mut status, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        status.push(asked_a_second(address, &location, &headers)?);
        bare.push(asked_a_second(address, "/healthz", &[])?);
    }
    let (status, bare) = (median(&sorted(status)), median(&sorted(bare)));
    say(format_args!(
        "  status polls a second, {POLLERS} connections: {status:.0}, /healthz {bare:.0}; ratio {:.2}",
        status / bare
    ));
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

fn beside_a_big_one(home: &Home, tenant: &Tenant, address: &str, rows: u64) -> Result<(), String> {
    let small = Tenant { program: home.new_program(&tenant.account, "Small")?, ..tenant.clone() };
    let all = one_row(home, &small, 0, 4 * PROBES)?;
    let of = |part: usize| &all[part * PROBES..(part + 1) * PROBES];
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
            "  an import of one row {what}, ms: idle {:.2} (p99 {:.2}), while {rows} rows go into another program {:.2} (p99 {:.2}); p99 ratio {:.2}",
            median(idle),
            p99(idle),
            median(busy),
            p99(busy),
            p99(busy) / p99(idle)
        ));
    }
    Ok(())
}
