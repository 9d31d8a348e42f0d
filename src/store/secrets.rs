//! Secrets at rest: the master key, and what is sealed with it. Shared by both homes of the data.
//!
//! Not a key ring yet: there is one version of the key, but every sealed value names its version, so that a second one can
//! come without touching what is stored.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::StoreError;
use crate::tenant::Secret;

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;

/// The version of the one key.
const VERSION: u8 = 1;

/// Where the master key comes from.
#[derive(Clone)]
pub enum MasterKeySource {
    /// The key itself: 64 hex digits, or base64 of 32 bytes.
    Text(Zeroizing<String>),
    /// A file that holds it in one of these spellings.
    File(PathBuf),
    /// The same, but the file is made where there is none.
    FileOrNew(PathBuf),
}

impl MasterKeySource {
    /// The same for a store that has secrets already: a key that was made now would open none of them.
    pub fn of_existing(self) -> MasterKeySource {
        match self {
            MasterKeySource::FileOrNew(path) => MasterKeySource::File(path),
            source @ (MasterKeySource::Text(_) | MasterKeySource::File(_)) => source,
        }
    }
}

impl fmt::Debug for MasterKeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MasterKeySource::Text(_) => f.write_str("Text(…)"),
            MasterKeySource::File(path) => f.debug_tuple("File").field(path).finish(),
            MasterKeySource::FileOrNew(path) => f.debug_tuple("FileOrNew").field(path).finish(),
        }
    }
}

/// What a sealed value is for; it can be opened for this only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// The secret that a token signs with; bound to the token's text.
    TokenSecret,
    /// The same of a token that may not do everything; bound to what it may do, too.
    ScopedTokenSecret,
    /// The secret that a token signed with before, and may for a while; bound to when that ends, too.
    OldTokenSecret,
    /// The hash of a user's password; bound to the user's id.
    UserPassword,
    /// A known value that shows whether the key fits the store.
    KeyCheck,
}

impl Purpose {
    fn word(self) -> &'static str {
        match self {
            Purpose::TokenSecret => "token-secret",
            Purpose::ScopedTokenSecret => "scoped-token-secret",
            Purpose::OldTokenSecret => "old-token-secret",
            Purpose::UserPassword => "user-password",
            Purpose::KeyCheck => "key-check",
        }
    }
}

/// What a key is for that is derived of the master key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DerivedFor {
    /// Sealing what browsers keep while somebody signs in.
    SignInUnderWay,
}

impl DerivedFor {
    fn word(self) -> &'static str {
        match self {
            DerivedFor::SignInUnderWay => "sign-in-under-way",
        }
    }
}

/// The key that secrets are sealed with. Wiped from memory when dropped, and never shown by `Debug`.
pub struct MasterKey(Zeroizing<[u8; KEY_BYTES]>);

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

impl MasterKey {
    /// Reads the key, or makes it where the source says so.
    pub fn load(source: &MasterKeySource) -> Result<MasterKey, StoreError> {
        match source {
            MasterKeySource::Text(text) => {
                Self::parse(text).ok_or_else(|| StoreError::Refused(format!("the master key is {SPELLINGS}")))
            }
            MasterKeySource::File(path) => match Self::read(path)? {
                Some(key) => Ok(key),
                None => Err(StoreError::Refused(format!(
                    "there is no master key file {}; without it no token's secret can be read",
                    path.display()
                ))),
            },
            MasterKeySource::FileOrNew(path) => match Self::read(path)? {
                Some(key) => Ok(key),
                None => Self::make(path),
            },
        }
    }

    /// Seals a value for a purpose and a context (for a token's secret: the token's text). The result is the key's
    /// version, the nonce, and the ciphertext.
    pub fn seal(&self, purpose: Purpose, context: &str, value: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(no_randomness)?;
        let associated = associated(purpose, context);
        let sealed = self
            .cipher()?
            .encrypt(&XNonce::from(nonce), Payload { msg: value, aad: &associated })
            .map_err(|_| StoreError::Fault(format!("sealing a {} failed", purpose.word())))?;
        Ok([&[VERSION], nonce.as_slice(), &sealed].concat())
    }

