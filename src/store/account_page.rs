//! A page that goes over the programs of an account: which part of it is whose. Each program is asked for its part alone, so that no
//! home of the data needs to know more than a program at a time.

use super::{AccountPage, AccountPageStart, ContactFilter, ContactQuery, PageStart, Store, StoreError};
use crate::tenant::{AccountId, Programs};

/// Reads a page of at most `count` contacts.
pub(super) async fn read<S: Store + ?Sized>(
    store: &S,
    (account, reached): (AccountId, &Programs),
    (filter, start): (ContactFilter, AccountPageStart),
    count: u32,
) -> Result<AccountPage, StoreError> {
    let mut programs = store.contact_totals(account, filter).await?;
    programs.retain(|(program, _)| reached.reach(program.id));
    let mut page = AccountPage { total: programs.iter().map(|(_, total)| total).sum(), parts: Vec::new() };
    let mut wanted = count as usize;
    // Where in the next program it begins; `None` once that is not this one's any more.
    let mut place = Place::of(start);
    for (program, total) in programs {
        let Some(start) = place.in_program(&program, total) else { continue };
        if wanted == 0 {
            break;
        }
        let count = u32::try_from(wanted).unwrap_or(u32::MAX);
        let contacts = store.contacts(account, program.id, ContactQuery { filter, start, count }).await?.contacts;
        wanted = wanted.saturating_sub(contacts.len());
        if !contacts.is_empty() {
            page.parts.push((program, contacts));
        }
    }
    Ok(page)
}

/// What is still to be passed over.
enum Place {
    Skip(u64),
    After(crate::contact::ContactId),
}

impl Place {
    fn of(start: AccountPageStart) -> Place {
        match start {
            AccountPageStart::Offset(offset) => Place::Skip(offset),
            AccountPageStart::After(contact) => Place::After(contact),
        }
    }

    /// Where the page begins in this program, if it does; from then on nothing is passed over.
    fn in_program(&mut self, program: &crate::tenant::Program, total: u64) -> Option<PageStart> {
        match *self {
            Place::Skip(skip) if skip >= total => {
                *self = Place::Skip(skip - total);
                None
            }
            Place::Skip(skip) => {
                *self = Place::Skip(0);
                Some(PageStart::Offset(skip))
            }
            Place::After(contact) if contact.tag == program.tag => {
                *self = Place::Skip(0);
                Some(PageStart::After(contact.number))
            }
            Place::After(_) => None,
        }
    }
}
