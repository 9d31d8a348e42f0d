//! House tools.
fn main(){}
