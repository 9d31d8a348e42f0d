//! A token as both homes keep it: its scope as columns, and its secret sealed. No SQL.

use super::secrets::{MasterKey, Purpose};
use super::{StoreError, refusal};
use crate::tenant::{AccountId, NewToken, OldSecret, ProgramId, Programs, Rotated, Scope, Secret, Token, TokenNumber};

/// The columns that say what a token may do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ScopeColumns {
    pub(crate) read_only: bool,
    /// Ids with blanks between them; `None` for all programs.
    pub(crate) programs: Option<String>,
}

impl ScopeColumns {
    fn of(scope: &Scope) -> ScopeColumns {
        let programs = match &scope.programs {
            Programs::All => None,
            Programs::Only(programs) => Some(programs.iter().map(ProgramId::to_string).collect::<Vec<_>>().join(" ")),
        };
        ScopeColumns { read_only: scope.read_only, programs }
    }

    /// What they say. What cannot be read is a fault, never a wider scope.
    pub(crate) fn scope(&self) -> Result<Scope, StoreError> {
        let programs = match &self.programs {
            None => Programs::All,
            Some(ids) => Programs::Only(
                ids.split_ascii_whitespace()
                    .map(ProgramId::parse)
                    .collect::<Option<_>>()
                    .ok_or_else(|| StoreError::Fault("a token's list of programs cannot be read".to_owned()))?,
            ),
        };
        Ok(Scope { read_only: self.read_only, programs })
    }

    /// What a secret is sealed for. That of a limited token has a purpose of its own, with the limits: a roster from before there were
    /// any cannot open it, and nobody can change them who has only the rows.
    fn seal_of(&self, token: &str) -> (Purpose, String) {
        match self {
            ScopeColumns { read_only: false, programs: None } => (Purpose::TokenSecret, token.to_owned()),
            ScopeColumns { read_only, programs } => {
                let programs = programs.as_deref().unwrap_or("all");
                // Neither of the first two has a line end.
                (Purpose::ScopedTokenSecret, format!("{read_only}\n{programs}\n{token}"))
            }
        }
    }

    /// The same for the secret before. The moment at which it ends cannot be changed either.
    fn old_seal_of(&self, token: &str, until_ms: i64) -> (Purpose, String) {
        let (_, context) = self.seal_of(token);
        (Purpose::OldTokenSecret, format!("{until_ms}\n{context}"))
    }

    fn seal(&self, key: &MasterKey, token: &str, secret: &Secret) -> Result<Vec<u8>, StoreError> {
        let (purpose, context) = self.seal_of(token);
        key.seal(purpose, &context, secret.expose().as_bytes())
    }
}

/// A token that is to be stored; its secret is sealed already.
pub(crate) struct SealedToken {
    pub(crate) account: AccountId,
    pub(crate) name: String,
    pub(crate) token: String,
    pub(crate) columns: ScopeColumns,
    /// For the home to look whether the account has them.
    pub(crate) programs: Programs,
    pub(crate) sealed: Vec<u8>,
}

impl SealedToken {
    pub(crate) fn new(key: &MasterKey, account: AccountId, new: NewToken) -> Result<SealedToken, StoreError> {
        let NewToken { token, name, secret, scope } = new;
        if matches!(&scope.programs, Programs::Only(programs) if programs.is_empty()) {
            return Err(refusal::no_program_in_scope());
        }
        let name = refusal::not_blank("a token's name", &name)?;
        let columns = ScopeColumns::of(&scope);
        let sealed = columns.seal(key, &token, &secret)?;
        Ok(SealedToken { account, name, token, columns, programs: scope.programs, sealed })
    }
}

/// A token as it was read.
pub(crate) struct TokenRow {
    pub(crate) number: i64,
    pub(crate) account: AccountId,
    pub(crate) name: String,
    pub(crate) sealed: Vec<u8>,
    pub(crate) columns: ScopeColumns,
    pub(crate) old: OldColumns,
}

/// What is sealed of a token, in the open, with what it is sealed for: to carry it to another home, which has another key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Unsealed {
    pub(crate) columns: ScopeColumns,
    pub(crate) secret: Secret,
    pub(crate) old_secret: Option<OldSecret>,
}

