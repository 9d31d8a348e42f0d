//! Passwords of the console's users: what one may be, and Argon2id. All of it is blocking, and takes tens of milliseconds and [`MEMORY_KIB`] on
//! purpose: callers run it on threads for blocking work, and few at once.

use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};

use super::{PasswordHash, UserName};

/// How much memory a password takes to be tried: what makes guessing dear on machines that try thousands side by side.
pub const MEMORY_KIB: u32 = 19 * 1024;

/// How often that memory is gone through.
pub const PASSES: u32 = 2;

/// How much of it could be done side by side.
pub const LANES: u32 = 1;

/// The fewest characters of a password.
pub const PASSWORD_CHARS_MIN: usize = 12;

/// The longest password in bytes: far beyond any sentence, and a bound for what a stranger can have hashed.
pub const PASSWORD_BYTES_MAX: usize = 1_024;

/// The hash of a random password that was never written down, with the parameters from above.
const OF_NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$6xlheVeUirOwZGrDaXPfkQ$gu3R0pK6F6ubEXyFBQ9fAjRmGyVzp6+h9ZNHV6syB34";

/// Why a text may not be a password. Length is what counts: nothing is asked about digits or punctuation, and nothing expires.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PasswordFault {
    /// It has this many characters.
    #[error("a password has at least {PASSWORD_CHARS_MIN} characters; this one has {0}")]
    TooShort(usize),
    /// It has this many bytes.
    #[error("a password has at most {PASSWORD_BYTES_MAX} bytes; this one has {0}")]
    TooLong(usize),
    /// It is what the user signs in with.
    #[error("a password must not be the user's name")]
    IsName,
    /// It is one character, again and again.
    #[error("a password must not be one character, repeated")]
    IsOneCharacter,
}

/// That a password could not be hashed: there was no memory for it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the password could not be hashed: {0}")]
pub struct HashFault(String);

/// Whether a text may become the password of this user.
///
/// # Errors
///
/// [`PasswordFault`] says what is wrong with it, without showing it.
pub fn check_password(password: &str, name: &UserName) -> Result<(), PasswordFault> {
    let chars = password.chars().count();
    if chars < PASSWORD_CHARS_MIN {
        return Err(PasswordFault::TooShort(chars));
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(PasswordFault::TooLong(password.len()));
    }
    if password.trim().to_lowercase() == name.as_str() {
        return Err(PasswordFault::IsName);
    }
    let first = password.chars().next();
    if password.chars().all(|character| Some(character) == first) {
        return Err(PasswordFault::IsOneCharacter);
    }
    Ok(())
}

/// Hashes a password, with random bytes that belong to it alone. Blocking.
///
/// # Errors
///
/// [`HashFault`] if the system has no memory for it.
pub fn hash(password: &str, salt: [u8; 16]) -> Result<PasswordHash, HashFault> {
    let hashed: Result<phc::PasswordHash, _> =
        parameters().and_then(|argon2| argon2.hash_password_with_salt(password.as_bytes(), &salt));
    hashed.map(|phc| PasswordHash::new(phc.to_string())).map_err(|error| HashFault(error.to_string()))
}

/// Whether this is the password of the hash, with whatever parameters it was made. One that is longer than any can be is not tried. Blocking.
pub fn verify(password: &str, hash: &PasswordHash) -> bool {
    let (Ok(argon2), Ok(phc)) = (parameters(), phc::PasswordHash::new(hash.expose())) else { return false };
    password.len() <= PASSWORD_BYTES_MAX && argon2.verify_password(password.as_bytes(), &phc).is_ok()
}

/// What a password is tried against where there is no user of the name, or one without a password: so that it takes as long, and nobody
/// learns from the time who has an account here. It is nobody's: [`verify`] says no.
pub fn of_nobody() -> PasswordHash {
    PasswordHash::new(OF_NOBODY.to_owned())
}

