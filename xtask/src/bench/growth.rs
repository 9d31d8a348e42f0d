//! Files that are ten times as large each time, sent as they are (`text/csv`): whether a row costs the same in a big import as in a
//! small one, and what a service needs for it.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use super::place::{Kind, MIB, Place, Site};
use super::table::{Aligned, median, sorted};
use crate::bench_file::{self, Changes};
use crate::roster::{Counts, digest_of};
use crate::{memory, say};

pub(super) const NAME: &str = "growth";

const ROWS_LEAST: u64 = 10_000;
/// What other sizes are told beside.
const ROWS_BESIDE: u64 = 100_000;
/// Larger ones are measured once, whatever the rounds.
const ROWS_MANY_TIMES_MAX: u64 = 1_000_000;
/// One row in so many is another one in the second file.
const CHANGED_EVERY: u64 = 100;
/// What is asked of the disk for a row, in bytes: two files, both as they were uploaded, contacts, indexes, logs.
const DISK_BYTES_A_ROW: u64 = 2_000;

/// A file and what came of reading it.
struct Sent {
    path: PathBuf,
    digest: String,
}

/// The two files of a size.
struct Pair {
    rows: u64,
    files: [Sent; 2],
}

/// What bringing a file in has cost.
#[derive(Clone, Copy)]
struct Cost {
    rows_a_second: f64,
    peak_mib: f64,
    /// Processor time for a row, in millionths of a second: of the service, of the database's server.
    service: f64,
    database: f64,
}

/// A size on a home, by a build: first load and second file of each round.
struct Size {
    build: &'static str,
    rows: u64,
    costs: [Vec<Cost>; 2],
    disk_bytes: Vec<f64>,
}

pub(super) fn measure(place: &Place<'_>) -> Result<(), String> {
    let kinds = place.begin(
        NAME,
        "files of ten times as many rows each, sent as text/csv to a fresh service with an empty program, and again with 1 % changed; from \
         the first byte to the completed status",
    );
    if kinds.is_empty() {
        return Ok(());
    }
    let mut tables: Vec<(Kind, Vec<Size>)> = kinds.into_iter().map(|kind| (kind, Vec::new())).collect();
    for rows in sizes(place.wanted.rows_max) {
        place.needs_bytes(rows * DISK_BYTES_A_ROW, &format!("{NAME} with {rows} rows"))?;
        let pair = Pair::write(&place.directory, rows)?;
        let rounds = if rows > ROWS_MANY_TIMES_MAX { 1 } else { place.wanted.rounds };
        for round in 0..rounds {
            for (kind, sizes) in &mut tables {
                for build in super::in_turn(place.builds.len(), round) {
                    one_size(place, *kind, build, &pair, sizes)
                        .map_err(|fault| format!("{NAME}, {}, {rows} rows: {fault}", kind.name()))?;
                }
            }
        }
        pair.remove()?;
    }
    for (kind, mut sizes) in tables {
        // Builds beside each other came in turn; told are all sizes of the one, then all of the other.
        sizes.sort_by_key(|size| (place.builds.iter().position(|build| build.name == size.build), size.rows));
        print(kind, &sizes);
    }
    Ok(())
}

fn sizes(rows_max: u64) -> Vec<u64> {
    let tens = std::iter::successors(Some(ROWS_LEAST), |rows| Some(rows * 10));
    let mut sizes: Vec<u64> = tens.take_while(|rows| *rows <= rows_max).collect();
    if sizes.last() != Some(&rows_max) {
        sizes.push(rows_max);
    }
    sizes
}

impl Pair {
    fn write(directory: &Path, rows: u64) -> Result<Pair, String> {
        let file = |night: &str, changes| {
            let path = directory.join(format!("growth-{night}.csv"));
            let failed = |fault: std::io::Error| format!("{}: {fault}", path.display());
            bench_file::write(BufWriter::new(File::create(&path).map_err(failed)?), rows, changes).map_err(failed)?;
            let digest = digest_of(&path)?;
            Ok::<Sent, String>(Sent { path, digest })
        };
        let files = [file("first", Changes::one_in(0))?, file("again", Changes::one_in(CHANGED_EVERY))?];
        Ok(Pair { rows, files })
    }

    fn remove(self) -> Result<(), String> {
        self.files.into_iter().try_for_each(|Sent { path, .. }| {
            fs::remove_file(&path).map_err(|fault| format!("{}: {fault}", path.display()))
        })
    }

