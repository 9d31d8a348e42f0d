//! A sequence that differs, made as short and as plain as it can be and still differ. proptest's own shrinking goes byte by byte, and each
//! try costs a tenth of a second here; this one leaves out the most first.

use std::time::{Duration, Instant};

use super::{Import, Step};

/// When it is given up, in seconds: what differs may be that something never ends.
const SECONDS_MAX: u64 = 180;

/// The shortest sequence that was found, and what differs in it.
pub(super) fn shortest(
    steps: Vec<Step>,
    reason: String,
    mut differs: impl FnMut(&[Step]) -> Option<String>,
) -> (Vec<Step>, String) {
    let (mut best, begun) = ((steps, reason), Instant::now());
    let mut is_worse = |steps: Vec<Step>, best: &mut (Vec<Step>, String)| {
        let found =
            (begun.elapsed() < Duration::from_secs(SECONDS_MAX) && steps != best.0).then(|| differs(&steps)).flatten();
        found.map(|reason| *best = (steps, reason)).is_some()
    };
    loop {
        let before = best.0.clone();
        for piece in pieces(before.len()) {
            let mut at = 0;
            while at < best.0.len() {
                let mut steps = best.0.clone();
                steps.drain(at..(at + piece).min(steps.len()));
                if !is_worse(steps, &mut best) {
                    at += piece;
                }
            }
        }
        for at in 0..best.0.len() {
            // A plainer step may make others plainer: each is begun with anew.
            let mut passed = 0;
            while let Some(step) = plainer(&best.0[at]).nth(passed) {
                let mut steps = best.0.clone();
                steps[at] = step;
                if !is_worse(steps, &mut best) {
                    passed += 1;
                }
            }
        }
        if best.0 == before {
            return best;
        }
    }
}

/// A half, a quarter, and so on, down to 1.
fn pieces(length: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(length.div_ceil(2)), |piece| Some(piece / 2)).take_while(|piece| *piece > 0)
}

/// The same step with something plainer.
fn plainer(step: &Step) -> Box<dyn Iterator<Item = Step>> {
    let less = |number: u8| [0, 1, number / 2].into_iter().filter(move |less| *less < number);
    match step.clone() {
        Step::Import(import) => Box::new(plainer_import(import).map(Step::Import)),
        Step::Again { which } => Box::new(less(which).map(|which| Step::Again { which })),
        Step::SameKey { which, is_other } => Box::new(less(which).map(move |which| Step::SameKey { which, is_other })),
        Step::Cancel { token, which } => Box::new(
            (less(token).map(move |token| Step::Cancel { token, which }))
                .chain(less(which).map(move |which| Step::Cancel { token, which })),
        ),
        Step::Look { token, which } => Box::new(
            (less(token).map(move |token| Step::Look { token, which }))
                .chain(less(which).map(move |which| Step::Look { token, which })),
        ),
        Step::NewToken { kind } => Box::new(less(kind).map(|kind| Step::NewToken { kind })),
        Step::Revoke { token } => Box::new(less(token).map(|token| Step::Revoke { token })),
        Step::Rotate { token, overlaps } => Box::new(less(token).map(move |token| Step::Rotate { token, overlaps })),
        Step::Kill => Box::new([Step::Terminate].into_iter()),
        Step::Hold => Box::new([Step::Settle].into_iter()),
        Step::Read { program, count, by_offset: true, active } => {
            Box::new([Step::Read { program, count, by_offset: false, active }].into_iter())
        }
        Step::Read { .. } | Step::List { .. } | Step::Settle | Step::Release | Step::Terminate => {
            Box::new(std::iter::empty())
        }
    }
}

fn plainer_import(import: Import) -> impl Iterator<Item = Import> {
    let Import { token, with_old_secret, program, is_stream, key, waits, ref bytes } = import;
    let mut all = Vec::new();
    // In order: what leaves out the most.
    for piece in pieces(bytes.len()) {
        for at in (0..bytes.len()).step_by(piece).rev() {
            let mut bytes = bytes.clone();
            bytes.drain(at..(at + piece).min(bytes.len()));
            all.push(Import { bytes, ..import.clone() });
        }
    }
    let plain = [
        (token > 0).then(|| Import { token: 0, ..import.clone() }),
        with_old_secret.then(|| Import { with_old_secret: false, ..import.clone() }),
        (program > 0).then(|| Import { program: 0, ..import.clone() }),
        is_stream.then(|| Import { is_stream: false, ..import.clone() }),
        key.map(|_| Import { key: None, ..import.clone() }),
        waits.then(|| Import { waits: false, ..import.clone() }),
    ];
    all.splice(0..0, plain.into_iter().flatten());
    for at in (0..bytes.len()).filter(|at| bytes[*at] > 0) {
        let mut bytes = bytes.clone();
        bytes[at] = 0;
        all.push(Import { bytes, ..import.clone() });
    }
    all.into_iter()
}
