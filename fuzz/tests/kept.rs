//! The targets, with stable Rust: over the kept corpus, and over mutations of it. The seed is fixed, so a failure comes again.
//!
//! `FUZZ_SECONDS` (whole) makes it go on for so long a target with a seed from `FUZZ_SEED`; `FUZZ_TARGET` names one target.
#![allow(clippy::panic, clippy::print_stdout, missing_docs, reason = "a test says so by failing")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};
use std::{env, fs};

use roster_fuzz::{TARGETS, Target};

/// A few seconds for all targets in a debug build.
const MUTATIONS: u64 = 20_000;
const INPUT_BYTES_MAX: usize = 4_096;

#[test]
fn the_kept_corpus_and_mutations_of_it_hold() {
    let only = env::var("FUZZ_TARGET").ok();
    let seconds = env::var("FUZZ_SECONDS").ok().map(|seconds| seconds.parse().expect("seconds"));
    let seed = env::var("FUZZ_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    for target in TARGETS.iter().filter(|target| only.as_deref().is_none_or(|only| only == target.name)) {
        let corpus = corpus(target.name);
        corpus.iter().for_each(|input| run(target, input));
        let begun = Instant::now();
        let mut random = Random(seed);
        let mut runs = 0;
        let goes_on = |runs: u64| match seconds {
            Some(seconds) => begun.elapsed() < Duration::from_secs(seconds),
            None => runs < MUTATIONS,
        };
        while goes_on(runs) {
            run(target, &mutated(&corpus, &mut random));
            runs += 1;
        }
        println!("{}: {runs} mutations in {:.1} s", target.name, begun.elapsed().as_secs_f64());
    }
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut files: Vec<_> = fs::read_dir(&folder).expect("a folder").map(|file| file.expect("a file").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files.iter().map(|file| fs::read(file).expect("it can be read")).collect()
}

fn run(target: &Target, input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_err() {
        panic!("{} fails with b\"{}\"", target.name, input.escape_ascii());
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    /// Below `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }
}

/// What syntax is made of, more often than chance would have it.
const PIECES: [&str; 32] = [
    "\"",
    "\"\"",
    ",",
    "\n",
    "\r",
    "\r\n",
    " ",
    "\t",
    "\\",
    "\\u",
    "\\ud83d\\ude00",
    "\\\"",
    "{",
    "}",
    "[",
    "]",
    ":",
    "=",
    ";",
    "+",
    "-",
    ".",
    "0",
    "00",
    "1",
    "9",
    "e",
    "T",
    "Z",
    "é",
    "\u{a0}",
    "\0",
];

fn mutated(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(4) {
        let at = random.below(input.len() + 1);
        let end = at + random.below((input.len() - at).min(16) + 1);
        match random.below(6) {
            0 => drop(input.drain(at..end)),
            1 => drop(input.splice(at..at, PIECES[random.below(PIECES.len())].bytes())),
            2 => drop(input.splice(at..end, PIECES[random.below(PIECES.len())].bytes())),
            3 => {
                let copied = input[at..end].to_vec();
                let to = random.below(input.len() + 1);
                input.splice(to..to, copied);
            }
            4 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = random.below(256) as u8;
                }
            }
        }
    }
    input.truncate(INPUT_BYTES_MAX);
    input
}
