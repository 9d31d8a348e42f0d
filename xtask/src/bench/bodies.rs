//! Imports in JSON, whose body is in memory while it is taken: what a service needs for a small one and a large one beyond the body itself.

use super::place::{Kind, MIB, Place, Site};
use super::table::{Aligned, median, sorted};
use crate::bench_file::{self, Changes};
use crate::http::json_string;
use crate::roster::{Counts, Options};
use crate::{memory, say};

pub(super) const NAME: &str = "bodies";

/// The smaller body, in bytes; less if the larger one is not some times as large.
const SMALLER_BYTES: u64 = 10_000_000;
const TIMES_AS_LARGE: u64 = 6;
/// By so many rows a body's bytes are estimated, and so much less is sent, so that it is not too large.
const ROWS_TO_ESTIMATE: u64 = 10_000;
const SPARED: f64 = 0.995;

/// What is done with the rows.
const WAYS: [(&str, Options); 2] = [("imported", Options::AddAndSet), ("ignored", Options::Ignore)];

/// Of one size, by one build, with its rows treated one way.
struct Measured {
    build: &'static str,
    way: &'static str,
    rows: u64,
    body_mib: f64,
    /// Before the request, and the most.
    idle_mib: Vec<f64>,
    peak_mib: Vec<f64>,
}

pub(super) fn measure(place: &Place<'_>) -> Result<(), String> {
    let kinds = place.begin(
        NAME,
        "the peak memory of a fresh service that takes one import in JSON, and what of it is beyond the body; with rows that are ignored nothing \
         comes from the store",
    );
    let largest = place.wanted.body_max;
    for kind in kinds {
        let mut all: Vec<Measured> = Vec::new();
        for bytes in [SMALLER_BYTES.min(largest / TIMES_AS_LARGE), largest] {
            let (rows, csv) = file(bytes)?;
            for round in 0..place.wanted.rounds {
                for (way, options) in WAYS {
                    for at in super::in_turn(place.builds.len(), round) {
                        let site = place.site(kind, at, NAME)?;
                        let sample = one(&site, options, rows, &csv)?;
                        add(&mut all, (site.build, way, rows), sample);
                        place.end(site)?;
                    }
                }
            }
        }
        print(kind, &all);
    }
    Ok(())
}

/// So many rows that their body has about so many bytes.
fn file(bytes: u64) -> Result<(u64, String), String> {
    let text = |rows| {
        let mut file = Vec::new();
        bench_file::write(&mut file, rows, Changes::one_in(0)).map_err(|fault| fault.to_string())?;
        String::from_utf8(file).map_err(|fault| fault.to_string())
    };
    let bytes_a_row = json_string(&text(ROWS_TO_ESTIMATE)?).len() as f64 / ROWS_TO_ESTIMATE as f64;
    let rows = (bytes as f64 * SPARED / bytes_a_row) as u64;
    Ok((rows, text(rows)?))
}

/// The body, what the service has before, and the most that it has: in MiB.
fn one(site: &Site, options: Options, rows: u64, csv: &str) -> Result<[f64; 3], String> {
    let import = site.home.import_with(&site.tenant, options, csv)?;
    let id = site.node.process.id;
    memory::reset_peak(id);
    let idle = memory::peak_kib(id);
    let (counts, _) = import.send(&site.node.address)?;
    let added = if matches!(options, Options::Ignore) { 0 } else { rows };
    let expected = Counts { read: rows, added, updated: 0, unchanged: 0 };
    if counts != expected {
        return Err(format!("{NAME}: {counts:?} instead of {expected:?}"));
    }
    let mib = |kib: u64| kib as f64 / 1_024.0;
    Ok([import.body_bytes() as f64 / MIB as f64, mib(idle), mib(memory::peak_kib(id))])
}

fn add(all: &mut Vec<Measured>, (build, way, rows): (&'static str, &'static str, u64), sample: [f64; 3]) {
    let [body_mib, idle, peak] = sample;
    let known = all.iter_mut().find(|one| (one.build, one.way, one.rows) == (build, way, rows));
    if let Some(measured) = known {
        measured.idle_mib.push(idle);
        measured.peak_mib.push(peak);
    } else {
        all.push(Measured { build, way, rows, body_mib, idle_mib: vec![idle], peak_mib: vec![peak] });
    }
}

fn print(kind: Kind, all: &[Measured]) {
    let middle = |of: &[f64]| median(&sorted(of.to_vec()));
    let beyond = |measured: &Measured| middle(&measured.peak_mib) - measured.body_mib;
    let mut table = Aligned::new(&[
        kind.name(),
        "rows are",
        "rows",
        "body, MiB",
        "before it, MiB",
        "peak, MiB",
        "beyond the body, MiB",
        "ratio to the smaller",
    ]);
    for measured in all {
        let same = all.iter().filter(|other| (other.build, other.way) == (measured.build, measured.way));
        let smaller = same.min_by_key(|other| other.rows).map_or(0.0, beyond);
        table.row(vec![
            measured.build.to_owned(),
            measured.way.to_owned(),
            measured.rows.to_string(),
            format!("{:.1}", measured.body_mib),
            format!("{:.0}", middle(&measured.idle_mib)),
            format!("{:.0}", middle(&measured.peak_mib)),
            format!("{:.0}", beyond(measured)),
            format!("{:.2}", beyond(measured) / smaller),
        ]);
    }
    say("");
    table.print();
}
