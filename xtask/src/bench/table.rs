//! The samples of a run, and the table that is printed of them.

use std::fs;

use super::Sample;
use crate::say;

#[derive(Default)]
pub(super) struct Table {
    cases: Vec<Case>,
}

struct Case {
    name: String,
    /// The service, and what it is measured beside.
    sides: [Measured; 2],
}

#[derive(Default)]
struct Measured {
    name: String,
    samples: Vec<Sample>,
}

impl Table {
    pub(super) fn add(&mut self, case: &str, side: usize, name: &str, sample: Sample) {
        let at = self.cases.iter().position(|known| known.name == case).unwrap_or_else(|| {
            self.cases.push(Case { name: case.to_owned(), sides: Default::default() });
            self.cases.len() - 1
        });
        let measured = &mut self.cases[at].sides[side];
        name.clone_into(&mut measured.name);
        measured.samples.push(sample);
    }

    pub(super) fn print(&self) {
        if self.cases.is_empty() {
            return;
        }
        let mut table = Aligned::new(&[
            "case",
            "roster, s",
            "beside, s",
            "ratio",
            "peak MiB: roster, beside",
            "processor s: roster + its database; beside's database",
        ]);
        for Case { name, sides: [ours, floor] } in &self.cases {
            let ratio = ours.median(Sample::seconds) / floor.median(Sample::seconds);
            let peak = |side: &Measured| side.highest(|sample| sample.peak_kib as f64 / 1_024.0);
            table.row(vec![
                name.clone(),
                ours.spread(),
                format!("{}: {}", floor.name, floor.spread()),
                format!("{ratio:.2}"),
                format!("{:.0}, {:.0}", peak(ours), peak(floor)),
                processors(ours, floor),
            ]);
        }
        say("");
        table.print();
    }

    /// First loads beside what the disk itself takes: `file` in MB, the disk's MB/s.
    pub(super) fn print_floor(&self, file: f64, disk: f64) {
        for case in self.cases.iter().filter(|case| case.name.ends_with("first load")) {
            let ours = file / case.sides[0].median(Sample::seconds);
            say(format_args!(
                "floor of {}: roster {ours:.0} MB/s of the file, the disk {disk:.0} MB/s (dd conv=fsync); ratio {:.2}",
                case.name,
                ours / disk
            ));
        }
    }
}

fn processors(ours: &Measured, floor: &Measured) -> String {
    let service = ours.median(|sample| sample.processor_seconds.unwrap_or(0.0));
    if ours.samples.iter().all(|sample| sample.database_seconds.is_none()) {
        return format!("{service:.2}");
    }
    let database = |side: &Measured| side.median(|sample| sample.database_seconds.unwrap_or(0.0));
    format!("{service:.2} + {:.2}; {:.2}", database(ours), database(floor))
}

impl Sample {
    fn seconds(&self) -> f64 {
        self.took.as_secs_f64()
    }
}

impl Measured {
    fn sorted(&self, of: impl Fn(&Sample) -> f64) -> Vec<f64> {
        sorted(self.samples.iter().map(of).collect())
    }

    fn median(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        median(&self.sorted(of))
    }

    fn highest(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        self.sorted(of).last().copied().unwrap_or(0.0)
    }

    fn spread(&self) -> String {
        spread(&self.sorted(Sample::seconds))
    }
}

/// A table in the form of the pages, so that it can be put there as it is, and aligned, so that it can be read where it is printed.
pub(super) struct Aligned {
    /// The names of the columns, then the rows.
    lines: Vec<Vec<String>>,
}

impl Aligned {
    pub(super) fn new(columns: &[&str]) -> Aligned {
        Aligned { lines: vec![columns.iter().map(|&name| name.to_owned()).collect()] }
    }

    /// As many cells as there are columns.
    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.lines.push(cells);
    }

    pub(super) fn print(&self) {
        self.text().iter().for_each(say);
    }

    fn text(&self) -> Vec<String> {
        let columns = self.lines.first().map_or(0, Vec::len);
        let width = |at: usize| self.lines.iter().map(|cells| cells[at].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |cells: &Vec<String>| {
            let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            format!("| {} |", padded.collect::<Vec<_>>().join(" | "))
        };
        let mut text: Vec<String> = self.lines.iter().map(line).collect();
        let rule = widths.iter().map(|width| "-".repeat(*width)).collect::<Vec<_>>().join(" | ");
        text.insert(1, format!("| {rule} |"));
        text
    }
}

pub(super) fn sorted(mut numbers: Vec<f64>) -> Vec<f64> {
    numbers.sort_by(f64::total_cmp);
    numbers
}

/// Of sorted numbers.
pub(super) fn median(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => sorted[half],
        _ => f64::midpoint(sorted[half - 1], sorted[half]),
    }
}

/// The median, and from where to where, of sorted numbers.
fn spread(sorted: &[f64]) -> String {
    let (lowest, highest) = (sorted.first().copied().unwrap_or(0.0), sorted.last().copied().unwrap_or(0.0));
    format!("{:.2} ({lowest:.2}–{highest:.2})", median(sorted))
}

/// What it is measured on.
pub(super) fn machine() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut models = text.lines().filter_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = models.next().map_or("an unknown processor", |(_, model)| model);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{cores} cores of {model}, Linux {}; {}", kernel.trim(), load())
}

/// Whether others are at work.
pub(super) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("load average {}", text.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned() {
        let mut table = Aligned::new(&["case", "µs"]);
        table.row(vec!["one".to_owned(), "1,234".to_owned()]);
        assert_eq!(table.text(), ["| case | µs    |", "| ---- | ----- |", "| one  | 1,234 |"]);
    }

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median(&sorted(vec![3.0, 1.0, 2.0])), 2.0);
        assert_eq!(median(&sorted(vec![4.0, 1.0, 2.0, 3.0])), 2.5);
        assert_eq!(spread(&sorted(vec![3.0, 1.0, 2.0])), "2.00 (1.00–3.00)");
    }
}
