//! `cargo xtask hostile`: a good client imports row by row, first alone, then while others do their worst; both are printed side by side.
//!
//! The attackers are in [`attack`]. They run on the same machine, so what they cost takes from what the service has; processor
//! seconds of both sides are printed.

mod attack;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use self::attack::Attack;
use crate::bench_file::phone;
use crate::http::{Answer, Connection, json_string, member};
use crate::options::{Options, run_tool};
use crate::roster::{Home, Tenant};
use crate::service::{Ground, Which};
use crate::sign::Signed;
use crate::{complain, memory, say};

const USAGE: &str = "usage: cargo xtask hostile [--seconds N] [--home sqlite|postgres] [--debug | --binary PATH] [--slow N] [--bombs N] [--signatures-per-second N]";
/// A new connection after so many imports.
const IMPORTS_OF_CONNECTION: usize = 10;
/// Pairs of requests whose times are compared.
const PAIRS: usize = 1_000;
/// How long a connection that an attacker has left may still be open.
const LEFT_WITHIN: Duration = Duration::from_secs(90);
/// Descriptors that a service may have more after an attack: databases and threads that were not asked for before.
const DESCRIPTORS_MORE: usize = 32;

struct Wanted {
    which: Which,
    seconds: u64,
    slow: usize,
    bombs: usize,
    signatures: u64,
}

impl Wanted {
    fn of(arguments: &[&str]) -> Result<Wanted, String> {
        let mut wanted =
            Wanted { which: Which::new(&["sqlite"]), seconds: 60, slow: 1_000, bombs: 20, signatures: 5_000 };
        let mut options = Options::new(arguments);
        while let Some(name) = options.next() {
            match name {
                "--seconds" => wanted.seconds = options.number(name, 1)?,
                "--slow" => wanted.slow = options.number(name, 0)?,
                "--bombs" => wanted.bombs = options.number(name, 0)?,
                "--signatures-per-second" => wanted.signatures = options.number(name, 0)?,
                _ if wanted.which.take(name, &mut options)? => {}
                _ => return Err(format!("hostile has no option '{name}'")),
            }
        }
        Ok(wanted)
    }
}

pub(crate) fn run(arguments: &[&str]) -> ExitCode {
    run_tool("hostile", USAGE, Wanted::of(arguments), |wanted| {
        let binary = wanted.which.binary()?;
        wanted.which.homes.iter().try_fold(true, |is_well, kind| {
            let ground = Ground::new("hostile", kind, &binary)?;
            let here = attacked(wanted, kind, &ground.home)?;
            if here {
                ground.remove();
            }
            Ok(here && is_well)
        })
    })
}

/// What the good client has seen in a phase.
#[derive(Default)]
struct Seen {
    accepted_ms: Vec<f64>,
    complete_ms: Vec<f64>,
    failed: Vec<String>,
}

/// What the machine was used for meanwhile.
struct Used {
    service_s: f64,
    clients_s: f64,
    peak_kib: u64,
    descriptors: usize,
}

fn attacked(wanted: &Wanted, kind: &str, home: &Home) -> Result<bool, String> {
    let (good, bad) = (home.new_tenant()?, home.new_tenant()?);
    let node = home.serve("127.0.0.1:0", &home.directory.join("log"))?;
    let (address, id) = (node.address.clone(), node.process.id);
    let during = Duration::from_secs(wanted.seconds);
    say(format_args!("{kind}: {} s alone, then {} s beside the attackers", wanted.seconds, wanted.seconds));
    guesses(&address, &good)?;
    let mut number = 0;
    // Not measured: everything is opened for the first time.
    imports(&address, &good, &mut number, Duration::from_secs(1));
    let (idle, idle_used) = used(id, || imports(&address, &good, &mut number, during));
    let before = memory::descriptors(id);
    let attack = Attack {
        address: address.clone(),
        tenant: bad,
        victim: good.token.clone(),
        stop: AtomicBool::new(false),
        answers: Mutex::default(),
        refused: AtomicU64::new(0),
    };
    let gzip = attack::gzip_bomb()?;
    let (under, under_used) = used(id, || {
        std::thread::scope(|scope| {
            scope.spawn(|| attack::slow(&attack, wanted.slow));
            for number in 0..wanted.bombs {
                let (attack, gzip) = (&attack, &gzip);
                scope.spawn(move || attack::bombs(attack, number, gzip));
            }
            if wanted.signatures > 0 {
                for number in 0..attack::floods() {
                    let attack = &attack;
                    scope.spawn(move || attack::flood(attack, number, wanted.signatures));
                }
            }
            let seen = imports(&address, &good, &mut number, during);
            attack.stop.store(true, Ordering::Relaxed);
            seen
        })
    });
    print(wanted, [&idle, &under], [&idle_used, &under_used], &attack);
    let mut is_well = check(&[&idle, &under]);
    is_well &= leaves(id, before);
    // Nothing of it has come in.
    let commands = Signed::bare(&attack.tenant, "GET", &format!("/v2/programs/{}/commands", attack.tenant.program));
    let told = commands.send(&mut Connection::open(&address)?)?;
    if member(&told.body, "total") != Some("0") {
        complain(format_args!("  WRONG: the attackers' program has commands: {}", told.body));
        is_well = false;
    }
    node.process.stop();
    let log = std::fs::read_to_string(home.directory.join("log")).unwrap_or_default();
    if log.contains("panicked") || log.contains("incident") {
        complain(format_args!("  WRONG: the log tells of faults: {}", home.directory.join("log").display()));
        is_well = false;
    }
    say(format_args!(
        "  the log of both has {} lines, {:.1} MiB",
        log.lines().count(),
        log.len() as f64 / (1 << 20) as f64
    ));
    Ok(is_well)
}

