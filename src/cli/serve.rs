//! `roster serve`: runs the service until it is told to stop.

use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::Service;
use crate::config::Settings;

use super::failure::{Exit, Failure};
use super::logging::{self, DefaultLevel};
use super::notify::Manager;
use super::operator::runtime;
use super::output::Output;
use super::settings::{GlobalArgs, ServiceArgs};

#[derive(Args)]
#[command(after_help = "Example:
  roster serve --data /var/lib/roster --listen 127.0.0.1:8080

It prints 'listening on http://…' when it is ready, with a certificate 'listening on https://…', and tells a service manager that asks (systemd's Type=notify). SIGTERM or SIGINT stops it after what runs has finished; a second one ends it at once, and what was accepted goes on at the next start.")]
pub(super) struct ServeArgs {
    #[command(flatten)]
    service: ServiceArgs,
    /// Print the settings in effect as a documented configuration file, and end
    #[arg(long, env = "ROSTER_PRINT_CONFIG", value_parser = BoolishValueParser::new())]
    print_config: bool,
}

pub(super) fn run(args: &ServeArgs, global: &GlobalArgs, output: Output) -> Result<Exit, Failure> {
    let settings = global.settings(args.service.given())?;
    if args.print_config {
        output.line(settings.to_file().trim_end())?;
        return Ok(Exit::Done);
    }
    logging::start(&settings, DefaultLevel::Info)?;
    let runtime = runtime()?;
    let ended = runtime.block_on(serve(&settings, output));
    // After a second signal nobody waits for what still runs.
    runtime.shutdown_background();
    ended
}

async fn serve(settings: &Settings, output: Output) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()?;
    let service = Service::start(settings).await?;
    print_address(&service, output)?;
    let manager = Manager::of_environment();
    manager.ready(service.address());
    tokio::select! {
        () = signals.next() => (),
        () = manager.keep_alive(service.address()) => (),
    }
    manager.stopping(Duration::from_secs(settings.drain_seconds));
    stop(service, &mut signals, output).await
}

/// Tells, on a line of its own, where the service listens: what scripts wait for.
pub(super) fn print_address(service: &Service, output: Output) -> Result<(), Failure> {
    let url = service.url();
    if output.json {
        return output.object(&serde_json::json!({ "listening": url }));
    }
    output.line(format_args!("listening on {url}"))
}

/// Waits for a signal, then stops; a second signal ends it at once.
pub(super) async fn stop_on_signal(service: Service, signals: &mut Signals, output: Output) -> Result<Exit, Failure> {
    signals.next().await;
    stop(service, signals, output).await
}

async fn stop(service: Service, signals: &mut Signals, output: Output) -> Result<Exit, Failure> {
    output.say("stopping: what runs may finish; a second signal ends it at once");
    tokio::select! {
        () = service.stop() => Ok(Exit::Done),
        () = signals.next() => Err(Failure::ours("ended at once by a second signal; what was accepted goes on at the next start")),
    }
}

/// The two signals that stop a service.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on these signals stop the service, and not the process.
    pub(super) fn listen() -> Result<Signals, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::ours(format!("cannot listen for signals: {error}")));
        Ok(Signals { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// Waits for one of them.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => (),
            _ = self.interrupt.recv() => (),
        }
    }
}
