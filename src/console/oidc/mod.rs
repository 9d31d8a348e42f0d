//! Sign-in by OpenID Connect: the authorisation code flow with PKCE, with one provider.
//!
//! [`OidcClient::begin`] says where to send a browser, and gives a [`Pending`] to be kept for it; [`OidcClient::finish`] takes
//! what the browser came back with and says who it is, or in a sentence for that person why not. In between is a provider that
//! is believed for its signature only. Both block, for a bounded time. No session is made here, and no user: whether there is one of
//! that name is for who asked.

mod cached;
mod calls;
mod exchange;
mod jwk;
mod pending;
mod provider;
mod refusal;
mod token;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use form_urlencoded::Serializer;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::tenant::Secret;

use cached::Cached;
use calls::Calls;
use exchange::Tokens;
use jwk::Keys;
use pending::Sealer;
use provider::Provider;
use refusal::Teller;
use token::{Claims, Expected, IdToken, NotVerified};

pub use pending::{PENDING_MS_MAX, Pending};
pub use refusal::{OidcRefusal, Reason};

/// Where the provider sends people back to, below `console_url`.
pub const CALLBACK_PATH: &str = "/console/oidc/callback";

/// How long one call of the provider may take, from the name's look-up to the last byte of the answer.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// How far the provider's clock may be from this one.
const LEEWAY_MS: i64 = 60_000;

/// How many sign-ins talk with the provider at the same moment. Anybody may begin one, and each holds a thread while it lasts.
const AT_ONCE_MAX: usize = 16;

/// The longest code that is passed on.
const CODE_BYTES_MAX: usize = 8 * 1024;

/// The longest name of a user: that of an address of e-mail.
const USER_NAME_BYTES_MAX: usize = 254;

/// Which provider, and what this service is to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OidcSettings {
    /// As the provider calls itself.
    pub issuer: String,
    /// As what it knows this service.
    pub client_id: String,
    /// What this service proves that with; `None`: it is a public client.
    pub client_secret: Option<Secret>,
    /// What names the user.
    pub user_claim: UserClaim,
    /// What stands on the button.
    pub label: String,
    /// Where browsers reach the service: an origin, like `https://texting.example.edu`.
    pub console_url: String,
    /// How long one call of the provider may take: [`ANSWER_WITHIN`].
    pub answer_within: Duration,
}

/// Which of the provider's words about a person is the name of the user here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UserClaim {
    /// `email`, and only where `email_verified` is true.
    Email,
    /// `preferred_username`.
    PreferredUsername,
    /// `sub`.
    Subject,
}

impl UserClaim {
    fn name(self) -> &'static str {
        match self {
            UserClaim::Email => "email",
            UserClaim::PreferredUsername => "preferred_username",
            UserClaim::Subject => "sub",
        }
    }

    fn scope(self) -> &'static str {
        match self {
            UserClaim::Email => "openid email",
            UserClaim::PreferredUsername => "openid profile",
            UserClaim::Subject => "openid",
        }
    }
}

/// Who signed in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// What the setting `oidc_user_claim` names, as the provider writes it.
    pub user_name: String,
    /// Where the person wanted to go: a path of this service.
    pub then: String,
}

/// What signs people in. All copies share what is known of the provider.
#[derive(Clone)]
pub struct OidcClient {
    shared: Arc<Shared>,
}

struct Shared {
    settings: OidcSettings,
    redirect_uri: String,
    calls: Calls,
    sealer: Sealer,
    provider: Cached<Provider>,
    keys: Cached<Keys>,
    under_way: AtomicUsize,
    teller: Teller,
}

impl OidcClient {
    /// Reaches nobody yet: a provider that is away keeps no service from starting. With `key`, which all nodes must have alike, what
    /// browsers keep is sealed.
    pub fn new(settings: OidcSettings, key: &Zeroizing<[u8; 32]>) -> OidcClient {
        let redirect_uri = format!("{}{CALLBACK_PATH}", settings.console_url);
        let calls = Calls::new(&settings.issuer, settings.answer_within);
        OidcClient {
            shared: Arc::new(Shared {
                settings,
                redirect_uri,
                calls,
                sealer: Sealer::new(key),
                provider: Cached::default(),
                keys: Cached::default(),
                under_way: AtomicUsize::new(0),
                teller: Teller::default(),
            }),
        }
    }

    /// What stands on the button.
    pub fn label(&self) -> &str {
        &self.shared.settings.label
    }