    fn expected(&self, at: usize) -> Counts {
        let rows = self.rows;
        let changed = rows.div_ceil(CHANGED_EVERY);
        match at {
            0 => Counts { read: rows, added: rows, updated: 0, unchanged: 0 },
            _ => Counts { read: rows, added: 0, updated: changed, unchanged: rows - changed },
        }
    }
}

/// A service of its own brings both files in, and is gone afterwards.
fn one_size(place: &Place<'_>, kind: Kind, build: usize, pair: &Pair, sizes: &mut Vec<Size>) -> Result<(), String> {
    let site = place.site(kind, build, NAME)?;
    let mut costs = Vec::with_capacity(2);
    for (at, file) in pair.files.iter().enumerate() {
        costs.push(one_file(place, kind, &site, file, pair.expected(at))?);
    }
    let at = sizes.iter().position(|size| size.build == site.build && size.rows == pair.rows).unwrap_or_else(|| {
        sizes.push(Size { build: site.build, rows: pair.rows, costs: Default::default(), disk_bytes: Vec::new() });
        sizes.len() - 1
    });
    for (all, one) in sizes[at].costs.iter_mut().zip(costs) {
        all.push(one);
    }
    sizes[at].disk_bytes.push(place.bytes_of(&site.home)? as f64 / pair.rows as f64);
    place.end(site)
}

fn one_file(place: &Place<'_>, kind: Kind, site: &Site, file: &Sent, expected: Counts) -> Result<Cost, String> {
    let upload = site.home.upload(&site.tenant, &file.path, &file.digest)?;
    if kind == Kind::Postgres {
        place.server.query("postgres", "CHECKPOINT");
    }
    let id = site.node.process.id;
    memory::reset_peak(id);
    let before = place.used(kind, id)?;
    let (counts, took) = upload.send(&site.home, &site.tenant, &site.node.address)?;
    let after = place.used(kind, id)?;
    if counts != expected {
        return Err(format!("{counts:?} instead of {expected:?}"));
    }
    let millionths_a_row = |seconds: f64| seconds * 1e6 / expected.read as f64;
    Ok(Cost {
        rows_a_second: expected.read as f64 / took.as_secs_f64(),
        peak_mib: memory::peak_kib(id) as f64 * 1_024.0 / MIB as f64,
        service: millionths_a_row(after.0 - before.0),
        database: millionths_a_row(after.1 - before.1),
    })
}

impl Size {
    fn median(&self, file: usize, of: impl Fn(&Cost) -> f64) -> f64 {
        median(&sorted(self.costs[file].iter().map(of).collect()))
    }

    fn highest_peak(&self, file: usize) -> f64 {
        self.costs[file].iter().map(|cost| cost.peak_mib).fold(0.0, f64::max)
    }
}

fn print(kind: Kind, sizes: &[Size]) {
    let mut table = Aligned::new(&[
        kind.name(),
        "rows",
        "first load, rows/s",
        "ratio",
        "1 % changed, rows/s",
        "ratio",
        "peak MiB: first, then",
        "processor µs a row: first, then",
        "disk, bytes a row",
    ]);
    for size in sizes {
        // To a hundred thousand rows, or to the most where there are not so many.
        let of_build = sizes.iter().filter(|other| other.build == size.build && other.rows <= ROWS_BESIDE);
        let Some(beside) = of_build.max_by_key(|other| other.rows) else { continue };
        let speed = |size: &Size, file| size.median(file, |cost| cost.rows_a_second);
        let processor = |file| {
            let (service, database) = (size.median(file, |cost| cost.service), size.median(file, |cost| cost.database));
            match kind {
                Kind::Sqlite => format!("{service:.1}"),
                Kind::Postgres => format!("{service:.1} + {database:.1}"),
            }
        };
        table.row(vec![
            size.build.to_owned(),
            size.rows.to_string(),
            format!("{:.0}", speed(size, 0)),
            format!("{:.2}", speed(size, 0) / speed(beside, 0)),
            format!("{:.0}", speed(size, 1)),
            format!("{:.2}", speed(size, 1) / speed(beside, 1)),
            format!("{:.0}, {:.0}", size.highest_peak(0), size.highest_peak(1)),
            format!("{}; {}", processor(0), processor(1)),
            format!("{:.0}", median(&sorted(size.disk_bytes.clone()))),
        ]);
    }
    say("");
    table.print();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_grow_by_ten_up_to_the_most() {
        assert_eq!(sizes(1_000_000), [10_000, 100_000, 1_000_000]);
        assert_eq!(sizes(20_000), [10_000, 20_000]);
        assert_eq!(sizes(500), [500]);
    }
}
