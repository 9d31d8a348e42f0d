//! How many commands wait and run, of each program and of each account: counted in memory, because the one thread that accepts would count
//! a long queue anew for every command that joins it. The catalogue is the truth, and this is filled from it at the start.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::lanes::Waiting;
use crate::command::{Accepted, CommandId};
use crate::store::QueueLimits;
use crate::tenant::{AccountId, ProgramId};

#[derive(Debug, Default)]
pub(super) struct Places(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    commands: HashMap<CommandId, (AccountId, ProgramId)>,
    of_accounts: HashMap<AccountId, u32>,
    of_programs: HashMap<ProgramId, u32>,
}

impl Places {
    /// How a command of this program is turned away, if one more is too many.
    pub(super) fn full(&self, account: AccountId, program: ProgramId, limits: QueueLimits) -> Option<Accepted> {
        let taken = self.taken();
        let of_program = taken.of_programs.get(&program).copied().unwrap_or(0);
        let of_account = taken.of_accounts.get(&account).copied().unwrap_or(0);
        limits.full(i64::from(of_program), i64::from(of_account))
    }

    /// A command has a place until [`Places::free`].
    pub(super) fn take(&self, waiting: &Waiting) {
        let mut taken = self.taken();
        let Waiting { command, account, program, .. } = *waiting;
        if taken.commands.insert(command, (account, program)).is_none() {
            *taken.of_accounts.entry(account).or_default() += 1;
            *taken.of_programs.entry(program).or_default() += 1;
        }
    }

    /// It is complete, or was not accepted after all. Nothing happens if it has no place.
    pub(super) fn free(&self, command: CommandId) {
        let mut taken = self.taken();
        if let Some((account, program)) = taken.commands.remove(&command) {
            one_less(&mut taken.of_accounts, account);
            one_less(&mut taken.of_programs, program);
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who has none is not kept.
fn one_less<K: Hash + Eq>(counts: &mut HashMap<K, u32>, key: K) {
    match counts.get_mut(&key) {
        Some(count) if *count > 1 => *count -= 1,
        Some(_) | None => {
            counts.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::command::QueueOf;

    const LIMITS: QueueLimits = QueueLimits { of_program_max: 2, of_account_max: 3 };

    /// Account 1 has the programs 10 to 19.
    fn waiting(program: u128, command: u128) -> Waiting {
        Waiting {
            sequence: 0,
            command: CommandId(Uuid::from_u128(command)),
            account: AccountId(Uuid::from_u128(program / 10)),
            program: ProgramId(Uuid::from_u128(program)),
            payload_bytes: 0,
        }
    }

    fn full(places: &Places, program: u128) -> Option<QueueOf> {
        let Waiting { account, program, .. } = waiting(program, 0);
        places.full(account, program, LIMITS).map(|answer| match answer {
            Accepted::QueueFull { of, .. } => of,
            other => unreachable!("{other:?}"),
        })
    }

    #[test]
    fn a_place_is_taken_once_and_free_once() {
        let places = Places::default();
        for (program, command) in [(10, 1), (10, 1), (10, 2)] {
            places.take(&waiting(program, command));
        }
        assert_eq!((full(&places, 10), full(&places, 11), full(&places, 20)), (Some(QueueOf::Program), None, None));
        places.take(&waiting(11, 3));
        assert_eq!((full(&places, 11), full(&places, 12)), (Some(QueueOf::Account), Some(QueueOf::Account)));
        for command in [1, 1, 9] {
            places.free(CommandId(Uuid::from_u128(command)));
        }
        assert_eq!((full(&places, 10), full(&places, 11)), (None, None));
        places.free(CommandId(Uuid::from_u128(2)));
        places.free(CommandId(Uuid::from_u128(3)));
        let taken = places.taken();
        assert!(taken.commands.is_empty() && taken.of_accounts.is_empty() && taken.of_programs.is_empty());
    }
}
