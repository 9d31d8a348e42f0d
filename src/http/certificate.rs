//! The certificate that the listener shows, and its key: read from two files, and read again when these are renewed, while the service
//! runs. A new pair that does not hold changes nothing.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use x509_cert::der::Decode as _;

use crate::command::Clock;
use crate::metrics::CERTIFICATE_UNTIL_S;

/// How often the files are looked at without being asked.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Where the pair is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PairFiles {
    /// PEM: the certificate, and after it those of the authorities between it and the one that clients trust.
    pub certificate: PathBuf,
    /// PEM: its key, not encrypted.
    pub key: PathBuf,
}

/// Why a pair is of no use: which file, and what would be right.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct UselessPair(String);

/// The pair that is shown at the moment.
pub struct Certificate {
    files: PairFiles,
    shown: RwLock<Arc<CertifiedKey>>,
    /// Of the files as they were looked at last, whether they held or not.
    seen: Mutex<[u8; 32]>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("files", &self.files).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.shown.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// What came of looking at the files again.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Look {
    /// They are as they were.
    Same,
    /// Their pair is shown from now on; until when it is valid, and whether it is not at this moment.
    Renewed(Validity),
    /// What was shown before is shown still.
    Useless(UselessPair),
}

impl Certificate {
    /// Reads the pair. Blocking.
    pub fn read(files: PairFiles, now_ms: i64) -> Result<Certificate, UselessPair> {
        let texts = Texts::read(&files)?;
        let (pair, validity) = texts.pair(&files)?;
        let words = "the certificate is read";
        validity.tell(&files, now_ms, words);
        Ok(Certificate { files, shown: RwLock::new(Arc::new(pair)), seen: Mutex::new(texts.digest()) })
    }

    /// Looks whether the files have changed. Blocking.
    fn look(&self) -> Look {
        let (texts, digest) = match Texts::read(&self.files) {
            Ok(texts) => {
                let digest = texts.digest();
                (Ok(texts), digest)
            }
            // What cannot be read is told once, too.
            Err(useless) => {
                let digest = Sha256::digest(useless.to_string()).into();
                (Err(useless), digest)
            }
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *seen, digest) == digest {
            return Look::Same;
        }
        match texts.and_then(|texts| texts.pair(&self.files)) {
            Ok((pair, validity)) => {
                *self.shown.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pair);
                Look::Renewed(validity)
            }
            Err(useless) => Look::Useless(useless),
        }
    }

    /// Looks, and logs what is new.
    fn renew(&self, now_ms: i64) {
        match self.look() {
            Look::Same => {}
            Look::Renewed(validity) => validity.tell(&self.files, now_ms, "the certificate is renewed"),
            Look::Useless(useless) => {
                tracing::error!(%useless, "the certificate is not renewed: the one before is shown still");
            }
        }
    }
}

/// Reads the pair again on SIGHUP, and every minute whether its files have changed, until the service is to stop.
pub fn keep_renewed(
    certificate: Arc<Certificate>,
    clock: Clock,
    mut stopping: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = hangup.recv() => tracing::info!("SIGHUP: looking at the certificate's files"),
                () = tokio::time::sleep(LOOK_EVERY) => {}
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
            let (certificate, now_ms) = (Arc::clone(&certificate), clock());
            if tokio::task::spawn_blocking(move || certificate.renew(now_ms)).await.is_err() {
                tracing::error!("looking at the certificate's files panicked");
            }
        }
    });
    Ok(())
}

/// The two files' bytes.
struct Texts {
    certificate: Vec<u8>,
    key: zeroize::Zeroizing<Vec<u8>>,
}

impl Texts {
    fn read(files: &PairFiles) -> Result<Texts, UselessPair> {
        let read = |name: &str, path: &Path| {
            std::fs::read(path).map_err(|error| useless(name, path, &format!("it cannot be read: {error}")))
        };
        Ok(Texts { certificate: read(CERTIFICATE, &files.certificate)?, key: read(KEY, &files.key)?.into() })
    }