impl Unsealed {
    /// `None` if something of it cannot be opened.
    pub(crate) fn open(
        key: &MasterKey,
        token: &str,
        (sealed, columns, old): (&[u8], ScopeColumns, OldColumns),
    ) -> Option<Unsealed> {
        let secret = open(key, columns.seal_of(token), sealed)?;
        let old_secret = match old {
            OldColumns { sealed: Some(sealed), until_ms: Some(until_ms) } => {
                Some(OldSecret { secret: open(key, columns.old_seal_of(token, until_ms), &sealed)?, until_ms })
            }
            OldColumns { sealed: _, until_ms: _ } => None,
        };
        Some(Unsealed { columns, secret, old_secret })
    }

    /// The sealed secret, and the columns of the one before.
    pub(crate) fn seal(&self, key: &MasterKey, token: &str) -> Result<(Vec<u8>, OldColumns), StoreError> {
        let Unsealed { columns, secret, old_secret } = self;
        let sealed = columns.seal(key, token, secret)?;
        let until_ms = old_secret.as_ref().map(|old| old.until_ms);
        let seal_old = |old: &OldSecret| {
            let (purpose, context) = columns.old_seal_of(token, old.until_ms);
            key.seal(purpose, &context, old.secret.expose().as_bytes())
        };
        Ok((sealed, OldColumns { sealed: old_secret.as_ref().map(seal_old).transpose()?, until_ms }))
    }
}

/// The columns of the secret before the last rotation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct OldColumns {
    pub(crate) sealed: Option<Vec<u8>>,
    pub(crate) until_ms: Option<i64>,
}

impl TokenRow {
    pub(crate) fn open(self, key: &MasterKey, token: &str) -> Result<Token, StoreError> {
        let TokenRow { number, account, name, sealed, columns, old } = self;
        let closed = || StoreError::Fault(format!("a secret of token number {number} cannot be opened"));
        let opened = Unsealed::open(key, token, (&sealed, columns, old)).ok_or_else(closed)?;
        let Unsealed { columns, secret, old_secret } = opened;
        let scope = columns.scope()?;
        Ok(Token { number: TokenNumber(number), account, token: token.to_owned(), name, secret, old_secret, scope })
    }

    /// The columns after a rotation: the new secret, and the one of now as the old one.
    pub(crate) fn rotated(
        self,
        key: &MasterKey,
        token: &str,
        secret: &Secret,
        (overlap_ms, now_ms): (u64, i64),
    ) -> Result<RotatedColumns, StoreError> {
        let (before, columns) = (self.sealed.clone(), self.columns.clone());
        let now = self.open(key, token)?;
        let until_ms = (overlap_ms > 0).then(|| now_ms.saturating_add_unsigned(overlap_ms));
        let seal_old = |until_ms| {
            let (purpose, context) = columns.old_seal_of(token, until_ms);
            key.seal(purpose, &context, now.secret.expose().as_bytes())
        };
        let old = OldColumns { sealed: until_ms.map(seal_old).transpose()?, until_ms };
        let sealed = columns.seal(key, token, secret)?;
        Ok(RotatedColumns { before, sealed, old, rotated: Rotated { name: now.name, old_secret_until_ms: until_ms } })
    }
}

/// What a rotation writes.
pub(crate) struct RotatedColumns {
    /// The sealed secret that was read: it is replaced only where it is still there.
    pub(crate) before: Vec<u8>,
    pub(crate) sealed: Vec<u8>,
    pub(crate) old: OldColumns,
    /// For who asked.
    pub(crate) rotated: Rotated,
}

