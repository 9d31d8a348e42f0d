//! What processes have used, by `/proc`.

use std::fs;

/// Clock ticks a second in `/proc/<id>/stat`: the same on every Linux that there is.
const TICKS_A_SECOND: f64 = 100.0;

/// The most memory that a process has had at once, shared pages included, in KiB; 0 if it is gone.
pub(crate) fn peak_kib(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    peak_kib_of(&status)
}

/// The same, of the text of a status.
pub(crate) fn peak_kib_of(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.trim().strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.trim().strip_suffix(" kB")).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// KiB of a line of a process's status, as `VmRSS` or `RssAnon`; 0 if it is gone.
pub(crate) fn kib_of(id: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|rest| rest.trim().strip_suffix(" kB")).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Files and connections that a process has open.
pub(crate) fn descriptors(id: u32) -> usize {
    fs::read_dir(format!("/proc/{id}/fd")).map_or(0, Iterator::count)
}

/// Threads of a process.
pub(crate) fn threads(id: u32) -> usize {
    fs::read_dir(format!("/proc/{id}/task")).map_or(0, Iterator::count)
}

/// Lets a process's peak begin anew at what it has now.
pub(crate) fn reset_peak(id: u32) {
    let _ = fs::write(format!("/proc/{id}/clear_refs"), "5");
}

/// Seconds of processor time that a process has used so far.
pub(crate) fn processor_seconds(id: u32) -> f64 {
    stat(id).map_or(0.0, |stat| stat.seconds)
}

/// The same of a process and all that it has started, those that have ended too.
pub(crate) fn processor_seconds_with_children(id: u32) -> f64 {
    let ids = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let ids = ids.filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok());
    let children = ids.filter_map(stat).filter(|stat| stat.parent == id).map(|stat| stat.seconds).sum::<f64>();
    children + stat(id).map_or(0.0, |stat| stat.seconds + stat.seconds_of_ended)
}

struct Stat {
    parent: u32,
    seconds: f64,
    /// Of those that it has started and that have ended.
    seconds_of_ended: f64,
}

fn stat(id: u32) -> Option<Stat> {
    stat_of(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
}

/// The name, in brackets, may hold anything; what follows it are numbers.
fn stat_of(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let seconds = |at: usize| {
        let ticks = fields.get(at)?.parse::<f64>().ok()? + fields.get(at + 1)?.parse::<f64>().ok()?;
        Some(ticks / TICKS_A_SECOND)
    };
    Some(Stat { parent: fields.get(1)?.parse().ok()?, seconds: seconds(11)?, seconds_of_ended: seconds(13)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_read() {
        assert_eq!(peak_kib_of("Name:\tx\nVmHWM:\t    1234 kB\nVmRSS:\t 1000 kB\n"), 1_234);
        assert_eq!(peak_kib_of("Name:\tzombie\n"), 0);
        assert!(peak_kib(std::process::id()) > 500, "of this process");
    }

    #[test]
    fn a_name_may_hold_anything() {
        let stat = stat_of("42 (a) b (c) S 7 42 42 0 -1 0 0 0 0 0 150 50 9 9 20 0").expect("readable");
        assert_eq!((stat.parent, stat.seconds, stat.seconds_of_ended), (7, 2.0, 0.18));
    }
}