    fn digest(&self) -> [u8; 32] {
        // With a length, so that what moves from one file to the other is seen.
        let length = (self.certificate.len() as u64).to_be_bytes();
        Sha256::new().chain_update(length).chain_update(&self.certificate).chain_update(&self.key).finalize().into()
    }

    fn pair(&self, files: &PairFiles) -> Result<(CertifiedKey, Validity), UselessPair> {
        let of_certificate = |what: &str| useless(CERTIFICATE, &files.certificate, what);
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<_, _>>()
            .map_err(|error| of_certificate(&format!("it is no PEM: {error}")))?;
        let first = chain.first().ok_or_else(|| {
            of_certificate(
                "there is no certificate in it; it must hold the service's own in PEM, and then those between",
            )
        })?;
        let validity =
            Validity::of(first).ok_or_else(|| of_certificate("its first certificate cannot be read; make it anew"))?;
        let key = self.private_key(files)?;
        let signing = ring::default_provider().key_provider.load_private_key(key).map_err(|error| {
            useless(KEY, &files.key, &format!("the key is of no use here ({error}); RSA, ECDSA and Ed25519 keys are"))
        })?;
        let pair = CertifiedKey::new(chain, signing);
        match pair.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok((pair, validity)),
            Err(rustls::Error::InconsistentKeys(_)) => {
                let certificate = files.certificate.display();
                Err(useless(KEY, &files.key, &format!("it is not the key of the first certificate in {certificate}")))
            }
            Err(error) => Err(of_certificate(&format!("its first certificate is of no use: {error}"))),
        }
    }

    fn private_key(&self, files: &PairFiles) -> Result<PrivateKeyDer<'static>, UselessPair> {
        let wrong = |what: &str| useless(KEY, &files.key, what);
        let has = |words: &[u8]| self.key.windows(words.len()).any(|window| window == words);
        PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| match error {
            _ if has(b"ENCRYPTED") => {
                let path = files.key.display();
                wrong(&format!(
                    "the key is encrypted, and a service that starts by itself has nobody to ask for the password; \
                     'openssl pkey -in {path} -out NEW' takes it off"
                ))
            }
            pem::Error::NoItemsFound => wrong("there is no private key in it; it must hold one in PEM"),
            error => wrong(&format!("it is no PEM: {error}")),
        })
    }
}

const CERTIFICATE: &str = "tls_certificate";
const KEY: &str = "tls_key";

fn useless(name: &str, path: &Path, what: &str) -> UselessPair {
    UselessPair(format!("{name}: {}: {what}", path.display()))
}

/// From when until when a certificate is valid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Validity {
    from: Timestamp,
    until: Timestamp,
}

impl Validity {
    fn of(certificate: &CertificateDer<'_>) -> Option<Validity> {
        let read = x509_cert::Certificate::from_der(certificate).ok()?;
        let validity = read.tbs_certificate.validity;
        let moment = |time: x509_cert::time::Time| {
            Timestamp::from_second(i64::try_from(time.to_unix_duration().as_secs()).ok()?).ok()
        };
        Some(Validity { from: moment(validity.not_before)?, until: moment(validity.not_after)? })
    }

    /// Tells that the certificate is shown from now on. What clients would not believe is shown all the same: whether they look is theirs, and clocks can be wrong.
    fn tell(self, files: &PairFiles, now_ms: i64, words: &str) {
        CERTIFICATE_UNTIL_S.store(self.until.as_second(), Ordering::Relaxed);
        let (Validity { from, until }, file) = (self, files.certificate.display());
        if until.as_millisecond() <= now_ms {
            tracing::warn!(%file, %until, "{words}, and has expired: clients refuse it; renew it");
        } else if from.as_millisecond() > now_ms {
            tracing::warn!(%file, %from, "{words}, and is not valid yet: clients refuse it; is this machine's clock right?");
        } else {
            tracing::info!(%file, %until, "{words}");
        }
    }
}
