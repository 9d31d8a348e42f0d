//! Pictures of counts, as numbers for SVG: the rows of each day by outcome, and one import's rows as a bar. What each shows is in words beside
//! it, too.

use super::words;
use crate::import::Counts;
use crate::store::DayTally;

/// The size of the chart's drawing, in its own units.
pub(super) const WIDTH: u32 = 900;
const HEIGHT: u32 = 160;
/// Room at the left for the scale.
const LEFT: u32 = 56;
/// Room between two days, of a day's width.
const GAP: f64 = 0.25;
/// What is there is seen, however little it is.
const LEAST: f64 = 1.5;

/// The fates of rows in the order in which they are drawn. Each is also the name of its colour.
const FATES: [&str; 5] = ["unchanged", "updated", "added", "ignored", "failed"];

fn of_fates(counts: &Counts) -> [u64; 5] {
    let Counts { read: _, added, updated, unchanged, ignored, failed } = *counts;
    [unchanged, updated, added, ignored, failed]
}

/// The days.
pub(super) struct Chart {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) left: u32,
    pub(super) bars: Vec<Bar>,
    pub(super) lines: Vec<ScaleLine>,
    pub(super) labels: Vec<(String, String)>,
    /// The same as a table, newest first; days without imports are left out.
    pub(super) rows: Vec<DayRow>,
    pub(super) legend: [&'static str; 5],
}

/// A piece of a day.
pub(super) struct Bar {
    pub(super) x: String,
    pub(super) y: String,
    pub(super) width: String,
    pub(super) height: String,
    pub(super) fate: &'static str,
    pub(super) title: String,
}

/// A line of the scale.
pub(super) struct ScaleLine {
    pub(super) y: String,
    pub(super) label: String,
}

/// A day in words.
pub(super) struct DayRow {
    pub(super) date: String,
    pub(super) imports: String,
    pub(super) bad: u64,
    pub(super) counts: Vec<String>,
}

/// The rows of each day from one to another, of all programs together; `None` if there are none.
pub(super) fn chart(tallies: &[DayTally], from: i64, to: i64) -> Option<Chart> {
    let days: Vec<(i64, Counts, u64, u64)> = (from..=to).map(|day| total(tallies, day)).collect();
    let top = scale_top(days.iter().map(|(_, counts, ..)| of_fates(counts).iter().sum()).max()?);
    if days.iter().all(|(_, _, imports, _)| *imports == 0) {
        return None;
    }
    let step = f64::from(WIDTH - LEFT) / days.len() as f64;
    let mut bars = Vec::new();
    for ((day, counts, ..), at) in days.iter().zip(0_u32..) {
        let x = f64::from(LEFT) + f64::from(at) * step + step * GAP / 2.0;
        let mut y = f64::from(HEIGHT);
        for (fate, count) in FATES.into_iter().zip(of_fates(counts)) {
            if count == 0 {
                continue;
            }
            let height = (count as f64 / top as f64 * f64::from(HEIGHT)).max(LEAST);
            y -= height;
            let title = format!("{}: {} {fate}", words::short_date(*day), words::count(count, "row", "rows"));
            let [x, y, width, height] = [x, y, step * (1.0 - GAP), height].map(|number| format!("{number:.1}"));
            bars.push(Bar { x, y, width, height, fate, title });
        }
    }
    let line = |share: u64| ScaleLine {
        y: format!("{:.1}", f64::from(HEIGHT) - f64::from(HEIGHT) * share as f64 / 2.0),
        label: words::number(top * share / 2),
    };
    let labelled = days.iter().zip(0_u32..).filter(|(_, at)| (days.len() as u32 - 1 - at).is_multiple_of(7));
    let label = |((day, ..), at): (&(i64, Counts, u64, u64), u32)| {
        (format!("{:.1}", f64::from(LEFT) + (f64::from(at) + 0.5) * step), words::short_date(*day))
    };
    let with_imports = days.iter().rev().filter(|(_, _, imports, _)| *imports > 0);
    let row = |(day, counts, imports, bad): &(i64, Counts, u64, u64)| DayRow {
        date: words::date(*day),
        imports: words::number(*imports),
        bad: *bad,
        counts: of_fates(counts).map(words::number).to_vec(),
    };
    Some(Chart {
        width: WIDTH,
        height: HEIGHT,
        left: LEFT,
        bars,
        lines: [0, 1, 2].map(line).into(),
        labels: labelled.map(label).collect(),
        rows: with_imports.map(row).collect(),
        legend: FATES,
    })
}

