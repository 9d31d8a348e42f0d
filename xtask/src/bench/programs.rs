//! Many programs side by side against one with as many rows. Imports of one program take turns; those of several run at the same time, as
//! many as there are workers.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::place::{Kind, MIB, Place, Site};
use super::table::{Aligned, median, sorted};
use crate::bench_file::{self, Changes};
use crate::roster::{Counts, Tenant, digest_of};
use crate::{memory, say};

pub(super) const NAME: &str = "programs";

const MANY: usize = 16;

/// A file for each of so many programs.
struct Share {
    programs: usize,
    path: PathBuf,
    digest: String,
    rows: u64,
}

/// What a run of all programs has cost.
struct Load {
    rows_a_second: f64,
    /// Processors that were busy, on average: the service's, the database's.
    service: f64,
    database: f64,
    peak_mib: f64,
}

pub(super) fn measure(place: &Place<'_>) -> Result<(), String> {
    let rows = place.wanted.rows;
    let kinds = place.begin(
        NAME,
        "first loads as text/csv of 16 programs at once, beside one program with all their rows: above 1 is what working side by side \
         brings, below 1 what it costs",
    );
    if kinds.is_empty() {
        return Ok(());
    }
    let shares = [share(&place.directory, 1, rows)?, share(&place.directory, MANY, rows)?];
    for kind in kinds {
        let sites = place.sites(kind, NAME)?;
        // Of each build: one program, many.
        let mut loads: Vec<[Vec<Load>; 2]> = sites.iter().map(|_| Default::default()).collect();
        for round in 0..place.wanted.rounds {
            for at in super::in_turn(sites.len(), round) {
                for share in super::in_turn(shares.len(), round) {
                    loads[at][share].push(load(place, kind, &sites[at], &shares[share])?);
                }
            }
        }
        print(kind, &sites, &loads);
        sites.into_iter().try_for_each(|site| place.end(site))?;
    }
    Ok(())
}

fn share(directory: &Path, programs: usize, rows: u64) -> Result<Share, String> {
    let rows = (rows / programs as u64).max(1);
    let path = directory.join(format!("programs-{programs}.csv"));
    let failed = |fault: std::io::Error| format!("{}: {fault}", path.display());
    let file = File::create(&path).map_err(failed)?;
    bench_file::write(BufWriter::new(file), rows, Changes::one_in(0)).map_err(failed)?;
    Ok(Share { programs, digest: digest_of(&path)?, path, rows })
}

fn load(place: &Place<'_>, kind: Kind, site: &Site, share: &Share) -> Result<Load, String> {
    let mut uploads = Vec::with_capacity(share.programs);
    for _ in 0..share.programs {
        let program = site.home.new_program(&site.tenant.account, "One of many")?;
        let tenant = Tenant { program, ..site.tenant.clone() };
        uploads.push((site.home.upload(&tenant, &share.path, &share.digest)?, tenant));
    }
    if kind == Kind::Postgres {
        place.server.query("postgres", "CHECKPOINT");
    }
    let id = site.node.process.id;
    memory::reset_peak(id);
    let before = place.used(kind, id)?;
    let begun = Instant::now();
    let results: Vec<_> = std::thread::scope(|scope| {
        let sent: Vec<_> = uploads
            .iter()
            .map(|(upload, tenant)| scope.spawn(move || upload.send(&site.home, tenant, &site.node.address)))
            .collect();
        sent.into_iter().map(|sent| sent.join().unwrap_or_else(|_| Err("a client panicked".to_owned()))).collect()
    });
    let seconds = begun.elapsed().as_secs_f64();
    let after = place.used(kind, id)?;
    let expected = Counts { read: share.rows, added: share.rows, updated: 0, unchanged: 0 };
    for result in results {
        let (counts, _) = result?;
        if counts != expected {
            return Err(format!("{NAME}: {counts:?} instead of {expected:?}"));
        }
    }
    Ok(Load {
        rows_a_second: (share.rows * share.programs as u64) as f64 / seconds,
        service: (after.0 - before.0) / seconds,
        database: (after.1 - before.1) / seconds,
        peak_mib: memory::peak_kib(id) as f64 * 1_024.0 / MIB as f64,
    })
}

fn print(kind: Kind, sites: &[Site], loads: &[[Vec<Load>; 2]]) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let busy = format!("of {cores} processors busy: one, {MANY}");
    let many = format!("{MANY} programs, rows/s");
    let mut table = Aligned::new(&[kind.name(), "one program, rows/s", &many, "ratio", &busy, "peak MiB: one, 16"]);
    for (site, [one, many]) in sites.iter().zip(loads) {
        let middle = |loads: &[Load], of: fn(&Load) -> f64| median(&sorted(loads.iter().map(of).collect()));
        let speed = |loads| middle(loads, |load| load.rows_a_second);
        let busy = |loads| {
            let (service, database) = (middle(loads, |load| load.service), middle(loads, |load| load.database));
            match kind {
                Kind::Sqlite => format!("{service:.2}"),
                Kind::Postgres => format!("{service:.2} + {database:.2}"),
            }
        };
        let peak = |loads: &[Load]| loads.iter().map(|load| load.peak_mib).fold(0.0, f64::max);
        table.row(vec![
            site.build.to_owned(),
            format!("{:.0}", speed(one)),
            format!("{:.0}", speed(many)),
            format!("{:.2}", speed(many) / speed(one)),
            format!("{}; {}", busy(one), busy(many)),
            format!("{:.0}, {:.0}", peak(one), peak(many)),
        ]);
    }
    say("");
    table.print();
}
