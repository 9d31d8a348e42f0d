//! Two nodes against one, over one PostgreSQL: eight programs are loaded at the same time.

use std::time::Instant;

use super::Wanted;
use super::place::{Kind, Place};
use super::service::postmaster;
use super::table::{median, sorted};
use crate::bench_file::{self, Changes};
use crate::postgres::Server;
use crate::roster::{Home, Import, Node, Tenant};
use crate::{memory, say};

pub(super) const NAME: &str = "two nodes against one";

const PROGRAMS: usize = 8;

/// What a run of all programs has cost.
struct Load {
    rows_a_second: f64,
    /// Processors that were busy, on average: the nodes', the database's.
    nodes: f64,
    database: f64,
}

/// The rows are shared out over the programs.
pub(super) fn measure(place: &Place<'_>) -> Result<(), String> {
    let measures = "one node, and two over the same PostgreSQL, while eight programs are loaded at once";
    let (Wanted { rounds, rows, .. }, server) = (place.wanted, place.server);
    if place.begin_on(&[Kind::Postgres], NAME, measures).is_empty() {
        return Ok(());
    }
    let home = &place.home(Kind::Postgres, &place.builds[0], "nodes")?;
    let rows_each = (rows / PROGRAMS as u64).max(1);
    let mut file = Vec::new();
    bench_file::write(&mut file, rows_each, Changes::one_in(0)).map_err(|fault| fault.to_string())?;
    let csv = String::from_utf8(file).map_err(|fault| fault.to_string())?;
    let start = |number: u32| home.serve("127.0.0.1:0", &home.directory.join(format!("node-{number}.log")));
    let first = start(1)?;
    let tenant = home.new_tenant()?;
    let (mut alone, mut together) = (Vec::new(), Vec::new());
    for _ in 0..*rounds {
        alone.push(load(home, server, &tenant, &csv, rows_each, &[&first])?);
        let second = start(2)?;
        together.push(load(home, server, &tenant, &csv, rows_each, &[&first, &second])?);
        second.process.stop();
    }
    say(format_args!("  {PROGRAMS} programs of {rows_each} rows at once"));
    let rows = |loads: &[Load]| median(&sorted(loads.iter().map(|load| load.rows_a_second).collect()));
    for (name, loads) in [("one node", &alone), ("two nodes", &together)] {
        let busy = |of: fn(&Load) -> f64| median(&sorted(loads.iter().map(of).collect()));
        let (nodes, database) = (busy(|load| load.nodes), busy(|load| load.database));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        say(format_args!(
            "  {name}: {:.0} rows/s; of {cores} processors the nodes used {nodes:.2}, the database {database:.2}",
            rows(loads)
        ));
    }
    say(format_args!("  ratio {:.2}", rows(&together) / rows(&alone)));
    first.process.stop();
    place.remove(home)
}

fn load(
    home: &Home,
    server: &Server,
    tenant: &Tenant,
    csv: &str,
    rows_each: u64,
    nodes: &[&Node],
) -> Result<Load, String> {
    let mut imports: Vec<Import> = Vec::with_capacity(PROGRAMS);
    for _ in 0..PROGRAMS {
        let program = home.new_program(&tenant.account, "A load's")?;
        imports.push(home.import(&Tenant { program, ..tenant.clone() }, csv)?);
    }
    server.query("postgres", "CHECKPOINT");
    let postmaster = postmaster(server)?;
    let used = || {
        let nodes: f64 = nodes.iter().map(|node| memory::processor_seconds(node.process.id)).sum();
        (nodes, memory::processor_seconds_with_children(postmaster))
    };
    let before = used();
    let begun = Instant::now();
    let results: Vec<_> = std::thread::scope(|scope| {
        let sent: Vec<_> = imports
            .iter()
            .enumerate()
            .map(|(at, import)| scope.spawn(move || import.send(&nodes[at % nodes.len()].address)))
            .collect();
        sent.into_iter().map(|sent| sent.join().unwrap_or_else(|_| Err("a client panicked".to_owned()))).collect()
    });
    let seconds = begun.elapsed().as_secs_f64();
    let after = used();
    for result in results {
        let (counts, _) = result?;
        if counts.added != rows_each {
            return Err(format!("{counts:?} instead of {rows_each} added"));
        }
    }
    Ok(Load {
        rows_a_second: rows_each as f64 * PROGRAMS as f64 / seconds,
        nodes: (after.0 - before.0) / seconds,
        database: (after.1 - before.1) / seconds,
    })
}
