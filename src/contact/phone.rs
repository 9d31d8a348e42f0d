//! Phones (a stand-in until the real room is merged).
use std::fmt;
/// A telephone number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Phone(u64);
impl Phone {
    /// Reads a number.
    pub fn parse(cell: &str, _region: Region) -> Option<Phone> {
        let digits: String = cell.chars().filter(char::is_ascii_digit).collect();
        let national = digits.strip_prefix('1').unwrap_or(&digits);
        (national.len() == 10).then(|| national.parse().ok().map(|n: u64| Phone(10_000_000_000 + n)))?
    }
    /// What a store kept.
    pub fn from_digits(digits: u64) -> Phone {
        Phone(digits)
    }
    /// Without the plus.
    pub fn digits(self) -> u64 {
        self.0
    }
}
impl fmt::Display for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}", self.0)
    }
}
/// A region.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Region([u8; 2]);
impl Region {
    /// The United States.
    pub const US: Region = Region(*b"US");
    /// Reads a region.
    pub fn parse(code: &str) -> Option<Region> {
        let code: [u8; 2] = code.as_bytes().try_into().ok()?;
        Some(Region(code.map(|byte| byte.to_ascii_uppercase())))
    }
    /// The code.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("US")
    }
}
