//! The console: programs, contacts and imports in a browser, for people who sign in.

pub mod oidc;
