//! Who calls: one small module per platform service over a shared kernel.
//!
//! A service is `mod.rs` (what it is made of, start and stop), `rules.rs` (the business, pure), `store.rs` (its own
//! tables) and `grpc.rs` (four lines an RPC), with more small files where one of these would grow. Services know no
//! model and no registry: they reach inference only through the generated client, which wraps a server in this
//! process or a channel to another one. [`measurement`] is the pattern to copy.

pub mod kernel;
pub mod measurement;
