//! `cargo xtask soak`: steady mixed load for a long time, and whether memory, descriptors and the write-ahead logs stay what they are.
//!
//! The load is in [`load`]. It is paced, and its contacts are the same again and again, so that what grows in the service's
//! memory is not what it was given to keep. Commands are kept for days, so the databases grow; what is judged is what must not.

mod load;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use self::load::{Done, Load, NAMES};
use crate::options::{Options, run_tool};
use crate::service::{Ground, Which};
use crate::{complain, memory, say};

const USAGE: &str =
    "usage: cargo xtask soak [--minutes N | --seconds N] [--home sqlite|postgres] [--debug | --binary PATH]";
/// How often is looked.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// Every so many times the clients are kept from beginning another round, so that what is at work just then is not taken for what is kept.
const QUIET_EVERY: usize = 5;
/// How long the service has then for what it does behind an answer.
const SETTLE: Duration = Duration::from_millis(500);
/// Lines that are shown of a run.
const SHOWN: usize = 12;
/// What memory may grow by after warm-up, in percent.
const GROWTH_PERCENT_MAX: f64 = 5.0;
/// From how long on a run says something about memory: a shorter one is over before all caches are filled.
const JUDGED_FROM: Duration = Duration::from_secs(300);
/// Descriptors that may be more at the end than after warm-up.
const DESCRIPTORS_MORE: f64 = 8.0;
/// The largest that any write-ahead log may be, in MiB. SQLite begins anew at 4 MiB, once nobody reads what is older.
const WAL_MIB_MAX: f64 = 64.0;

struct Wanted {
    which: Which,
    during: Duration,
}

impl Wanted {
    fn of(arguments: &[&str]) -> Result<Wanted, String> {
        let mut wanted = Wanted { which: Which::new(&["sqlite"]), during: Duration::from_secs(600) };
        let mut options = Options::new(arguments);
        while let Some(name) = options.next() {
            match name {
                "--minutes" => wanted.during = Duration::from_secs(60 * options.number::<u64>(name, 1)?),
                "--seconds" => wanted.during = Duration::from_secs(options.number(name, 5)?),
                _ if wanted.which.take(name, &mut options)? => {}
                _ => return Err(format!("soak has no option '{name}'")),
            }
        }
        Ok(wanted)
    }
}

pub(crate) fn run(arguments: &[&str]) -> ExitCode {
    run_tool("soak", USAGE, Wanted::of(arguments), |wanted| {
        let binary = wanted.which.binary()?;
        wanted.which.homes.iter().try_fold(true, |is_well, kind| {
            let ground = Ground::new("soak", kind, &binary)?;
            let here = soaked(wanted, kind, &ground)?;
            if here {
                ground.remove();
            }
            Ok(here && is_well)
        })
    })
}

/// What was seen at one moment.
#[derive(Clone, Copy, Default)]
struct Sample {
    seconds: f64,
    /// No client was at anything.
    is_quiet: bool,
    resident_mib: f64,
    /// Of which no file is behind.
    own_mib: f64,
    descriptors: f64,
    threads: f64,
    /// The largest one.
    wal_mib: f64,
    uploads: f64,
    data_mib: f64,
}

/// A number of a sample, by its name.
type Measure = (&'static str, fn(&Sample) -> f64);

const MEASURES: [Measure; 7] = [
    ("resident memory, MiB", |sample| sample.resident_mib),
    ("of that its own, MiB", |sample| sample.own_mib),
    ("descriptors", |sample| sample.descriptors),
    ("threads", |sample| sample.threads),
    ("largest write-ahead log, MiB", |sample| sample.wal_mib),
    ("uploads as files", |sample| sample.uploads),
    ("data, MiB", |sample| sample.data_mib),
];

impl Sample {
    fn take(id: u32, ground: &Ground, seconds: f64) -> Sample {
        let mib = |kib: u64| kib as f64 / 1_024.0;
        let mut sample = Sample {
            seconds,
            resident_mib: mib(memory::kib_of(id, "VmRSS")),
            own_mib: mib(memory::kib_of(id, "RssAnon")),
            descriptors: memory::descriptors(id) as f64,
            threads: memory::threads(id) as f64,
            ..Sample::default()
        };
        match ground.database_bytes() {
            Some(bytes) => sample.data_mib = bytes as f64 / 1_048_576.0,
            None => sample.look_into(&ground.home.directory.join("data"), false),
        }
        sample
    }

    fn look_into(&mut self, directory: &Path, is_uploads: bool) {
        for entry in fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok) {
            let (name, Ok(about)) = (entry.file_name().to_string_lossy().into_owned(), entry.metadata()) else {
                continue;
            };
            if about.is_dir() {
                self.look_into(&entry.path(), name == "payloads");
                continue;
            }
            let mib = about.len() as f64 / 1_048_576.0;
            self.data_mib += mib;
            if name.ends_with("-wal") {
                self.wal_mib = self.wal_mib.max(mib);
            }
            if is_uploads {
                self.uploads += 1.0;
            }
        }
    }
}

