//! A token as both homes keep it: its scope as columns, and its secret sealed. No SQL.

use super::secrets::{MasterKey, Purpose};
use super::{StoreError, refusal};
use crate::tenant::{AccountId, NewToken, ProgramId, Programs, Scope, Secret, Token, TokenNumber};

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
}

impl TokenRow {
    pub(crate) fn open(self, key: &MasterKey, token: &str) -> Result<Token, StoreError> {
        let TokenRow { number, account, name, sealed, columns } = self;
        let (purpose, context) = columns.seal_of(token);
        let secret = open(key, (purpose, &context), &sealed)
            .ok_or_else(|| StoreError::Fault(format!("the secret of token number {number} cannot be opened")))?;
        let scope = columns.scope()?;
        Ok(Token { number: TokenNumber(number), account, token: token.to_owned(), name, secret, scope })
    }
}

fn open(key: &MasterKey, (purpose, context): (Purpose, &str), sealed: &[u8]) -> Option<Secret> {
    let secret = key.open(purpose, context, sealed)?;
    std::str::from_utf8(&secret).ok().map(|text| Secret::new(text.to_owned()))
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
        TokenRow { number: 1, account: *account, name: name.clone(), sealed: sealed.clone(), columns: columns.clone() }
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
