//! The whole service against a model that does one thing after the other: random sequences of imports, cancellations, the same requests again,
//! tokens and restarts. What differs is made as short as it can be, and printed (docs/RELIABILITY.md).
//!
//! `ROSTER_MODEL_CASES` says how many sequences each home gets, `ROSTER_MODEL_SEED` which.

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use roster::{contact, import};

use crate::harness::Home;
use made_up::Choices;
use world::{Ground, World};

#[path = "../support/contract.rs"]
mod contract;
#[path = "../support/made_up.rs"]
mod made_up;
mod shown;
mod shrinking;
mod world;

scenes!(the_service_does_what_the_model_does);

/// A few seconds for each home.
const CASES: u32 = 6;
const SEED: u64 = 20_261_128;
/// After so many sequences it is said how far it is.
const TOLD_EVERY: u32 = 50;
/// The most steps of a sequence.
const STEPS_MAX: usize = 60;
/// The most bytes that an import is made up of.
const IMPORT_BYTES_MAX: usize = 100;

/// A thing that is done. What it is done to is chosen among what there is.
#[derive(Clone, PartialEq)]
enum Step {
    Import(Import),
    /// The very same request.
    Again {
        which: u8,
    },
    /// The same import, signed anew, with the `Idempotency-Key` that it had; or another import with that key.
    SameKey {
        which: u8,
        is_other: bool,
    },
    Cancel {
        token: u8,
        which: u8,
    },
    Look {
        token: u8,
        which: u8,
    },
    Read {
        program: u8,
        count: u8,
        by_offset: bool,
        active: bool,
    },
    List {
        program: u8,
    },
    /// Waits until every import is complete.
    Settle,
    /// From now on no import that begins comes to its end.
    Hold,
    Release,
    NewToken {
        kind: u8,
    },
    Revoke {
        token: u8,
    },
    Rotate {
        token: u8,
        overlaps: bool,
    },
    Terminate,
    Kill,
}

/// An import that is sent.
#[derive(Clone, PartialEq)]
struct Import {
    token: u8,
    /// Signed with the secret that the token had before its last rotation.
    with_old_secret: bool,
    program: u8,
    is_stream: bool,
    key: Option<u8>,
    waits: bool,
    /// Options and file.
    bytes: Vec<u8>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let import = (
        any::<u8>(),
        proptest::bool::weighted(0.2),
        any::<u8>(),
        any::<bool>(),
        proptest::option::weighted(0.3, 0..3_u8),
        any::<bool>(),
        proptest::collection::vec(any::<u8>(), 0..IMPORT_BYTES_MAX),
    );
    let import = import.prop_map(|(token, with_old_secret, program, is_stream, key, waits, bytes)| {
        Step::Import(Import { token, with_old_secret, program, is_stream, key, waits, bytes })
    });
    let any_two = || (any::<u8>(), any::<u8>());
    let step = prop_oneof![
        14 => import,
        2 => any::<u8>().prop_map(|which| Step::Again { which }),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(which, is_other)| Step::SameKey { which, is_other }),
        5 => any_two().prop_map(|(token, which)| Step::Cancel { token, which }),
        2 => any_two().prop_map(|(token, which)| Step::Look { token, which }),
        3 => (any_two(), any::<bool>(), any::<bool>())
            .prop_map(|((program, count), by_offset, active)| Step::Read { program, count, by_offset, active }),
        1 => any::<u8>().prop_map(|program| Step::List { program }),
        2 => Just(Step::Settle),
        4 => Just(Step::Hold),
        1 => Just(Step::Release),
        1 => any::<u8>().prop_map(|kind| Step::NewToken { kind }),
        1 => any::<u8>().prop_map(|token| Step::Revoke { token }),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(token, overlaps)| Step::Rotate { token, overlaps }),
        1 => Just(Step::Terminate),
        2 => Just(Step::Kill),
    ];
    proptest::collection::vec(step, 1..STEPS_MAX)
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Step::Import(import) => import.fmt(f),
            Step::Again { which } => write!(f, "the request {which} again"),
            Step::SameKey { which, is_other: false } => write!(f, "the request {which} signed anew, if it has a key"),
            Step::SameKey { which, is_other: true } => write!(f, "another request with the key of {which}"),
            Step::Cancel { token, which } => write!(f, "cancel {which} with token {token}"),
            Step::Look { token, which } => write!(f, "look at {which} with token {token}"),
            Step::Read { program, count, by_offset, active } => {
                let way = if *by_offset { "offset" } else { "link" };
                let which = if *active { "active ones" } else { "all" };
                write!(f, "read {which} of program {program}, {count} a page, by {way}")
            }
            Step::List { program } => write!(f, "list the imports of program {program}"),
            Step::Settle => write!(f, "wait for all imports"),
            Step::Hold => write!(f, "wait for all imports, then hold what begins"),
            Step::Release => write!(f, "let go on what is held"),
            Step::NewToken { kind } => write!(f, "a new token of kind {kind}"),
            Step::Revoke { token } => write!(f, "revoke token {token}"),
            Step::Rotate { token, overlaps } => write!(f, "rotate token {token}, the old secret holds: {overlaps}"),
            Step::Terminate => write!(f, "terminate and start"),
            Step::Kill => write!(f, "kill -9 and start"),
        }
    }
}