fn open(key: &MasterKey, (purpose, context): (Purpose, String), sealed: &[u8]) -> Option<Secret> {
    key.open_text(purpose, &context, sealed)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use uuid::Uuid;

    use super::*;
    use crate::store::secrets::MasterKeySource;

    fn key() -> MasterKey {
        MasterKey::load(&MasterKeySource::Text("0".repeat(64).into())).expect("a key")
    }

    fn only(numbers: &[u128]) -> Programs {
        Programs::Only(numbers.iter().map(|number| ProgramId(Uuid::from_u128(*number))).collect())
    }

    fn sealed(scope: &Scope) -> SealedToken {
        let secret = Secret::new("a secret".to_owned());
        let new = NewToken { token: "T".to_owned(), name: "N".to_owned(), secret, scope: scope.clone() };
        SealedToken::new(&key(), AccountId(Uuid::from_u128(9)), new).expect("sealed")
    }

    fn row(sealed: &SealedToken, columns: &ScopeColumns) -> TokenRow {
        let SealedToken { account, name, sealed, .. } = sealed;
        TokenRow {
            number: 1,
            account: *account,
            name: name.clone(),
            sealed: sealed.clone(),
            columns: columns.clone(),
            old: OldColumns { sealed: None, until_ms: None },
        }
    }

    /// Every scope opens with its own columns, and with nobody else's.
    #[test]
    fn a_scope_cannot_be_changed_without_the_key() {
        let scopes = [
            Scope::FULL,
            Scope { read_only: true, ..Scope::FULL },
            Scope { read_only: false, programs: only(&[1]) },
            Scope { read_only: false, programs: only(&[1, 2]) },
            Scope { read_only: true, programs: only(&[1]) },
        ];
        for scope in &scopes {
            let token = sealed(scope);
            for other in &scopes {
                let opened = row(&token, &ScopeColumns::of(other)).open(&key(), "T");
                assert_eq!(opened.is_ok(), scope == other, "{scope:?} as {other:?}");
            }
            let opened = row(&token, &token.columns).open(&key(), "T").expect("opened");
            assert_eq!((&opened.scope, opened.secret.expose()), (scope, "a secret"));
            assert!(row(&token, &token.columns).open(&key(), "another").is_err());
        }
    }

    /// Neither can the end of an overlap be moved, nor an old secret be put in the place of the new one.
    #[test]
    fn an_old_secret_cannot_be_prolonged_without_the_key() {
        let token = sealed(&Scope { read_only: true, ..Scope::FULL });
        let new = Secret::new("another".to_owned());
        let columns = row(&token, &token.columns).rotated(&key(), "T", &new, (1_000, 5)).expect("rotated");
        let RotatedColumns { sealed, old, before, rotated } = columns;
        assert_eq!((before, rotated.old_secret_until_ms), (token.sealed.clone(), Some(1_005)));
        let opened = |sealed: &[u8], old: &OldColumns| {
            TokenRow { sealed: sealed.to_vec(), old: old.clone(), ..row(&token, &token.columns) }.open(&key(), "T")
        };
        let after = opened(&sealed, &old).expect("opened");
        let secret_at = |now_ms| after.old_secret_at(now_ms).map(Secret::expose);
        assert_eq!((after.secret.expose(), secret_at(1_004), secret_at(1_005)), ("another", Some("a secret"), None));
        assert!(opened(&sealed, &OldColumns { until_ms: Some(9_999), ..old.clone() }).is_err());
        assert!(opened(old.sealed.as_deref().expect("one"), &old).is_err());
        let at_once = row(&token, &token.columns).rotated(&key(), "T", &new, (0, 5)).expect("rotated");
        assert_eq!(at_once.old, OldColumns { sealed: None, until_ms: None });
    }

    /// What a roster does that knows of no limits.
    #[test]
    fn an_older_roster_lets_nobody_in_with_a_limited_token() {
        let as_before = |scope: &Scope| key().open(Purpose::TokenSecret, "T", &sealed(scope).sealed);
        assert!(as_before(&Scope::FULL).is_some());
        assert!(as_before(&Scope { read_only: true, ..Scope::FULL }).is_none());
        assert!(as_before(&Scope { read_only: false, programs: only(&[1]) }).is_none());
    }

    #[test]
    fn a_list_that_cannot_be_read_is_no_list_of_all() {
        let columns = |programs: &str| ScopeColumns { read_only: false, programs: Some(programs.to_owned()) };
        assert!(matches!(columns("all").scope(), Err(StoreError::Fault(_))));
        assert_eq!(columns("").scope().expect("readable").programs, Programs::Only(BTreeSet::new()));
        assert!(!columns("").scope().expect("readable").reaches(ProgramId(Uuid::from_u128(1))));
    }
}
