//! A process that ends with this one, however this one ends.
//!
//! A shell stands between: it waits on a pipe that only this process holds, and kills the other when the pipe ends. Both are in
//! a process group of their own, so that a Ctrl-C at the terminal is for this process alone.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Lines};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// How often it is looked whether a process has ended.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Says the id of the process, becomes it, and kills it at the end of the standard input.
const GUARD: &str = r#"
sh -c 'echo $$; exec "$@"' guarded "$@" </dev/null &
guarded=$!
exec >/dev/null
read -r _
kill -KILL $guarded
wait $guarded
"#;

pub(crate) struct Guarded {
    pub(crate) id: u32,
    output: Lines<BufReader<ChildStdout>>,
    shell: Child,
}

impl Guarded {
    /// Starts it; what it says to standard error goes to a log.
    pub(crate) fn start(
        program: &Path,
        arguments: &[&str],
        env: &[(&str, &str)],
        log: &Path,
    ) -> Result<Guarded, String> {
        let failed = |fault: std::io::Error| format!("{} could not be started: {fault}", program.display());
        let mut shell = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .arg(program)
            .args(arguments)
            .envs(env.iter().copied())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(log).map_err(failed)?)
            .spawn()
            .map_err(failed)?;
        let mut output = BufReader::new(shell.stdout.take().ok_or("no output")?).lines();
        let id = output.next().transpose().map_err(failed)?.and_then(|line| line.parse().ok());
        let id = id.ok_or_else(|| format!("{} did not start", program.display()))?;
        Ok(Guarded { id, output, shell })
    }

    /// The next line that it prints; `None` when it has ended.
    pub(crate) fn line(&mut self) -> Option<String> {
        self.output.next().and_then(Result::ok)
    }

    /// Waits for its end, at most so long; whether it has ended.
    pub(crate) fn ends_within(&self, most: Duration) -> bool {
        let (begun, stat) = (Instant::now(), format!("/proc/{}/stat", self.id));
        loop {
            // Until its shell looks after it, it is there as a zombie. The name, in brackets, may hold anything.
            let stat = fs::read_to_string(&stat).unwrap_or_default();
            let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
            if matches!(state, None | Some('Z' | 'X')) {
                return true;
            }
            let left = most.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return false;
            }
            // It is no child of this process, so nobody says when it ends.
            std::thread::sleep(left.min(LOOK_EVERY));
        }
    }

    /// `kill -9`.
    pub(crate) fn kill(&self) {
        signal(self.id, "KILL");
    }

    /// Lets it finish, and waits until it is gone.
    pub(crate) fn stop(mut self) {
        signal(self.id, "TERM");
        while self.line().is_some() {}
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

fn signal(id: u32, name: &str) {
    // One that is gone needs none.
    let _ = Command::new("kill").args(["-s", name, &id.to_string()]).stderr(Stdio::null()).status();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(script: &str) -> Guarded {
        Guarded::start(Path::new("sh"), &["-c", script], &[("WORD", "here")], Path::new("/dev/null")).expect("started")
    }

    fn is_there(id: u32) -> bool {
        Path::new(&format!("/proc/{id}")).exists()
    }

    #[test]
    fn it_says_its_id_and_its_lines() {
        let mut guarded = start("echo $$; echo $WORD");
        assert_eq!(guarded.line(), Some(guarded.id.to_string()));
        assert_eq!(guarded.line().as_deref(), Some("here"));
        assert_eq!(guarded.line(), None);
    }

    #[test]
    fn it_ends_with_its_value() {
        let mut guarded = start("echo up; exec sleep 600");
        let id = guarded.id;
        assert_eq!(guarded.line().as_deref(), Some("up"));
        assert!(is_there(id));
        drop(guarded);
        assert!(!is_there(id));
    }

    #[test]
    fn its_end_is_seen() {
        let mut guarded = start("echo up; read -r _; exit 3");
        assert!(guarded.ends_within(Duration::from_secs(20)));
        let mut lasting = start("echo up; exec sleep 600");
        assert_eq!((guarded.line().as_deref(), lasting.line().as_deref()), (Some("up"), Some("up")));
        assert!(!lasting.ends_within(Duration::from_millis(5)));
    }

    #[test]
    fn it_may_finish_what_it_is_at() {
        let mut guarded = start("trap 'exit 0' TERM; echo up; while :; do sleep 0.01; done");
        let id = guarded.id;
        assert_eq!(guarded.line().as_deref(), Some("up"));
        guarded.stop();
        assert!(!is_there(id));
    }
}