impl std::fmt::Debug for Import {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Import { token, with_old_secret, program, is_stream, key, waits, bytes } = self;
        let (options, file) = made_up::import(&mut Choices::new(bytes), &|number| format!("<{number}>"));
        let form = if *is_stream { "as a file" } else { "in JSON" };
        let old = if *with_old_secret { " and its old secret" } else { "" };
        let key = key.map_or(String::new(), |key| format!(", key {key}"));
        let waits = if *waits { ", waiting" } else { "" };
        let words = made_up::words(&options);
        write!(
            f,
            "import into program {program} with token {token}{old}, {form}{key}{waits}: {words}: {:?}",
            file.csv()
        )
    }
}

fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name}: '{value}'")))
}

fn the_service_does_what_the_model_does(home: Home) {
    let (cases, seed) = (setting("ROSTER_MODEL_CASES", CASES), setting("ROSTER_MODEL_SEED", SEED));
    let mut ground = Ground::new(home);
    let mut chosen = [0; 32];
    chosen[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &chosen));
    for case in 1..=cases {
        let steps = steps().new_tree(&mut runner).unwrap().current();
        let Some(reason) = differs(&mut ground, &steps) else {
            if case % TOLD_EVERY == 0 {
                eprintln!("{case} sequences of ROSTER_MODEL_SEED={seed}: {:?}", ground.done);
            }
            continue;
        };
        eprintln!("sequence {case} of ROSTER_MODEL_SEED={seed} differs, and is made shorter: {reason}");
        let (steps, reason) = shrinking::shortest(steps, reason, |steps| differs(&mut ground, steps));
        let steps: Vec<String> = steps.iter().map(|step| format!("  {step:?}")).collect();
        panic!("sequence {case} of ROSTER_MODEL_SEED={seed}: {reason}\nafter\n{}", steps.join("\n"));
    }
    eprintln!("all {cases} sequences of ROSTER_MODEL_SEED={seed}: {:?}", ground.done);
}

/// Does the steps, and says what differs, if something does.
fn differs(ground: &mut Ground, steps: &[Step]) -> Option<String> {
    if !ground.is_fit() {
        // A service that cannot start any more shows nothing about other steps.
        return None;
    }
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(ground);
        steps.iter().try_for_each(|step| world.take(step)).and_then(|()| world.end())
    }));
    match outcome {
        Ok(outcome) => outcome.err(),
        Err(panic) => {
            let words = panic.downcast_ref::<String>().map(String::as_str);
            Some(words.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned())
        }
    }
}
