//! Random imports: every option, every size, and every kind of row that the model knows, right and wrong.

use super::model::{COLUMNS, Import, Program};
use crate::harness::nth_phone;

/// A stream of numbers that a seed determines (SplitMix64).
#[derive(Clone)]
pub(super) struct Random(u64);

impl Random {
    /// The streams of one seed are independent.
    pub(super) fn new(seed: u64, stream: u64) -> Random {
        let mut random = Random(seed ^ stream.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        Random(random.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below this.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(super) fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

/// The next import of a program; in a big one, some have thousands of rows.
pub(super) fn import(random: &mut Random, program: &Program, is_big: bool) -> Import {
    let rows = match random.below(10) {
        0 => 1,
        1..6 => 1 + random.below(12),
        6..9 => 10 + random.below(90),
        _ if is_big => 500 + random.below(3_000),
        _ => 100 + random.below(200),
    };
    // Wrong rows: none, few, or many.
    let wrong_one_in = random.pick(&[u64::MAX, u64::MAX, 200, 8]);
    let first = random.below(100);
    let rows = (first..first + rows).map(|number| row(random, program, number, wrong_one_in)).collect();
    let fields = COLUMNS.into_iter().filter(|_| !random.one_in(3)).collect();
    let fields = (!random.one_in(4)).then_some(fields);
    Import { adds: !random.one_in(4), fields, is_tx: random.one_in(2), rows }
}

fn row(random: &mut Random, program: &Program, number: u64, wrong_one_in: u64) -> Vec<String> {
    let name = |number: u64| format!("c{number}");
    let mut row = [
        String::new(),
        name(number),
        nth_phone(number),
        random.pick(&["Zoë", "O'Neil, Ann", "  Bo\t", ""]).to_owned(),
        random.pick(&["true", "yes", "no"]).to_owned(),
        random.pick(&["yes", "false", ""]).to_owned(),
        random.pick(&["0", "+007", "28"]).to_owned(),
        random.pick(&["", "two\nlines", "a \"quote\""]).to_owned(),
    ]
    .to_vec();
    // Most contacts are named by customer_id, some by their phone alone, and some by the id that they were given.
    match random.below(20) {
        0 => row[1].clear(),
        1..5 if !program.ids.is_empty() => {
            let at = random.below(program.ids.len() as u64);
            row[0] = program.ids[usize::try_from(at).unwrap()].clone();
            match random.below(4) {
                // Its customer_id and phone are to be those of a contact that there may be already.
                0 => {}
                1 => row[1] = format!("renamed{}", random.below(1_000)),
                _ => row[1].clear(),
            }
        }
        _ => {}
    }
    if random.one_in(wrong_one_in) {
        match random.below(9) {
            0 => row.push("too many".to_owned()),
            1 => row[0] = "no-uuid".to_owned(),
            2 => row[0] = format!("00000000-0000-4000-8000-{:012x}", random.below(1 << 40)),
            3 => row[2] = "12345".to_owned(),
            4 => row[2].clear(),
            5 => row[2] = nth_phone(number + 1),
            6 => row[4].clear(),
            7 => (row[5], row[6]) = ("maybe".to_owned(), "many".to_owned()),
            _ => row[1] = name(number.saturating_sub(1)),
        }
    }
    row
}

/// As RFC 4180 writes it.
pub(super) fn csv(import: &Import) -> String {
    let mut csv = COLUMNS.join(",") + "\n";
    for row in &import.rows {
        let cells: Vec<String> = row.iter().map(|cell| quoted(cell)).collect();
        csv.push_str(&cells.join(","));
        csv.push('\n');
    }
    csv
}

fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_owned() }
}