fn soaked(wanted: &Wanted, kind: &str, ground: &Ground) -> Result<bool, String> {
    let load = Load::new(&ground.home)?;
    let node = ground.home.serve("127.0.0.1:0", &ground.home.directory.join("log"))?;
    let id = node.process.id;
    load.is_at(&node.address);
    say(format_args!("{kind}: {} s of {}", wanted.during.as_secs(), NAMES.join(", ")));
    let used = memory::processor_seconds(id);
    let (samples, done) = std::thread::scope(|scope| {
        let clients: Vec<_> = load.clients().map(|client| scope.spawn(move || client.run())).collect();
        let begun = Instant::now();
        let mut samples = Vec::new();
        while begun.elapsed() < wanted.during {
            load.is_warm.store(begun.elapsed() > wanted.during / 5, Ordering::Relaxed);
            let sample = || Sample::take(id, ground, begun.elapsed().as_secs_f64());
            if samples.len().is_multiple_of(QUIET_EVERY) {
                let _quiet = load.quiet.write();
                std::thread::sleep(SETTLE);
                samples.push(Sample { is_quiet: true, ..sample() });
            } else {
                samples.push(sample());
            }
            std::thread::sleep(SAMPLE_EVERY);
        }
        load.stop.store(true, Ordering::Relaxed);
        let mut done = Done::default();
        clients
            .into_iter()
            .for_each(|client| done.add(client.join().unwrap_or_else(|_| Done::fault("a client panicked"))));
        (samples, done)
    });
    let used = memory::processor_seconds(id) - used;
    node.process.stop();
    let log = fs::read_to_string(ground.home.directory.join("log")).unwrap_or_default();
    print_samples(&samples);
    done.print(wanted.during);
    say(format_args!("  processor seconds of the service: {used:.0}"));
    let mut wrong = judge(&samples, wanted.during);
    wrong.extend(done.faults.iter().take(5).map(|fault| format!("a client: {fault}")));
    if log.contains("panicked") || log.contains("incident") {
        wrong.push(format!("the log tells of faults: {}", ground.home.directory.join("log").display()));
    }
    wrong.iter().for_each(|what| complain(format_args!("  WRONG: {what}")));
    Ok(wrong.is_empty())
}

/// The quiet ones, without the warm-up: a fifth.
fn warm(samples: &[Sample]) -> Vec<Sample> {
    let until = samples.last().map_or(0.0, |last| last.seconds / 5.0);
    samples.iter().copied().filter(|sample| sample.is_quiet && sample.seconds > until).collect()
}