    /// Where to send a browser for a sign-in, and what to keep for it. `then` is where the person wants to go afterwards, a path of
    /// this service; anything else is forgotten, for the console's first page.
    pub fn begin(&self, then: &str, now_ms: i64) -> Result<(String, Pending), OidcRefusal> {
        self.shared.bounded(|shared| shared.begin(then, now_ms)).inspect_err(|why| self.shared.teller.tell(why, now_ms))
    }

    /// Who it is, by what the browser came back with: the pairs of the query, decoded.
    pub fn finish(&self, pending: Pending, query: &[(String, String)], now_ms: i64) -> Result<Identity, OidcRefusal> {
        self.shared
            .bounded(|shared| shared.finish(&pending, query, now_ms))
            .inspect_err(|why| self.shared.teller.tell(why, now_ms))
    }

    /// As a text for a cookie that only this service, or a node of the same key, can read or make.
    pub fn seal(&self, pending: &Pending, now_ms: i64) -> Result<String, OidcRefusal> {
        self.shared.sealer.seal(pending).inspect_err(|why| self.shared.teller.tell(why, now_ms))
    }

    /// What [`OidcClient::seal`] made; `None` if it is anything else.
    pub fn open(&self, text: &str) -> Option<Pending> {
        self.shared.sealer.open(text)
    }
}

impl Shared {
    /// Refuses at once where as many as may are under way.
    fn bounded<T>(&self, work: impl FnOnce(&Shared) -> Result<T, OidcRefusal>) -> Result<T, OidcRefusal> {
        struct Place<'a>(&'a AtomicUsize);
        impl Drop for Place<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::AcqRel);
            }
        }
        let before = self.under_way.fetch_add(1, Ordering::AcqRel);
        let _place = Place(&self.under_way);
        if before >= AT_ONCE_MAX {
            return Err(Reason::Busy.with(format!("{AT_ONCE_MAX} sign-ins talk with the provider already")));
        }
        work(self)
    }

    fn begin(&self, then: &str, now_ms: i64) -> Result<(String, Pending), OidcRefusal> {
        let provider = self.provider(now_ms)?;
        let pending = Pending::new(then, now_ms)?;
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(pending.verifier.expose()));
        let mut query = Serializer::new(String::new());
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", &self.redirect_uri)
            .append_pair("scope", self.settings.user_claim.scope())
            .append_pair("state", pending.state.expose())
            .append_pair("nonce", pending.nonce.expose())
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        let endpoint = &provider.authorization_endpoint;
        // What the provider's own address has of a query stays.
        let joint = if endpoint.contains('?') { '&' } else { '?' };
        Ok((format!("{endpoint}{joint}{}", query.finish()), pending))
    }

    fn finish(&self, pending: &Pending, query: &[(String, String)], now_ms: i64) -> Result<Identity, OidcRefusal> {
        let answer = Answer::read(query)?;
        // Whoever does not know the state has nothing to say, not even that it failed.
        let is_ours =
            answer.state.is_some_and(|state| bool::from(state.as_bytes().ct_eq(pending.state.expose().as_bytes())));
        if !is_ours {
            return Err(Reason::NotBegunHere.with("the state is not the one of this browser"));
        }
        pending.check_age(now_ms)?;
        let provider = self.provider(now_ms)?;
        answer.check_issuer(&self.settings.issuer, provider.tells_issuer)?;
        let code = answer.code()?;
        let tokens = exchange::exchange(self, &provider, code, pending)?;
        let expected = Expected {
            issuer: &self.settings.issuer,
            client_id: &self.settings.client_id,
            nonce: pending.nonce.expose(),
            begun_ms: pending.begun_ms,
            now_ms,
        };
        let claims = self.verified(&tokens, &provider, &expected)?;
        let user_name = self.user_name(claims, &tokens, &provider)?;
        Ok(Identity { user_name, then: pending.then.clone() })
    }

    /// What is known of the provider, or what it says of itself now.
    fn provider(&self, now_ms: i64) -> Result<Arc<Provider>, OidcRefusal> {
        self.provider.get(now_ms, || Provider::discover(&self.settings, &self.calls))
    }

    /// The claims, if one of the provider's keys made the signature and they hold. A key that is not known yet may be new.
    fn verified(&self, tokens: &Tokens, provider: &Provider, expected: &Expected<'_>) -> Result<Claims, OidcRefusal> {
        let not_verified = |what: String| Reason::NotVerified.with(what);
        let fetch = || Keys::fetch(&provider.jwks_uri, &self.calls);
        let token = IdToken::parse(tokens.id_token.expose()).map_err(not_verified)?;
        let known = self.keys.get(expected.now_ms, fetch)?;
        let claims = match token.verify(&known) {
            Err(NotVerified::UnknownKey(_)) => {
                let newer = self.keys.newer(&known, expected.now_ms, fetch)?;
                token.verify(&newer)
            }
            decided => decided,
        };
        let claims = claims.map_err(|why| not_verified(why.to_string()))?;
        expected.check(&claims).map_err(not_verified)?;
        token.check_access_token(&claims, tokens.access_token.as_ref()).map_err(not_verified)?;
        Ok(claims)
    }

    /// Many providers put no more into the token than `sub`, and tell the rest at an address of its own.
    fn user_name(&self, claims: Claims, tokens: &Tokens, provider: &Provider) -> Result<String, OidcRefusal> {
        let claim = self.settings.user_claim;
        let mut person = claims.person();
        let lacks_any = match claim {
            UserClaim::Email => person.email.is_none() || person.email_verified.is_none(),
            UserClaim::PreferredUsername => person.preferred_username.is_none(),
            UserClaim::Subject => false,
        };
        if let (true, Some(endpoint), Some(access)) = (lacks_any, &provider.userinfo_endpoint, &tokens.access_token) {
            person = exchange::user_info(&self.calls, endpoint, access, &person.sub)?;
        }
        let name = match claim {
            UserClaim::Email => person.email,
            UserClaim::PreferredUsername => person.preferred_username,
            UserClaim::Subject => Some(person.sub),
        };
        let name = name.ok_or_else(|| Reason::NoName.with(format!("the provider does not tell '{}'", claim.name())))?;
        if name.is_empty()
            || name.len() > USER_NAME_BYTES_MAX
            || name.trim() != name
            || name.chars().any(char::is_control)
        {
            return Err(
                Reason::NoName.with(format!("what the provider tells as '{}' can be no user's name", claim.name()))
            );
        }
        match (claim, person.email_verified) {
            (UserClaim::Email, Some(true)) | (UserClaim::PreferredUsername | UserClaim::Subject, _) => Ok(name),
            (UserClaim::Email, Some(false)) => {
                Err(Reason::EmailNotVerified.with("the provider says 'email_verified': false"))
            }
            (UserClaim::Email, None) => Err(Reason::EmailNotVerified.with(
                "the provider does not tell 'email_verified'; where it never does, another oidc_user_claim is needed",
            )),
        }
    }
}