fn used<T>(id: u32, phase: impl FnOnce() -> T) -> (T, Used) {
    memory::reset_peak(id);
    let (service, clients) = (memory::processor_seconds(id), memory::processor_seconds(std::process::id()));
    let is_over = AtomicBool::new(false);
    let (done, descriptors) = std::thread::scope(|scope| {
        let most = scope.spawn(|| {
            let mut most = 0;
            while !is_over.load(Ordering::Relaxed) {
                most = most.max(memory::descriptors(id));
                std::thread::sleep(Duration::from_millis(200));
            }
            most
        });
        let done = phase();
        is_over.store(true, Ordering::Relaxed);
        (done, most.join().unwrap_or(0))
    });
    let used = Used {
        service_s: memory::processor_seconds(id) - service,
        clients_s: memory::processor_seconds(std::process::id()) - clients,
        peak_kib: memory::peak_kib(id),
        descriptors,
    };
    (done, used)
}

/// One import of one row after the other, each until it is complete.
fn imports(address: &str, tenant: &Tenant, number: &mut u64, during: Duration) -> Seen {
    let mut seen = Seen::default();
    let begun = Instant::now();
    let mut connection = None;
    let mut of_connection = 0;
    while begun.elapsed() < during {
        *number += 1;
        if of_connection == 0 {
            connection = Connection::open(address).ok();
        }
        of_connection = (of_connection + 1) % IMPORTS_OF_CONNECTION;
        let Some(open) = &mut connection else {
            seen.failed.push("no connection".to_owned());
            of_connection = 0;
            continue;
        };
        let sent = Instant::now();
        match import(open, tenant, *number) {
            Ok(accepted) => {
                seen.accepted_ms.push(milliseconds(accepted.duration_since(sent)));
                seen.complete_ms.push(milliseconds(sent.elapsed()));
            }
            Err(fault) => {
                seen.failed.push(fault);
                of_connection = 0;
            }
        }
    }
    seen.accepted_ms.sort_by(f64::total_cmp);
    seen.complete_ms.sort_by(f64::total_cmp);
    seen
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// When it was accepted; it is complete when this comes back.
fn import(connection: &mut Connection, tenant: &Tenant, number: u64) -> Result<Instant, String> {
    let csv = format!("customer_id,phone,first_name\nk{number},+1{},Ada\n", phone(number));
    let body = format!(
        r#"{{"program":"{}","options":{{"new":"add","existing":"ignore","mode":"row","absent":"ignore"}},"participants":{}}}"#,
        tenant.program,
        json_string(&csv)
    );
    let path = format!("/v2/programs/{}/participants", tenant.program);
    let answer = Signed::json(tenant, &path, body).send(connection)?;
    let accepted = Instant::now();
    let location = answer.header("location").filter(|_| answer.status == 202);
    let location = location.ok_or_else(|| format!("it is answered {}: {}", answer.status, answer.body))?.to_owned();
    let mut status = answer;
    while member(&status.body, "complete") != Some("true") {
        status = Signed::bare(tenant, "GET", &location).waiting(60).send(connection)?;
        if status.status != 200 {
            return Err(format!("its status is answered {}: {}", status.status, status.body));
        }
    }
    if (member(&status.body, "added"), member(&status.body, "error")) != (Some("1"), Some("false")) {
        return Err(format!("it ended otherwise: {}", status.body));
    }
    Ok(accepted)
}

/// How long a wrong signature takes with a token that is there, and with one that is not, in turn.
fn guesses(address: &str, tenant: &Tenant) -> Result<(), String> {
    let mut connection = Connection::open(address)?;
    let forger = Tenant { secret: "another".to_owned(), ..tenant.clone() };
    let mut took = [Vec::new(), Vec::new()];
    for pair in 0..PAIRS + 50 {
        let stranger = Tenant { token: format!("{pair:032x}"), ..forger.clone() };
        for (who, took) in [&forger, &stranger].into_iter().zip(&mut took) {
            let request = Signed::json(who, &format!("/v2/programs/{}/participants", tenant.program), "{}".to_owned());
            let sent = Instant::now();
            let answer: Answer = request.send(&mut connection)?;
            let time = milliseconds(sent.elapsed());
            if answer.status != 401 {
                return Err(format!("a guessed signature is answered {}: {}", answer.status, answer.body));
            }
            if pair >= 50 {
                took.push(time);
            }
        }
    }
    let [known, unknown] = took.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    say(format_args!(
        "  a wrong signature, medians of {PAIRS} in turn, ms: token that is there {known:.3}, token that is not {unknown:.3}; ratio {:.2}",
        known / unknown
    ));
    Ok(())
}

fn at(sorted: &[f64], percent: usize) -> f64 {
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

fn print(wanted: &Wanted, seen: [&Seen; 2], used: [&Used; 2], attack: &Attack) {
    let line = |name: &str, [idle, under]: [String; 2]| say(format_args!("  {name:42} {idle:>12} {under:>12}"));
    line("the good client", ["alone".to_owned(), "attacked".to_owned()]);
    line("  imports complete", seen.map(|seen| seen.complete_ms.len().to_string()));
    line("  imports failed", seen.map(|seen| seen.failed.len().to_string()));
    for percent in [50, 99] {
        line(&format!("  accepted, p{percent}, ms"), seen.map(|seen| format!("{:.2}", at(&seen.accepted_ms, percent))));
        line(&format!("  complete, p{percent}, ms"), seen.map(|seen| format!("{:.2}", at(&seen.complete_ms, percent))));
    }
    line("  complete, the longest, ms", seen.map(|seen| format!("{:.2}", at(&seen.complete_ms, 100))));
    line("processor seconds, the service", used.map(|used| format!("{:.1}", used.service_s)));
    line("processor seconds, clients and attackers", used.map(|used| format!("{:.1}", used.clients_s)));
    line("the service's peak of memory, MiB", used.map(|used| format!("{}", used.peak_kib / 1024)));
    line("descriptors, at most", used.map(|used| used.descriptors.to_string()));
    say(format_args!(
        "  attackers: {} slow connections and {} bombs at a time; {:.0} wrong signatures answered a second, of {} wanted",
        wanted.slow,
        wanted.bombs,
        attack.refused.load(Ordering::Relaxed) as f64 / wanted.seconds as f64,
        wanted.signatures
    ));
    let answers = attack.answers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut by_who: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for ((who, what), count) in answers.iter() {
        by_who.entry(who).or_default().push(format!("{what} {count}"));
    }
    by_who.iter().for_each(|(who, what)| say(format_args!("  {who} was answered: {}", what.join(", "))));
}

fn check(seen: &[&Seen]) -> bool {
    let failed: Vec<&String> = seen.iter().flat_map(|seen| &seen.failed).collect();
    failed.iter().take(5).for_each(|fault| complain(format_args!("  WRONG: an import failed: {fault}")));
    failed.is_empty() && seen.iter().all(|seen| !seen.complete_ms.is_empty())
}

/// Whether what the attackers have opened is closed again.
fn leaves(id: u32, before: usize) -> bool {
    let begun = Instant::now();
    loop {
        let now = memory::descriptors(id);
        if now <= before + DESCRIPTORS_MORE {
            say(format_args!("  descriptors: {before} before, {now} after {:.0} s", begun.elapsed().as_secs_f64()));
            return true;
        }
        if begun.elapsed() > LEFT_WITHIN {
            complain(format_args!("  WRONG: {now} descriptors are open, {before} were before"));
            return false;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_checked() {
        let wanted = Wanted::of(&["--seconds", "5", "--slow", "7", "--home", "postgres", "--debug"])
            .unwrap_or_else(|sentence| unreachable!("{sentence}"));
        assert_eq!((wanted.seconds, wanted.slow, wanted.bombs, wanted.which.homes), (5, 7, 20, vec!["postgres"]));
        assert_eq!(Wanted::of(&["--slw", "1"]).err().as_deref(), Some("hostile has no option '--slw'"));
    }

    #[test]
    fn percentiles_of_few() {
        assert_eq!((at(&[1.0, 2.0, 3.0], 50), at(&[1.0, 2.0, 3.0], 99), at(&[1.0, 2.0, 3.0], 100)), (2.0, 3.0, 3.0));
        assert!(at(&[], 50).is_nan());
    }
}