fn median(samples: &[Sample], of: fn(&Sample) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What it is by the median in the last third over that in the first, in percent.
fn growth_percent(samples: &[Sample], of: fn(&Sample) -> f64) -> f64 {
    let (first, last) = first_and_last(samples, of);
    // What is never there has not grown.
    if last == first { 0.0 } else { (last / first - 1.0) * 100.0 }
}

/// The medians of the first and of the last third.
fn first_and_last(samples: &[Sample], of: fn(&Sample) -> f64) -> (f64, f64) {
    let third = (samples.len() / 3).max(1).min(samples.len());
    (median(&samples[..third], of), median(&samples[samples.len() - third..], of))
}

/// How much more it is in an hour, by the line that is nearest to all samples.
fn slope_an_hour(samples: &[Sample], of: fn(&Sample) -> f64) -> f64 {
    let count = samples.len() as f64;
    let mean = |of: &dyn Fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (time, value) = (mean(&|sample| sample.seconds), mean(&of));
    let together: f64 = samples.iter().map(|sample| (sample.seconds - time) * (of(sample) - value)).sum();
    let alone: f64 = samples.iter().map(|sample| (sample.seconds - time).powi(2)).sum();
    together / alone * 3_600.0
}

fn print_samples(samples: &[Sample]) {
    let peak = samples.iter().map(|sample| sample.resident_mib).fold(0.0, f64::max);
    say(format_args!("  the most resident memory seen: {peak:.1} MiB; quiet moments:"));
    let row = |first: &str, values: Vec<String>| {
        say(format_args!("  {first:>7}{}", values.iter().map(|value| format!("{value:>14}")).collect::<String>()));
    };
    row(
        "s",
        ["resident MiB", "own MiB", "descriptors", "threads", "wal MiB", "uploads", "data MiB"]
            .map(str::to_owned)
            .to_vec(),
    );
    let quiet: Vec<&Sample> = samples.iter().filter(|sample| sample.is_quiet).collect();
    for sample in quiet.iter().step_by((quiet.len() / SHOWN).max(1)) {
        let values = MEASURES.iter().map(|(_, of)| format!("{:.1}", of(sample))).collect();
        row(&format!("{:.0}", sample.seconds), values);
    }
    let warm = &*warm(samples);
    say("  quiet moments after warm-up (the first fifth), medians of the first and the last third:");
    for (name, of) in MEASURES {
        say(format_args!(
            "    {name:30} {:>9.1} {:>9.1}  {:+.1} %; {:+.1} an hour by least squares",
            first_and_last(warm, of).0,
            first_and_last(warm, of).1,
            growth_percent(warm, of),
            slope_an_hour(warm, of)
        ));
    }
}

fn judge(samples: &[Sample], during: Duration) -> Vec<String> {
    let (warm, mut wrong) = (&*warm(samples), Vec::new());
    if during >= JUDGED_FROM {
        for (name, of) in &MEASURES[..2] {
            let percent = growth_percent(warm, *of);
            if first_and_last(warm, *of).0 <= 0.0 {
                wrong.push(format!("{name}: it could not be read"));
            }
            if percent.is_nan() || percent >= GROWTH_PERCENT_MAX {
                wrong.push(format!("{name}: {percent:.1} % more, {GROWTH_PERCENT_MAX} are allowed"));
            }
        }
    }
    let (first, last) = first_and_last(warm, |sample| sample.descriptors);
    let more = last - first;
    // Written so that what is no number is wrong.
    if more.is_nan() || more > DESCRIPTORS_MORE {
        wrong.push(format!("{more} descriptors more"));
    }
    let wal = samples.iter().map(|sample| sample.wal_mib).fold(0.0, f64::max);
    if wal > WAL_MIB_MAX {
        wrong.push(format!("a write-ahead log of {wal:.0} MiB, {WAL_MIB_MAX} are allowed"));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(of: impl Fn(u32) -> f64) -> Vec<Sample> {
        (0..600)
            .map(|at| Sample {
                is_quiet: true,
                seconds: f64::from(at),
                resident_mib: of(at),
                own_mib: 50.0,
                ..Sample::default()
            })
            .collect()
    }

    #[test]
    fn a_leak_is_told_from_a_cache_that_fills() {
        let during = Duration::from_secs(600);
        let filled = samples(|at| 100.0 + f64::from(at.min(110)));
        assert!(judge(&filled, during).is_empty());
        // 36 MiB an hour, of 100.
        let leak = samples(|at| 100.0 + f64::from(at) / 100.0 + f64::from(at % 7));
        let warm = &*warm(&leak);
        assert!((slope_an_hour(warm, |sample| sample.resident_mib) - 36.0).abs() < 1.0);
        assert!((growth_percent(warm, |sample| sample.resident_mib) - 3.0).abs() < 0.5);
        assert!(judge(&leak, during).is_empty());
        let twice = samples(|at| 100.0 + f64::from(at) / 40.0);
        assert!(judge(&twice, during)[0].starts_with("resident memory, MiB: "));
        assert!(judge(&twice, Duration::from_secs(20)).is_empty(), "a short run does not know");
    }

    #[test]
    fn descriptors_and_logs_are_judged_in_short_runs_too() {
        let of = |at: u32| Sample {
            is_quiet: true,
            seconds: f64::from(at),
            descriptors: f64::from(at),
            wal_mib: 65.0,
            ..Sample::default()
        };
        let wrong = judge(&(0..60).map(of).collect::<Vec<_>>(), Duration::from_secs(60));
        assert_eq!(wrong.len(), 2, "{wrong:?}");
    }

    #[test]
    fn options_are_read_and_checked() {
        let wanted = Wanted::of(&["--minutes", "60", "--home", "postgres"])
            .unwrap_or_else(|sentence| unreachable!("{sentence}"));
        assert_eq!((wanted.during.as_secs(), wanted.which.homes), (3_600, vec!["postgres"]));
        assert_eq!(Wanted::of(&["--seconds", "1"]).err().as_deref(), Some("--seconds is a number from 5 on"));
    }
}
