//! Many nodes over one database, of which some are killed, stopped or ended at any moment, while clients send imports and send
//! again what was not answered: nothing is lost, doubled or reordered.
//!
//! `ROSTER_CHAOS_SEED` gives the seed of an earlier run again (what is sent is the same; which node is where in its work when it
//! is killed is not). `ROSTER_CHAOS_PROGRAMS=200 ROSTER_CHAOS_IMPORTS=2000` is the full run, of some minutes.

mod campaign;
mod cast;
mod files;
mod model;
mod upgrade;

use std::time::Instant;

use self::campaign::Campaign;
use self::cast::Cast;
use crate::harness::Home;

fn number_of(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

/// A new one, if none is given.
fn seed() -> u64 {
    let now = || jiff::Timestamp::now().as_microsecond().cast_unsigned() % 1_000_000_000;
    let seed = number_of("ROSTER_CHAOS_SEED").unwrap_or_else(now);
    eprintln!("ROSTER_CHAOS_SEED={seed}");
    seed
}

fn three_nodes_in_chaos(home: Home, programs: u64, imports: u64) {
    let (seed, begun) = (seed(), Instant::now());
    let say = |what: &str| eprintln!("{:5.1} s {what}", begun.elapsed().as_secs_f64());
    let cast = Cast::start(home, 3);
    let campaign = Campaign::prepare(&cast, seed, programs, imports);
    say("programs made");
    std::thread::scope(|scope| {
        let chaos = cast.disturb(scope, seed);
        campaign.send_all(&cast);
        say("all accepted");
        campaign.wait_for_all(&cast);
        say("all complete");
        chaos.end();
    });
    campaign.check(&cast);
    say("all as it should be");
    eprintln!("{}; {}", cast.story(), campaign.story());
    cast.end();
}

#[test]
fn three_nodes_that_die_sleep_and_stop_lose_double_and_reorder_nothing() {
    let programs = number_of("ROSTER_CHAOS_PROGRAMS").unwrap_or(60);
    let imports = number_of("ROSTER_CHAOS_IMPORTS").unwrap_or(600);
    three_nodes_in_chaos(Home::postgres(), programs, imports);
}

#[test]
fn the_same_behind_a_pooler() {
    three_nodes_in_chaos(Home::pooled_postgres(), 20, 200);
}
