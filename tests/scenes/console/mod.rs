//! The console, as somebody without scripts uses it: through the front door, by its forms and links.

mod permitting;
mod signing_in;
mod using;
mod visitor;
