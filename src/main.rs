//! The `manpasik` binary.

fn main() {}