fn parameters() -> Result<Argon2<'static>, argon2::password_hash::Error> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: &str = "correct horse battery staple";
    const SALT: [u8; 16] = *b"0123456789abcdef";

    /// Whether a hash was made otherwise than [`hash`] makes it now.
    fn needs_rehash(hash: &PasswordHash) -> bool {
        let Ok(phc) = phc::PasswordHash::new(hash.expose()) else { return true };
        let is_of_now =
            |params: Params| (params.m_cost(), params.t_cost(), params.p_cost()) == (MEMORY_KIB, PASSES, LANES);
        let is_argon2id =
            phc.algorithm.as_str() == Algorithm::Argon2id.as_str() && phc.version == Some(Version::V0x13.into());
        let is_whole = phc.hash.is_some_and(|output| output.len() == Params::DEFAULT_OUTPUT_LEN);
        !(is_argon2id && is_whole && Params::try_from(&phc).is_ok_and(is_of_now))
    }

    fn name() -> UserName {
        UserName::parse("ada.lovelace@example.edu").expect("a name")
    }

    #[test]
    fn a_hash_is_what_other_implementations_make() {
        let made = hash(PASSWORD, SALT).expect("hashed");
        // By the reference implementation in C.
        assert_eq!(
            made.expose(),
            "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$gy5SuVm5Z7Vw7keB9se9p87QGcomaseB/S2U1OhTsM0"
        );
        assert!(verify(PASSWORD, &made) && !needs_rehash(&made));
        for wrong in ["", "correct horse battery stapl", "Correct horse battery staple", &"x".repeat(5_000)] {
            assert!(!verify(wrong, &made), "{wrong}");
        }
        assert_ne!(hash(PASSWORD, [1; 16]).expect("hashed"), made, "each has a salt of its own");
    }

    #[test]
    fn what_is_no_hash_lets_nobody_in() {
        for none in ["", "$argon2id$", "$argon2id$v=19$m=19456,t=2,p=1$6xlheVeUirOwZGrDaXPfkQ", "$2b$12$abc", "x"] {
            let none = PasswordHash::new(none.to_owned());
            assert!(!verify("", &none) && !verify(PASSWORD, &none) && needs_rehash(&none));
        }
    }

    #[test]
    fn nobodys_hash_costs_what_a_users_does_and_lets_nobody_in() {
        assert!(!needs_rehash(&of_nobody()), "its parameters are those of now");
        assert!(!verify(PASSWORD, &of_nobody()) && !verify("", &of_nobody()));
    }

    #[test]
    fn a_hash_of_other_parameters_holds_and_is_made_anew() {
        let cheap = |algorithm, memory, passes| {
            let params = Params::new(memory, passes, 1, None).expect("parameters");
            let argon2 = Argon2::new(algorithm, Version::V0x13, params);
            let phc: phc::PasswordHash = argon2.hash_password_with_salt(PASSWORD.as_bytes(), &SALT).expect("hashed");
            PasswordHash::new(phc.to_string())
        };
        for old in [
            cheap(Algorithm::Argon2id, 64, 2),
            cheap(Algorithm::Argon2id, MEMORY_KIB, 1),
            cheap(Algorithm::Argon2i, MEMORY_KIB, PASSES),
        ] {
            assert!(verify(PASSWORD, &old) && needs_rehash(&old));
            assert!(!verify("another password", &old));
        }
        assert!(!needs_rehash(&cheap(Algorithm::Argon2id, MEMORY_KIB, PASSES)));
    }

    #[test]
    fn a_password_is_long_and_not_the_name() {
        let fault = |password: &str| check_password(password, &name()).err();
        assert_eq!(fault("short"), Some(PasswordFault::TooShort(5)));
        assert_eq!(fault("elevenchars"), Some(PasswordFault::TooShort(11)));
        assert_eq!(fault("ééééééééééé"), Some(PasswordFault::TooShort(11)), "characters are counted, not bytes");
        assert_eq!(fault(&"ab".repeat(513)), Some(PasswordFault::TooLong(1_026)));
        assert_eq!(fault("Ada.Lovelace@example.edu "), Some(PasswordFault::IsName));
        assert_eq!(fault("            "), Some(PasswordFault::IsOneCharacter));
        for good in [PASSWORD, "twelve chars", "пароль длинный", &"ab".repeat(512)] {
            assert_eq!(fault(good), None, "{good}");
        }
        assert_eq!(PasswordFault::TooShort(5).to_string(), "a password has at least 12 characters; this one has 5");
    }
}
