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

    /// In the form of the pages, so that it can be put there as it is.
    pub(super) fn print(&self) {
        if self.cases.is_empty() {
            return;
        }
        say("
| case | roster, s | beside, s | ratio | peak MiB: roster, beside | processor s: roster + its database; beside's database |
| --- | --- | --- | --- | --- | --- |");
        for Case { name, sides: [ours, floor] } in &self.cases {
            let ratio = ours.median(Sample::seconds) / floor.median(Sample::seconds);
            say(format_args!(
                "| {name} | {} | {}: {} | {ratio:.2} | {:.0}, {:.0} | {} |",
                ours.spread(),
                floor.name,
                floor.spread(),
                ours.highest(|sample| sample.peak_kib as f64 / 1_024.0),
                floor.highest(|sample| sample.peak_kib as f64 / 1_024.0),
                processors(ours, floor),
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
    fn a_median_is_in_the_middle() {
        assert_eq!(median(&sorted(vec![3.0, 1.0, 2.0])), 2.0);
        assert_eq!(median(&sorted(vec![4.0, 1.0, 2.0, 3.0])), 2.5);
        assert_eq!(spread(&sorted(vec![3.0, 1.0, 2.0])), "2.00 (1.00–3.00)");
    }
}
