//! What the client signs with, and the two headers that come of it.

use clap::Args;

use crate::signature::{self, SCHEME};
use crate::tenant::Secret;

use super::failure::Failure;

/// A token and its secret, from the environment.
#[derive(Args, Clone, Debug)]
pub(super) struct CredentialArgs {
    /// The token to sign with
    #[arg(long, env = "ROSTER_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Its secret; better in the variable than as a flag, which others can see
    #[arg(long, env = "ROSTER_SECRET", hide_env_values = true)]
    secret: Option<Hidden>,
}

/// A secret that `Debug` does not print.
#[derive(Clone, Debug)]
struct Hidden(Secret);

impl From<String> for Hidden {
    fn from(text: String) -> Hidden {
        Hidden(Secret::new(text))
    }
}

/// A token and its secret.
#[derive(Clone, Debug)]
pub(super) struct Credentials {
    /// The opaque text in the header.
    pub(super) token: String,
    /// What is signed with it.
    pub(super) secret: Secret,
}

/// The values of the two headers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Signed {
    /// `SignalVine <token>:<signature>`.
    pub(super) authorization: String,
    /// The time, exactly as it was signed.
    pub(super) date: String,
}

impl CredentialArgs {
    /// Both, or what to do.
    pub(super) fn credentials(&self) -> Result<Credentials, Failure> {
        match (&self.token, &self.secret) {
            (Some(token), Some(Hidden(secret))) if !token.is_empty() && !secret.expose().is_empty() => {
                Ok(Credentials { token: token.clone(), secret: secret.clone() })
            }
            _ => Err(Failure::yours("there is no token or no secret to sign with").with_remedy(
                "Set ROSTER_TOKEN and ROSTER_SECRET (or --token and --secret); 'roster token create' makes them.",
            )),
        }
    }
}

impl Credentials {
    /// Signs a request. `path` is without host and query.
    pub(super) fn sign(&self, method: &str, path: &str, body: &[u8], date: &str) -> Signed {
        let Credentials { token, secret } = self;
        let signature = signature::sign(token, secret.expose().as_bytes(), method, path, body, date);
        Signed { authorization: format!("{SCHEME} {token}:{signature}"), date: date.to_owned() }
    }
}