    /// A key of its own, the same on every node, which tells nothing of this one.
    pub fn derived(&self, purpose: DerivedFor) -> Result<Zeroizing<[u8; KEY_BYTES]>, StoreError> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.as_slice())
            .map_err(|_| StoreError::Fault("the master key has a wrong length".to_owned()))?;
        mac.update(b"roster derived key\0");
        mac.update(purpose.word().as_bytes());
        Ok(Zeroizing::new(mac.finalize().into_bytes().into()))
    }

    /// Opens what [`MasterKey::seal`] made for the same purpose and context; `None` if this key, purpose or context is
    /// not the one, or the bytes were changed.
    pub fn open(&self, purpose: Purpose, context: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (version, rest) = sealed.split_first()?;
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_BYTES>()?;
        if *version != VERSION {
            return None;
        }
        let associated = associated(purpose, context);
        let payload = Payload { msg: ciphertext, aad: &associated };
        self.cipher().ok()?.decrypt(&XNonce::from(*nonce), payload).ok().map(Zeroizing::new)
    }

    /// The same, for a text.
    pub fn open_text(&self, purpose: Purpose, context: &str, sealed: &[u8]) -> Option<Secret> {
        let value = self.open(purpose, context, sealed)?;
        std::str::from_utf8(&value).ok().map(|text| Secret::new(text.to_owned()))
    }

    fn cipher(&self) -> Result<XChaCha20Poly1305, StoreError> {
        XChaCha20Poly1305::new_from_slice(self.0.as_slice())
            .map_err(|_| StoreError::Fault("the master key has a wrong length".to_owned()))
    }

    fn parse(text: &str) -> Option<MasterKey> {
        let text = text.trim();
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        if text.len() == 2 * KEY_BYTES {
            for (byte, pair) in key.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
                *byte = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
            }
        } else {
            let bytes = Zeroizing::new(STANDARD_NO_PAD.decode(text).or_else(|_| STANDARD.decode(text)).ok()?);
            key.copy_from_slice(Some(bytes.as_slice()).filter(|bytes| bytes.len() == KEY_BYTES)?);
        }
        Some(MasterKey(key))
    }

    fn read(path: &Path) -> Result<Option<MasterKey>, StoreError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unavailable("reading", path, &error)),
        };
        warn_if_open_to_others(path);
        let key = Self::parse(&text);
        key.map(Some).ok_or_else(|| {
            StoreError::Refused(format!("{} holds no master key: it must be {SPELLINGS}", path.display()))
        })
    }

    /// Two processes that start at once must agree on one key. So the key is written in full under a name of its own, and
    /// then linked to the final name, which only one of them can do; the other reads what the first one linked.
    fn make(path: &Path) -> Result<MasterKey, StoreError> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        let mut suffix = [0; 8];
        getrandom::fill(key.as_mut_slice()).map_err(no_randomness)?;
        getrandom::fill(&mut suffix).map_err(no_randomness)?;
        let temporary = path.with_extension(format!("{:016x}.new", u64::from_le_bytes(suffix)));
        make_parent(path).map_err(|error| unavailable("making the directory of", path, &error))?;
        let linked = write_key(&temporary, &key).and_then(|()| fs::hard_link(&temporary, path));
        // What is left of it is harmless, but it is a key: it goes whatever happened.
        let removed = fs::remove_file(&temporary);
        match linked {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(unavailable("making", path, &error)),
        }
        removed.map_err(|error| unavailable("removing", &temporary, &error))?;
        sync_directory_of(path).map_err(|error| unavailable("syncing the directory of", path, &error))?;
        Self::read(path)?.ok_or_else(|| {
            StoreError::Unavailable(format!("the master key file {} vanished while it was made", path.display()))
        })
    }
}

/// A key's directory is its owner's only, if it is made for it.
fn make_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() && !parent.is_dir() => {
            DirBuilder::new().recursive(true).mode(0o700).create(parent)
        }
        Some(_) | None => Ok(()),
    }
}

const SPELLINGS: &str = "64 hex digits, or 32 bytes in base64";

fn associated(purpose: Purpose, context: &str) -> Vec<u8> {
    // No purpose has a NUL, so no two pairs make the same bytes.
    [purpose.word().as_bytes(), b"\0", context.as_bytes()].concat()
}

