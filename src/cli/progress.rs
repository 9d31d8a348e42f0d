//! Bars on a terminal's standard error. Where that is no terminal, or quiet is asked for, nothing is drawn.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::app::Watcher;
use crate::wire::Progress;

use super::output::Output;

/// How often a bar turns while nothing is heard.
const TICK: Duration = Duration::from_millis(120);

/// A bar for the bytes of an upload.
pub(super) fn upload(bytes: u64, output: Output) -> ProgressBar {
    bar(bytes, "{spinner} sending  {wide_bar} {bytes}/{total_bytes} {msg}", output)
}

/// A bar for a file that is read before it is sent.
pub(super) fn preparing(bytes: u64, output: Output) -> ProgressBar {
    bar(bytes, "{spinner} reading  {wide_bar} {bytes}/{total_bytes} {msg}", output)
}

/// A count of bytes that come, of which nobody knows how many there will be. Not where they go to the same terminal.
pub(super) fn download(is_to_terminal: bool, output: Output) -> ProgressBar {
    let bar = bar(0, "{spinner} {bytes} ({bytes_per_sec})", Output { quiet: output.quiet || is_to_terminal, ..output });
    bar.unset_length();
    bar.enable_steady_tick(TICK);
    bar
}

/// Shows a bar while files are copied: the work tells how far it is.
pub(super) fn of_copy<T>(output: Output, work: impl FnOnce(Watcher<'_>) -> T) -> T {
    let bar = bar(0, "{spinner} copying  {wide_bar} {bytes}/{total_bytes} {msg}", output);
    let done = work(&mut |amount| {
        bar.set_length(amount.all);
        bar.set_position(amount.done);
    });
    bar.finish_and_clear();
    done
}

/// A bar for the rows of an import.
pub(super) fn rows(output: Output) -> ProgressBar {
    let bar = bar(0, "{spinner} {prefix:8} {wide_bar} {human_pos}/{human_len} rows {msg}", output);
    bar.set_prefix("waiting");
    bar.enable_steady_tick(TICK);
    bar
}

/// A bar for the contacts of a move.
pub(super) fn contacts(output: Output) -> ProgressBar {
    let bar = bar(0, "{spinner} {prefix:9} {wide_bar} {human_pos}/{human_len} contacts", output);
    bar.set_prefix("moving");
    bar.enable_steady_tick(TICK);
    bar
}

/// Moves the bar of rows to what a status says.
pub(super) fn show(bar: &ProgressBar, progress: &Progress) {
    if progress.state == "queued" {
        bar.set_prefix("queued");
        bar.set_message(format!("place {} in the queue", progress.position));
    } else {
        bar.set_prefix("reading");
        bar.set_message("");
        bar.set_position(progress.rows);
    }
}

fn bar(length: u64, template: &str, output: Output) -> ProgressBar {
    let target = if output.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(length), target).with_style(style)
}
