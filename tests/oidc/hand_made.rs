//! A provider that answers as a test says: what it signs, what it claims, what it sends, and how slowly.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use roster::console::oidc::{Identity, OidcClient, OidcRefusal, OidcSettings, UserClaim};
use roster::tenant::Secret;
use serde_json::{Value, json};

use crate::real::{CONSOLE_URL, client, parameter};

/// The moment at which everything happens.
pub(crate) const NOW_MS: i64 = 1_800_000_000_000;

/// An answer to one path.
#[derive(Clone)]
pub(crate) enum Answer {
    /// A document.
    Json(u16, Value),
    /// These bytes, head and all.
    Raw(Vec<u8>),
    /// It never ends.
    Endless,
    /// These bytes, and then nothing; the connection stays.
    Stuck(Vec<u8>),
}

/// The provider.
pub(crate) struct HandMade {
    pub(crate) issuer: String,
    state: Arc<Mutex<State>>,
    key: EcdsaKeyPair,
}

#[derive(Default)]
struct State {
    answers: BTreeMap<String, Answer>,
    /// The paths that were asked for, with their bodies.
    asked: Vec<(String, String)>,
    /// Connections that wait.
    stuck: Vec<TcpStream>,
    /// From now on none waits.
    is_released: bool,
}

impl HandMade {
    /// One that is as it should be.
    pub(crate) fn new() -> HandMade {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || answer(stream, &shared));
            }
        });
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pair.as_ref(), &random).unwrap();
        let made = HandMade { issuer, state, key };
        made.set("/.well-known/openid-configuration", Answer::Json(200, made.description()));
        made.set("/jwks", Answer::Json(200, json!({ "keys": [made.jwk()] })));
        made
    }

    pub(crate) fn set(&self, path: &str, answer: Answer) {
        self.state().answers.insert(path.to_owned(), answer);
    }

    /// What was asked for.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.state().asked.iter().map(|(path, _)| path.clone()).collect()
    }

    /// Ends all connections that wait.
    pub(crate) fn release(&self) {
        let mut state = self.state();
        state.is_released = true;
        state.stuck.clear();
    }

    /// What was sent there last.
    pub(crate) fn body_of(&self, path: &str) -> String {
        self.state().asked.iter().rfind(|(asked, _)| asked == path).unwrap().1.clone()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn description(&self) -> Value {
        let issuer = &self.issuer;
        json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/auth?realm=1"),
            "token_endpoint": format!("{issuer}/token"),
            "jwks_uri": format!("{issuer}/jwks"),
            "userinfo_endpoint": format!("{issuer}/me"),
        })
    }

    /// Its public key.
    pub(crate) fn jwk(&self) -> Value {
        let point = self.key.public_key().as_ref();
        let (x, y) = point[1..].split_at(32);
        json!({
            "kty": "EC", "crv": "P-256", "kid": "1", "use": "sig", "alg": "ES256",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        })
    }

    pub(crate) fn settings(&self, user_claim: UserClaim) -> OidcSettings {
        OidcSettings {
            issuer: self.issuer.clone(),
            client_id: "roster".to_owned(),
            client_secret: Some(Secret::new("s3cr3t".to_owned())),
            user_claim,
            label: "Sign in".to_owned(),
            console_url: CONSOLE_URL.to_owned(),
            answer_within: Duration::from_secs(60),
        }
    }

    pub(crate) fn client(&self) -> OidcClient {
        client(self.settings(UserClaim::Email))
    }

    /// Signed as it should be.
    pub(crate) fn signed(&self, header: &Value, claims: &Value) -> String {
        self.signed_text(&header.to_string(), &claims.to_string())
    }

    pub(crate) fn signed_text(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.key.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// What it claims of Ada.
    pub(crate) fn claims(&self, nonce: &str) -> Value {
        json!({
            "iss": self.issuer, "sub": "1", "aud": "roster", "nonce": nonce,
            "iat": NOW_MS / 1_000, "exp": NOW_MS / 1_000 + 300,
            "email": "ada@example.edu", "email_verified": true, "preferred_username": "ada",
        })
    }

    /// The whole way, with a token that `token` makes for a nonce.
    pub(crate) fn sign_in(
        &self,
        client: &OidcClient,
        token: impl FnOnce(&str) -> String,
    ) -> Result<Identity, OidcRefusal> {
        self.sign_in_at(client, NOW_MS, token)
    }

    /// The same at another moment.
    pub(crate) fn sign_in_at(
        &self,
        client: &OidcClient,
        now_ms: i64,
        token: impl FnOnce(&str) -> String,
    ) -> Result<Identity, OidcRefusal> {
        self.sign_in_by(client, now_ms, |nonce| {
            Answer::Json(200, json!({ "access_token": "access", "token_type": "Bearer", "id_token": token(nonce) }))
        })
    }

    /// The whole way, with this answer to the code.
    pub(crate) fn sign_in_by(
        &self,
        client: &OidcClient,
        now_ms: i64,
        answer: impl FnOnce(&str) -> Answer,
    ) -> Result<Identity, OidcRefusal> {
        let (url, pending) = client.begin("", now_ms)?;
        self.set("/token", answer(&parameter(&url, "nonce")));
        let query = [("state".to_owned(), parameter(&url, "state")), ("code".to_owned(), "c0de".to_owned())];
        client.finish(pending, &query, now_ms)
    }
}

fn answer(mut stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let length = lines.iter().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body).unwrap();
        let path = lines[0].split(' ').nth(1).unwrap().to_owned();
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.asked.push((path.clone(), String::from_utf8(body).unwrap()));
        let answer = state.answers.get(&path).cloned().unwrap_or(Answer::Json(404, json!({})));
        let sent = match answer {
            Answer::Json(status, json) => {
                let json = json.to_string();
                write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{json}", json.len())
            }
            Answer::Raw(bytes) => stream.write_all(&bytes),
            Answer::Endless => {
                drop(state);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n[");
                while stream.write_all(&[b' '; 4096]).is_ok() {}
                return;
            }
            Answer::Stuck(bytes) => {
                let _ = stream.write_all(&bytes);
                if !state.is_released {
                    state.stuck.push(stream);
                }
                return;
            }
        };
        if sent.is_err() {
            return;
        }
    }
}