fn write_key(path: &Path, key: &[u8; KEY_BYTES]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut text = Zeroizing::new(String::with_capacity(2 * KEY_BYTES + 1));
    for byte in key {
        text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        text.push(char::from_digit(u32::from(byte & 0xf), 16).unwrap_or('0'));
    }
    text.push('\n');
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

/// A warning only: some ways to hand secrets to a service (mounted volumes) cannot set a mode.
fn warn_if_open_to_others(path: &Path) {
    let Ok(metadata) = fs::metadata(path) else { return };
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), mode = format!("{mode:03o}"), "other users may read the master key file; set its mode to 600");
    }
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn no_randomness(error: getrandom::Error) -> StoreError {
    StoreError::Fault(format!("the system gives no random bytes: {error}"))
}

fn unavailable(what: &str, path: &Path, error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("{what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1F";

    fn text(key: &str) -> Result<MasterKey, StoreError> {
        MasterKey::load(&MasterKeySource::Text(Zeroizing::new(key.to_owned())))
    }

    #[test]
    fn a_key_is_hex_or_base64_of_32_bytes() {
        let hex = text(HEX).expect("hex");
        for base64 in ["AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", " AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n"]
        {
            assert_eq!(text(base64).expect("base64").0, hex.0);
        }
        for none in ["", "00", &HEX[1..], &HEX.replace('F', "g"), "AAEC", "ä"] {
            assert!(matches!(text(none), Err(StoreError::Refused(_))), "{none}");
        }
    }

    #[test]
    fn what_is_sealed_opens_for_its_purpose_and_context_only() {
        let key = text(HEX).expect("a key");
        let sealed = key.seal(Purpose::TokenSecret, "token", b"secret").expect("sealed");
        assert_eq!(key.open(Purpose::TokenSecret, "token", &sealed).expect("opened").as_slice(), b"secret");
        assert!(key.open(Purpose::TokenSecret, "other", &sealed).is_none());
        assert!(key.open(Purpose::KeyCheck, "token", &sealed).is_none());
        let other = text(&HEX.replace('0', "1")).expect("a key");
        assert!(other.open(Purpose::TokenSecret, "token", &sealed).is_none());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key.open(Purpose::TokenSecret, "token", &changed).is_none(), "byte {at}");
            assert!(key.open(Purpose::TokenSecret, "token", &sealed[..at]).is_none(), "cut at {at}");
        }
    }

    #[test]
    fn two_values_never_seal_alike() {
        let key = text(HEX).expect("a key");
        let seal = || key.seal(Purpose::KeyCheck, "", b"value").expect("sealed");
        assert_ne!(seal(), seal());
    }

    #[test]
    fn a_derived_key_is_always_the_same_and_another_for_another_key() {
        let derived = |key: &str| *text(key).expect("a key").derived(DerivedFor::SignInUnderWay).expect("derived");
        assert_eq!(derived(HEX), derived(HEX));
        assert_ne!(derived(HEX), derived(&HEX.replace('0', "1")));
        // As `openssl mac -digest SHA256 -macopt hexkey:… HMAC` has it.
        assert_eq!(derived(HEX)[..4], [0x4c, 0xff, 0xbb, 0xd0]);
    }

    #[test]
    fn all_who_start_at_once_get_one_key() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("master.key");
        let keys: Vec<[u8; KEY_BYTES]> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| *MasterKey::load(&MasterKeySource::FileOrNew(path.clone())).expect("a key").0))
                .collect();
            starts.into_iter().map(|start| start.join().expect("no panic")).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]) && keys[0] != [0; KEY_BYTES]);
        assert_eq!(fs::metadata(&path).expect("the file").permissions().mode() & 0o777, 0o600);
        let files = fs::read_dir(directory.path()).expect("the directory").count();
        assert_eq!(files, 1, "no temporary file is left");
    }

    #[test]
    fn a_file_that_must_exist_is_not_made() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("master.key");
        assert!(matches!(MasterKey::load(&MasterKeySource::File(path.clone())), Err(StoreError::Refused(_))));
        assert!(!path.exists());
    }

    #[test]
    fn debug_shows_no_key() {
        let source = MasterKeySource::Text(Zeroizing::new(HEX.to_owned()));
        assert_eq!(format!("{source:?} {:?}", text(HEX).expect("a key")), "Text(…) MasterKey(…)");
    }
}
