//! Settings of the sign-in by OpenID Connect: their types, and whether they are whole.

use std::fmt;
use std::path::PathBuf;

use super::{ConfigError, Settings};
use crate::tenant::Secret;

/// What a provider of sign-in knows this service by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClientSecret {
    /// There is none: it is a public client, and PKCE alone protects it.
    None,
    /// This text.
    Text(Secret),
    /// In this file.
    File(PathBuf),
}

impl ClientSecret {
    /// Itself, if there is one. The sentence is for who set it up.
    pub fn read(&self) -> Result<Option<Secret>, String> {
        let path = match self {
            ClientSecret::None => return Ok(None),
            ClientSecret::Text(secret) => return Ok(Some(secret.clone())),
            ClientSecret::File(path) => path,
        };
        let wrong = |what: &dyn fmt::Display| format!("oidc_client_secret_file: {}: {what}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| wrong(&format!("it cannot be read: {error}")))?;
        match text.trim() {
            "" => Err(wrong(&"it is empty; it must hold the secret that the provider gave")),
            secret => Ok(Some(Secret::new(secret.to_owned()))),
        }
    }
}

/// Which of the provider's words about a person is the name of the user here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UserClaim {
    /// The address of e-mail, if the provider says that it has verified it.
    Email,
    /// The name that the person signs in with there.
    PreferredUsername,
    /// What the provider numbers its people by.
    Subject,
}

impl Settings {
    /// Half of what signing in needs would be found out by the first person who tries.
    pub(super) fn check_oidc(&self) -> Result<(), ConfigError> {
        let lacks = |given: &str, lacking: &str, why: &str| {
            Err(ConfigError::Disagree(format!("{given} is given without {lacking}: {why}")))
        };
        if self.oidc_issuer.is_none() {
            let why = "give the issuer's URL too to have users sign in by OpenID Connect, or neither";
            if self.oidc_client_id.is_some() {
                return lacks("oidc_client_id", "oidc_issuer", why);
            }
            if self.oidc_client_secret != ClientSecret::None {
                return lacks("oidc_client_secret", "oidc_issuer", why);
            }
            return Ok(());
        }
        if self.oidc_client_id.is_none() {
            return lacks("oidc_issuer", "oidc_client_id", "give the id under which the provider knows this service");
        }
        if self.console_url.is_none() {
            let why = "give the address under which browsers reach the service, like https://texting.example.edu: the \
                       provider sends people back there";
            return lacks("oidc_issuer", "console_url", why);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::super::Given;
    use super::super::tests::{from_file, given};
    use super::*;

    #[test]
    fn half_of_what_signing_in_needs_is_told() {
        let (issuer, id) = (given("oidc_issuer", "https://login.example.edu"), given("oidc_client_id", "roster"));
        let url = given("console_url", "https://texting.example.edu");
        let refusal = |given: &[Given]| Settings::resolve(None, given).expect_err("half").to_string();
        expect!["oidc_client_id is given without oidc_issuer: give the issuer's URL too to have users sign in by OpenID Connect, or neither"]
            .assert_eq(&refusal(std::slice::from_ref(&id)));
        let secret = given("oidc_client_secret", "s3cr3t");
        expect!["oidc_client_secret is given without oidc_issuer: give the issuer's URL too to have users sign in by OpenID Connect, or neither"]
            .assert_eq(&refusal(std::slice::from_ref(&secret)));
        expect!["oidc_issuer is given without oidc_client_id: give the id under which the provider knows this service"]
            .assert_eq(&refusal(&[issuer.clone(), url.clone()]));
        expect!["oidc_issuer is given without console_url: give the address under which browsers reach the service, like https://texting.example.edu: the provider sends people back there"]
            .assert_eq(&refusal(&[issuer.clone(), id.clone()]));
        let settings = Settings::resolve(None, &[issuer, id, url, secret]).expect("whole");
        assert!(!format!("{settings:?}{}", settings.to_file()).contains("s3cr3t"), "secrets are not printed");
        assert_eq!(settings.oidc_client_secret.read().expect("a secret").expect("one").expose(), "s3cr3t");
        // What is printed lacks the secret, and reads back but for that.
        let read = from_file(&settings.to_file()).expect("it is right");
        assert_eq!(read, Settings { oidc_client_secret: ClientSecret::None, ..settings });
    }

    #[test]
    fn a_client_secret_may_be_in_a_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("secret");
        let secret = ClientSecret::File(file.clone());
        assert!(secret.read().expect_err("there is none").contains("it cannot be read"));
        std::fs::write(&file, "\n").expect("written");
        assert!(secret.read().expect_err("it is empty").contains("it must hold the secret"));
        std::fs::write(&file, "s3cr3t\n").expect("written");
        assert_eq!(secret.read().expect("a secret").expect("one").expose(), "s3cr3t");
        let both = from_file("oidc_client_secret = \"a\"\noidc_client_secret_file = \"b\"").expect_err("a guess");
        expect!["roster.toml: oidc_client_secret is not possible; give oidc_client_secret or oidc_client_secret_file, not both"]
            .assert_eq(&both.to_string());
    }
}
