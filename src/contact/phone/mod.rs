//! The type Phone: reading a cell as a telephone number, and writing the number as E.164.
//!
//! A cell is good if libphonenumber's `isValidNumber` says so, for whatever country the number turns out to belong to; the
//! program's [`Region`] only decides how a number without country code is read. Letters and extensions are refused: a contact
//! is sent text messages, and neither a vanity number nor an extension receives any.
//!
//! Numbers of the North American plan in plain spelling, which is nearly every cell, are judged by the table in `nanp`;
//! everything else is asked of the library.
//!
//! Not here: what a blank cell means, whose number it is, whether anyone answers.

mod nanp;
#[cfg(test)]
mod rebuild;
#[cfg(test)]
mod tests;

use std::fmt;

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberFormat, Region as LibraryRegion};

use nanp::Verdict;

/// Version of libphonenumber's metadata behind the rule, for example `9.0.42`. Which numbers are valid changes with it.
pub const METADATA_VERSION: &str = nanp::METADATA_VERSION;

/// Longest cell that is read. libphonenumber (Java, Python) stops at 250 characters; its Rust port at nothing, so we do.
const CELL_BYTES_MAX: usize = 250;

/// A telephone number, valid by libphonenumber's rule. The E.164 digits as a number, without the `+`.
///
/// No country code begins with 0, so no digit is lost; the leading 0 of an Italian landline comes after the `39`.
/// At most 19 digits, and within `i64` (the longest are some of Japan and Indonesia: 81 or 62, and 17 digits).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Phone(u64);

impl Phone {
    /// Reads E.164 or any usual national spelling of `region`. The cell has been trimmed.
    ///
    /// `None`: not a valid number. Never panics, whatever comes in.
    ///
    /// ```
    /// use roster::contact::phone::{Phone, Region};
    ///
    /// let phone = Phone::parse("(239) 574-5030", Region::US).expect("a number of Cape Coral");
    /// assert_eq!(phone.to_string(), "+12395745030");
    /// assert_eq!(Phone::parse("(239) 574-5030 x12", Region::US), None, "extension");
    /// assert_eq!(Phone::parse("1-800-FLOWERS", Region::US), None, "letters");
    /// ```
    pub fn parse(cell: &str, region: Region) -> Option<Phone> {
        if cell.len() > CELL_BYTES_MAX {
            return None;
        }
        match nanp::judge(cell.as_bytes(), region.nanp) {
            Verdict::Valid(phone) => Some(phone),
            Verdict::Invalid => None,
            Verdict::Unsure => ask_library(cell, region),
        }
    }

    /// The number that a store kept. Only for values that came from [`Phone::digits`]: nothing is checked.
    pub fn from_digits(digits: u64) -> Phone {
        Phone(digits)
    }

    /// The E.164 digits as a number, without the `+`: what a store keeps.
    pub fn digits(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}", self.0)
    }
}

/// The slow path: about a microsecond, and some tens of milliseconds at the first call, when the library reads its metadata.
fn ask_library(cell: &str, region: Region) -> Option<Phone> {
    if cell.chars().any(is_refused) {
        return None;
    }
    let number = PHONE_NUMBER_UTIL.parse(cell, region.in_library()).ok()?;
    if number.extension.is_some() || !PHONE_NUMBER_UTIL.is_valid_number(&number) {
        return None;
    }
    let e164 = PHONE_NUMBER_UTIL.format(&number, PhoneNumberFormat::E164);
    let digits = e164.strip_prefix('+')?.parse::<u64>().ok()?;
    // Stores keep signed integers.
    i64::try_from(digits).ok().map(|_| Phone(digits))
}

/// Letters would be dialled as on a keypad or open an extension, and the library drops a NUL at either end in silence.
fn is_refused(c: char) -> bool {
    c.is_alphabetic() || c == '\0'
}

/// A country or region whose national spellings are read: ISO 3166 alpha-2, one that libphonenumber knows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Region {
    code: [u8; 2],
    /// Whether its country code is 1. Kept here, since every cell asks.
    nanp: bool,
}

impl Region {
    /// The United States: where a program is, unless it says otherwise.
    pub const US: Region = Region { code: *b"US", nanp: true };

    /// Reads a code such as `US`, in upper or lower case. `None`: libphonenumber does not know the region.
    pub fn parse(code: &str) -> Option<Region> {
        let code: [u8; 2] = code.as_bytes().try_into().ok()?;
        let code = code.map(|byte| byte.to_ascii_uppercase());
        let nanp = nanp::REGIONS.contains(&&code);
        let region = Region { code, nanp };
        // The table first, so that the usual regions do not wake the library.
        (nanp || region.is_in_library()).then_some(region)
    }

    /// The code, in upper case.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.code).unwrap_or_default()
    }

    fn is_in_library(self) -> bool {
        self.in_library().is_some_and(|region| PHONE_NUMBER_UTIL.get_country_code_for_region(region).is_some())
    }

    fn in_library(self) -> Option<LibraryRegion> {
        LibraryRegion::from_code(self.as_str()).ok()
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Region({})", self.as_str())
    }
}
