//! The `quaestor` program.

fn main() {}
