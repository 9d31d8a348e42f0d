//! `cargo xtask cluster --once`: an import through the balancer; another one, whose node is killed in the middle; that it is
//! completed by another node, once. Every sentence that it prints was checked, or it fails.

use std::fs;
use std::process::Stdio;
use std::time::Instant;

use super::{Cluster, LEASE_SECONDS, contacts};
use crate::http::member;
use crate::roster::{Counts, counts, text_of};
use crate::{root, say};

/// Of the import whose node is killed.
const ROWS: u64 = 50_000;

/// Good rows of the sample; the others are bad on purpose.
const ROWS_OF_SAMPLE: u64 = 2_160;

/// Waits for a moment at which some node adds contacts, and says which node's import it is. All batches of the file but the last go in by
/// `COPY`, so most of it is still to come then.
const IN_THE_MIDDLE: &str = "
DO $$ BEGIN
  FOR turn IN 1..30000 LOOP
    PERFORM pg_stat_clear_snapshot();
    EXIT WHEN EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'COPY contact%' AND state <> 'idle');
    PERFORM pg_sleep(0.001);
  END LOOP;
END $$;
SELECT node FROM lane WHERE running";

pub(super) fn show(mut cluster: Cluster) -> Result<(), String> {
    say(format_args!("\n{} nodes behind {}", cluster.nodes.len(), cluster.url));
    import_sample(&cluster)?;
    let file = contacts(&cluster.home.directory, ROWS)?;
    let sent = client(&cluster, &["import", &file.to_string_lossy(), "--no-wait"])?;
    let location = sent.trim();
    let command = location.rsplit('/').next().unwrap_or_default();
    let killed = kill_who_imports(&mut cluster)?;
    let begun = Instant::now();
    let under_way = format!("SELECT report IS NULL AND finished_ms IS NULL FROM command WHERE id = '{command}'");
    if cluster.server.query("cluster", &under_way) != "t" {
        return Err("the import was over before its node was killed".to_owned());
    }
    say(format_args!(
        "node {killed} was killed (kill -9) in the middle of an import of {ROWS} rows: nothing of it is applied"
    ));
    if contacts_of(&cluster)? != ROWS_OF_SAMPLE {
        return Err("half an import is seen".to_owned());
    }
    let status = client(&cluster, &["status", location, "--wait", "--json"])?;
    let seconds = begun.elapsed().as_secs_f64();
    let expected = Counts { read: ROWS, added: ROWS, updated: 0, unchanged: 0 };
    if counts(&status)? != expected || contacts_of(&cluster)? != ROWS_OF_SAMPLE + ROWS {
        return Err(format!("not {ROWS} added: {status}"));
    }
    let by = completed_by(&cluster, command)?;
    say(format_args!(
        "node {by} completed it {seconds:.1} s later, as attempt 2 (a lease is {LEASE_SECONDS} s): {ROWS} rows added, each once"
    ));
    for node in cluster.nodes {
        node.process.stop();
    }
    say("everything is stopped");
    Ok(())
}

fn import_sample(cluster: &Cluster) -> Result<(), String> {
    let sample = root().join("samples/contacts.csv").canonicalize().map_err(|fault| fault.to_string())?;
    let mut import = cluster.home.command(&["import", &sample.to_string_lossy(), "--json"]);
    let output = credentials(cluster, &mut import).stderr(Stdio::null()).output().map_err(|fault| fault.to_string())?;
    let status = String::from_utf8_lossy(&output.stdout);
    // Exit code 1: the import ran, and rows were refused.
    if output.status.code() != Some(1) || member(&status, "added") != Some(&ROWS_OF_SAMPLE.to_string()) {
        return Err(format!("the sample's import: {status}"));
    }
    say(format_args!(
        "the sample was imported through the balancer: {ROWS_OF_SAMPLE} contacts added, the bad rows told"
    ));
    Ok(())
}

/// Runs a command of the client, and gives what it prints.
fn client(cluster: &Cluster, arguments: &[&str]) -> Result<String, String> {
    text_of(credentials(cluster, &mut cluster.home.command(arguments)))
        .and_then(|text| if text.is_empty() { Err("no answer".to_owned()) } else { Ok(text) })
}

fn credentials<'a>(cluster: &Cluster, command: &'a mut std::process::Command) -> &'a mut std::process::Command {
    let super::Tenant { token, secret, program, account: _ } = &cluster.tenant;
    command.envs([
        ("ROSTER_TOKEN", token),
        ("ROSTER_SECRET", secret),
        ("ROSTER_PROGRAM", program),
        ("ROSTER_URL", &cluster.url),
    ])
}

/// The number of the node, counted from 1.
fn kill_who_imports(cluster: &mut Cluster) -> Result<usize, String> {
    let node = cluster.server.query("cluster", IN_THE_MIDDLE);
    let id = node.rsplit(':').next().and_then(|id| id.parse::<u32>().ok());
    let at = cluster.nodes.iter().position(|node| Some(node.process.id) == id);
    let at = at.ok_or_else(|| format!("no node is at an import ('{node}')"))?;
    cluster.nodes[at].process.kill();
    Ok(at + 1)
}

/// How many contacts the program is seen to have.
fn contacts_of(cluster: &Cluster) -> Result<u64, String> {
    let sql = format!("SELECT count(*) FROM contact WHERE program = '{}'", cluster.tenant.program);
    cluster.server.query("cluster", &sql).parse().map_err(|_| "no count".to_owned())
}

/// Which node's log tells of the command's end: exactly one does, and it is the second attempt's.
fn completed_by(cluster: &Cluster, command: &str) -> Result<usize, String> {
    let told = |number: usize| {
        let log = fs::read_to_string(cluster.home.directory.join(format!("node-{number}.log"))).unwrap_or_default();
        let lines: Vec<&str> =
            log.lines().filter(|line| line.contains("import complete") && line.contains(command)).collect();
        lines.into_iter().map(|line| (number, line.contains("attempt=2"))).collect::<Vec<_>>()
    };
    let told: Vec<(usize, bool)> = (1..=cluster.nodes.len()).flat_map(told).collect();
    match *told {
        [(number, true)] => Ok(number),
        _ => Err(format!("the logs tell of {} completions of {command}: {told:?}", told.len())),
    }
}
