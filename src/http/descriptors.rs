//! How many files and connections the system lets this process have open. Where it is asked to be modest, it is asked for more.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is needed beside the connections: databases, uploads, the database's connections.
const OTHERS: u64 = 1_024;

/// Asks the system for as many open files as so many connections need, and says how many connections fit into what it gives.
pub fn connections_within_limit(wanted: u64) -> usize {
    let needed = wanted.saturating_add(OTHERS);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let most = maximum.unwrap_or(u64::MAX);
    let mut given = current.unwrap_or(u64::MAX);
    if given < needed && setrlimit(Resource::Nofile, Rlimit { current: Some(needed.min(most)), maximum }).is_ok() {
        given = needed.min(most);
    }
    let fitting = fitting(wanted, given);
    if fitting < wanted {
        tracing::warn!(
            connections_max = wanted,
            open_files = given,
            connections = fitting,
            "the system's limit of open files leaves room for fewer connections; raise it (LimitNOFILE, ulimit -n)"
        );
    }
    usize::try_from(fitting).unwrap_or(usize::MAX)
}

/// At least half of what is given is left for connections.
fn fitting(wanted: u64, given: u64) -> u64 {
    wanted.min(given - OTHERS.min(given / 2)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_is_shared_out() {
        assert_eq!(fitting(4_096, 65_536), 4_096);
        assert_eq!(fitting(4_096, 4_096), 3_072);
        assert_eq!(fitting(4_096, 1_024), 512);
        assert_eq!(fitting(4_096, 1), 1);
    }
}
