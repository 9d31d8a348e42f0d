//! The provider, as it describes itself (OpenID Connect Discovery 1.0).

use serde::Deserialize;

use super::OidcSettings;
use super::calls::Calls;
use super::refusal::{OidcRefusal, Reason};

/// Where the description is, below the issuer.
const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// What this service needs of a provider.
pub(super) struct Provider {
    pub(super) authorization_endpoint: String,
    pub(super) token_endpoint: String,
    pub(super) jwks_uri: String,
    pub(super) userinfo_endpoint: Option<String>,
    pub(super) client_auth: ClientAuth,
    /// Whether each answer tells which issuer it is from.
    pub(super) tells_issuer: bool,
}

/// How this service proves to be the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ClientAuth {
    /// The secret in a header.
    Basic,
    /// The secret in the form.
    Post,
    /// It has no secret.
    Public,
}

#[derive(Deserialize)]
struct Description {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl Provider {
    /// Asks the provider.
    pub(super) fn discover(settings: &OidcSettings, calls: &Calls) -> Result<Provider, OidcRefusal> {
        let issuer = &settings.issuer;
        let url = format!("{}{WELL_KNOWN}", issuer.strip_suffix('/').unwrap_or(issuer));
        Provider::of(calls.get("description", &url)?, settings, calls)
    }

    fn of(description: Description, settings: &OidcSettings, calls: &Calls) -> Result<Provider, OidcRefusal> {
        if description.issuer != settings.issuer {
            return Err(Reason::ProviderFailed.with(format!(
                "the description at oidc_issuer = {} is of another issuer; they must be the same to the last character",
                settings.issuer
            )));
        }
        let userinfo_endpoint = description.userinfo_endpoint.as_deref();
        Ok(Provider {
            authorization_endpoint: calls.endpoint("authorization_endpoint", &description.authorization_endpoint)?,
            token_endpoint: calls.endpoint("token_endpoint", &description.token_endpoint)?,
            jwks_uri: calls.endpoint("jwks_uri", &description.jwks_uri)?,
            userinfo_endpoint: userinfo_endpoint.map(|url| calls.endpoint("userinfo_endpoint", url)).transpose()?,
            client_auth: client_auth(
                settings.client_secret.is_some(),
                description.token_endpoint_auth_methods_supported.as_deref(),
            )?,
            tells_issuer: description.authorization_response_iss_parameter_supported,
        })
    }
}

/// A provider that does not say takes the secret in a header, as the specification has it.
fn client_auth(has_secret: bool, supported: Option<&[String]>) -> Result<ClientAuth, OidcRefusal> {
    if !has_secret {
        return Ok(ClientAuth::Public);
    }
    let Some(supported) = supported else { return Ok(ClientAuth::Basic) };
    let takes = |method: &str| supported.iter().any(|supported| supported == method);
    if takes("client_secret_basic") {
        Ok(ClientAuth::Basic)
    } else if takes("client_secret_post") {
        Ok(ClientAuth::Post)
    } else {
        Err(Reason::ProviderFailed
            .with("the provider takes a secret neither by client_secret_basic nor by client_secret_post"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::super::UserClaim;
    use super::*;

    fn settings(issuer: &str) -> OidcSettings {
        OidcSettings {
            issuer: issuer.to_owned(),
            client_id: "roster".to_owned(),
            client_secret: None,
            user_claim: UserClaim::Email,
            label: "Sign in".to_owned(),
            console_url: "https://texting.example.edu".to_owned(),
            answer_within: Duration::from_secs(1),
        }
    }

    /// What is wrong with a description in which one thing is otherwise.
    fn wrong_with(issuer: &str, name: &str, value: &str) -> Option<String> {
        let mut description = json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/auth"),
            "token_endpoint": format!("{issuer}/token"),
            "jwks_uri": format!("{issuer}/jwks"),
        });
        description[name] = value.into();
        let calls = Calls::new(issuer, Duration::from_secs(1));
        let description = serde_json::from_value(description).expect("a description");
        Provider::of(description, &settings(issuer), &calls).err().map(|refusal| refusal.detail().to_owned())
    }

    #[test]
    fn a_description_is_of_the_very_issuer() {
        let issuer = "https://login.example.edu";
        assert_eq!(wrong_with(issuer, "issuer", issuer), None);
        for other in ["https://login.example.edu/", "https://LOGIN.example.edu", "https://evil.example", ""] {
            assert!(wrong_with(issuer, "issuer", other).expect(other).contains("of another issuer"), "{other}");
        }
    }

    #[test]
    fn every_address_is_over_tls_but_on_this_machine() {
        let (far, near) = ("https://login.example.edu", "http://127.0.0.1:3000");
        for name in ["authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"] {
            for right in ["https://other.example.edu/a?b=c", "https://127.0.0.1/"] {
                assert_eq!(wrong_with(far, name, right), None, "{name} {right}");
            }
            for right in ["http://localhost:1/", "http://[::1]:1/a", "https://login.example.edu/"] {
                assert_eq!(wrong_with(near, name, right), None, "{name} {right}");
            }
            for (issuer, wrong) in [
                (far, "http://login.example.edu/"),
                // A provider out there that has this service call what runs beside it.
                (far, "http://127.0.0.1/"),
                (near, "http://login.example.edu/"),
                (near, "http://127.0.0.1.example.edu/"),
                (far, "file:///etc/passwd"),
                (far, "javascript:alert(1)"),
                (far, "https://user:password@login.example.edu/"),
                (far, "https://login.example.edu/#a"),
                (far, "https://login.example.edu/a b"),
                (far, "https://login.example.edu/\r\nSet-Cookie: a"),
                (far, "/auth"),
                (far, ""),
            ] {
                assert!(wrong_with(issuer, name, wrong).is_some_and(|why| why.contains(name)), "{name} {wrong}");
            }
        }
    }

    #[test]
    fn a_secret_goes_the_way_that_the_provider_takes() {
        let of = |methods: &[&str]| {
            let methods: Vec<String> = methods.iter().map(|method| (*method).to_owned()).collect();
            client_auth(true, Some(&methods)).ok()
        };
        assert_eq!(client_auth(false, None).ok(), Some(ClientAuth::Public));
        assert_eq!(client_auth(true, None).ok(), Some(ClientAuth::Basic));
        assert_eq!(of(&["client_secret_post", "client_secret_basic"]), Some(ClientAuth::Basic));
        assert_eq!(of(&["private_key_jwt", "client_secret_post"]), Some(ClientAuth::Post));
        assert_eq!(of(&["private_key_jwt"]), None);
    }
}
