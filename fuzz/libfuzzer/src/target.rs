//! One binary for all targets, so that it is linked once: `FUZZ_TARGET` names the one that is run.
#![no_main]

use std::sync::LazyLock;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET names a target");
    roster_fuzz::TARGETS.iter().find(|target| target.name == name).expect("a target of that name").run
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| TARGET(data));