/// What the provider had the browser bring.
struct Answer<'a> {
    state: Option<&'a str>,
    issuer: Option<&'a str>,
    code: Option<&'a str>,
    error: Option<&'a str>,
}

impl<'a> Answer<'a> {
    fn read(query: &'a [(String, String)]) -> Result<Answer<'a>, OidcRefusal> {
        let one = |name: &str| {
            let mut values = query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
            match (values.next(), values.next()) {
                (value, None) => Ok(value),
                (_, Some(_)) => Err(Reason::NotBegunHere.with(format!("'{name}' stands in the answer twice"))),
            }
        };
        Ok(Answer { state: one("state")?, issuer: one("iss")?, code: one("code")?, error: one("error")? })
    }

    /// RFC 9207: so that no other provider's answer is taken for this one's.
    fn check_issuer(&self, issuer: &str, is_told: bool) -> Result<(), OidcRefusal> {
        match self.issuer {
            Some(told) if told == issuer => Ok(()),
            None if !is_told => Ok(()),
            Some(_) => Err(Reason::NotVerified.with("the answer is from another issuer")),
            None => Err(Reason::NotVerified.with("the answer does not tell its issuer, as the provider says it does")),
        }
    }

    fn code(&self) -> Result<&'a str, OidcRefusal> {
        if let Some(error) = self.error {
            let reason = if error == "access_denied" { Reason::Declined } else { Reason::ProviderFailed };
            return Err(reason.with(format!("the provider answered the browser with '{}'", refusal::as_word(error))));
        }
        match self.code {
            Some(code) if !code.is_empty() && code.len() <= CODE_BYTES_MAX => Ok(code),
            Some(_) => Err(Reason::NotBegunHere.with("the code is empty or too long")),
            None => Err(Reason::NotBegunHere.with("the answer has neither a code nor an error")),
        }
    }
}