fn total(tallies: &[DayTally], day: i64) -> (i64, Counts, u64, u64) {
    let (mut counts, mut imports, mut bad) = (Counts::default(), 0, 0);
    for tally in tallies.iter().filter(|tally| tally.day == day) {
        let Counts { read, added, updated, unchanged, ignored, failed } = tally.counts;
        counts.read += read;
        counts.added += added;
        counts.updated += updated;
        counts.unchanged += unchanged;
        counts.ignored += ignored;
        counts.failed += failed;
        imports += tally.imports;
        bad += tally.bad_imports;
    }
    (day, counts, imports, bad)
}

/// The next round number of which the half is a whole number.
fn scale_top(most: u64) -> u64 {
    let mut unit = 1_u64;
    loop {
        // From ten on the half of an odd number has no fraction, either.
        let steps: &[u64] = if unit > 1 { &[2, 3, 4, 5, 6, 8, 10] } else { &[2, 4, 6, 8, 10] };
        for step in steps {
            let top = unit.saturating_mul(*step);
            if top >= most {
                return top;
            }
        }
        unit = unit.saturating_mul(10);
    }
}

/// One import's rows as a bar of a hundred units.
pub(super) fn bar(counts: &Counts) -> Vec<Bar> {
    let all: u64 = of_fates(counts).iter().sum();
    let mut x = 0.0;
    let mut pieces = Vec::new();
    for (fate, count) in FATES.into_iter().zip(of_fates(counts)) {
        if count == 0 {
            continue;
        }
        let width = count as f64 / all as f64 * 100.0;
        let title = format!("{} {fate}", words::count(count, "row", "rows"));
        let piece = |number: f64| format!("{number:.3}");
        pieces.push(Bar { x: piece(x), y: "0".to_owned(), width: piece(width), height: "8".to_owned(), fate, title });
        x += width;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::tenant::ProgramId;

    fn tally(day: i64, counts: Counts) -> DayTally {
        DayTally { program: ProgramId(Uuid::nil()), day, imports: 1, bad_imports: u64::from(counts.failed > 0), counts }
    }

    #[test]
    fn the_scale_is_of_round_numbers() {
        assert_eq!(
            [0, 1, 2, 3, 5, 11, 21, 99, 101, 1_000_001].map(scale_top),
            [2, 2, 2, 4, 6, 20, 30, 100, 200, 2_000_000]
        );
        assert!(scale_top(u64::MAX) == u64::MAX);
    }

    #[test]
    fn a_day_is_as_high_as_its_rows() {
        let counts = Counts { read: 100, added: 50, unchanged: 49, failed: 1, ..Counts::default() };
        let chart = chart(&[tally(10, counts), tally(10, counts), tally(12, counts)], 10, 12).expect("something");
        let heights: Vec<&str> = chart.bars.iter().map(|bar| bar.height.as_str()).collect();
        assert_eq!(heights, ["78.4", "80.0", "1.6", "39.2", "40.0", "1.5"], "of 200 rows in 160 units");
        assert_eq!(chart.bars[0].title, "11 Jan: 98 rows unchanged");
        assert_eq!(chart.rows.iter().map(|row| row.date.as_str()).collect::<Vec<_>>(), ["1970-01-13", "1970-01-11"]);
        assert_eq!(chart.rows[1].counts, ["98", "0", "100", "0", "2"]);
        assert!(super::chart(&[], 10, 12).is_none());
    }

    #[test]
    fn a_bar_has_a_hundred_units() {
        let bars = bar(&Counts { read: 8, added: 4, failed: 4, ..Counts::default() });
        assert_eq!(
            bars.iter().map(|bar| (&*bar.x, &*bar.width)).collect::<Vec<_>>(),
            [("0.000", "50.000"), ("50.000", "50.000")]
        );
        assert!(bar(&Counts::default()).is_empty());
    }
}
