//! Whose turn it is: a lane for each program, in the order of acceptance and one command at a time; accounts take turns,
//! and within an account its programs do. Pure: the catalogue is the truth, and this is its index in memory.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::command::{CommandId, Reach};
use crate::tenant::{AccountId, ProgramId};

/// A command in a lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Waiting {
    pub(super) sequence: i64,
    pub(super) command: CommandId,
    pub(super) account: AccountId,
    pub(super) program: ProgramId,
    pub(super) payload_bytes: u64,
}

#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<Waiting>,
    running: Option<Waiting>,
}

/// All lanes that are not empty. A program is *ready* if something waits in its lane and nothing runs.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: HashMap<ProgramId, Lane>,
    /// The accounts that have ready programs, next first; each once.
    accounts: VecDeque<AccountId>,
    /// Their ready programs, next first; each once.
    ready: HashMap<AccountId, VecDeque<ProgramId>>,
}

impl Lanes {
    /// A command was accepted.
    pub(super) fn push(&mut self, waiting: Waiting) {
        let lane = self.lanes.entry(waiting.program).or_default();
        lane.waiting.push_back(waiting);
        if lane.waiting.len() == 1 && lane.running.is_none() {
            self.make_ready(waiting.account, waiting.program);
        }
    }

    /// Takes the command whose turn it is among those within reach; it runs until [`Lanes::finish`] or
    /// [`Lanes::give_back`]. Who is passed over keeps its place.
    pub(super) fn take(&mut self, reach: Reach) -> Option<Waiting> {
        let (account_at, program_at) = self.next(reach)?;
        let account = self.accounts.remove(account_at)?;
        let programs = self.ready.get_mut(&account)?;
        let program = programs.remove(program_at)?;
        if programs.is_empty() {
            self.ready.remove(&account);
        } else {
            self.accounts.push_back(account);
        }
        let lane = self.lanes.get_mut(&program)?;
        lane.running = lane.waiting.pop_front();
        lane.running
    }

    /// The place of the account whose turn it is, and the place of its program.
    fn next(&self, reach: Reach) -> Option<(usize, usize)> {
        let head = |program| self.lanes.get(program).and_then(|lane| lane.waiting.front());
        let within_reach = |program| head(program).is_some_and(|head| reach.takes(head.payload_bytes));
        self.accounts.iter().enumerate().find_map(|(account_at, account)| {
            Some((account_at, self.ready.get(account)?.iter().position(within_reach)?))
        })
    }

    /// A running command is over. Nothing happens if it does not run.
    pub(super) fn finish(&mut self, program: ProgramId, sequence: i64) {
        let Some(running) = self.stop(program, sequence) else { return };
        if self.lanes.get(&program).is_some_and(|lane| !lane.waiting.is_empty()) {
            self.make_ready(running.account, program);
        } else {
            self.lanes.remove(&program);
        }
    }

    /// A running command waits again, before all others of its program. Nothing happens if it does not run.
    pub(super) fn give_back(&mut self, program: ProgramId, sequence: i64) {
        let Some(running) = self.stop(program, sequence) else { return };
        self.lanes.entry(program).or_default().waiting.push_front(running);
        self.make_ready(running.account, program);
    }

    /// Whether anything within reach could be taken.
    pub(super) fn any_ready(&self, reach: Reach) -> bool {
        self.next(reach).is_some()
    }

    fn stop(&mut self, program: ProgramId, sequence: i64) -> Option<Waiting> {
        let lane = self.lanes.get_mut(&program)?;
        lane.running.take_if(|running| running.sequence == sequence)
    }

    fn make_ready(&mut self, account: AccountId, program: ProgramId) {
        let programs = self.ready.entry(account).or_default();
        if programs.is_empty() {
            self.accounts.push_back(account);
        }
        programs.push_back(program);
        debug_assert_eq!(programs.iter().collect::<HashSet<_>>().len(), programs.len(), "a program is ready once");
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    /// Account, program and command by one digit each: account 1 has the programs 10 to 19.
    fn waiting(program: u128, sequence: i64) -> Waiting {
        Waiting {
            sequence,
            command: CommandId(Uuid::from_u128(sequence.unsigned_abs().into())),
            account: AccountId(Uuid::from_u128(program / 10)),
            program: ProgramId(Uuid::from_u128(program)),
            payload_bytes: 10,
        }
    }

    fn program(number: u128) -> ProgramId {
        ProgramId(Uuid::from_u128(number))
    }

    fn lanes(commands: &[(u128, i64)]) -> Lanes {
        let mut lanes = Lanes::default();
        for (program, sequence) in commands {
            lanes.push(waiting(*program, *sequence));
        }
        lanes
    }

    fn take(lanes: &mut Lanes) -> Option<i64> {
        lanes.take(Reach::Any).map(|taken| taken.sequence)
    }

    #[test]
    fn a_program_runs_one_at_a_time_in_order() {
        let mut lanes = lanes(&[(10, 1), (10, 2), (10, 3)]);
        assert_eq!((take(&mut lanes), take(&mut lanes)), (Some(1), None));
        lanes.finish(program(10), 1);
        assert_eq!((take(&mut lanes), take(&mut lanes)), (Some(2), None));
        lanes.give_back(program(10), 2);
        assert_eq!(take(&mut lanes), Some(2));
        lanes.finish(program(10), 2);
        lanes.finish(program(10), 2);
        assert_eq!(take(&mut lanes), Some(3));
        lanes.finish(program(10), 3);
        assert!(!lanes.any_ready(Reach::Any) && lanes.lanes.is_empty() && lanes.ready.is_empty());
    }

    #[test]
    fn accounts_take_turns_and_so_do_their_programs() {
        // Account 1 fills three programs before account 2 comes with one.
        let mut lanes = lanes(&[(10, 1), (10, 2), (11, 3), (11, 4), (12, 5), (20, 6), (20, 7)]);
        let mut order = Vec::new();
        while let Some(taken) = lanes.take(Reach::Any) {
            order.push(taken.sequence);
            lanes.finish(taken.program, taken.sequence);
        }
        assert_eq!(order, [1, 6, 3, 7, 5, 2, 4]);
    }

    #[test]
    fn a_small_reach_passes_big_files_over_and_they_keep_their_turn() {
        let big =
            |program, sequence| Waiting { payload_bytes: Reach::SMALL_BYTES_MAX + 1, ..waiting(program, sequence) };
        let mut lanes = Lanes::default();
        for command in [big(10, 1), waiting(10, 2), big(20, 3), waiting(21, 4), waiting(30, 5)] {
            lanes.push(command);
        }
        let small = |lanes: &mut Lanes| lanes.take(Reach::Small).map(|taken| taken.sequence);
        // The small file behind a big one of its own program waits for it.
        assert_eq!((small(&mut lanes), small(&mut lanes), small(&mut lanes)), (Some(4), Some(5), None));
        assert!(lanes.any_ready(Reach::Any) && !lanes.any_ready(Reach::Small));
        assert_eq!((take(&mut lanes), take(&mut lanes), take(&mut lanes)), (Some(1), Some(3), None));
        lanes.finish(program(10), 1);
        assert_eq!(small(&mut lanes), Some(2));
    }

    #[test]
    fn who_does_not_run_cannot_finish() {
        let mut lanes = lanes(&[(10, 1), (10, 2)]);
        lanes.finish(program(10), 1);
        lanes.give_back(program(11), 1);
        assert_eq!(take(&mut lanes), Some(1));
        lanes.give_back(program(10), 2);
        assert_eq!(take(&mut lanes), None);
    }
}
