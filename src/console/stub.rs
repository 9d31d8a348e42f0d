//! Temporary.
use crate::tenant::{PasswordHash, UserName};
pub(super) const PASSWORD_BYTES_MAX: usize = 1_024;
pub(super) fn nobodys_password() -> PasswordHash {
    PasswordHash::new(String::new())
}
pub(super) fn verify_password(_: &str, _: &PasswordHash) -> bool {
    false
}
pub(super) fn check_password(_: &str, _: &UserName) -> Result<(), String> {
    Ok(())
}
pub(super) fn hash_password(_: &str, _: [u8; 16]) -> Result<PasswordHash, String> {
    Err(String::new())
}
