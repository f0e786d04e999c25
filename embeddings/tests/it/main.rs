//! The face of the crate from outside: every implementation of the vector store.

mod remote;
