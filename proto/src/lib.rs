//! The wire: every message and service of the platform, generated from `proto/*.proto`.
//!
//! No logic lives here. Messages of `manpasik.v1` also read and write the canonical
//! protocol-buffer JSON, which is what the REST faces speak.

pub mod codec;

/// The Open Inference Protocol, version 2.
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::restriction
)]
pub mod inference {
    tonic::include_proto!("inference");
}

/// Services and messages of the platform.
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::restriction
)]
pub mod manpasik {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("manpasik.v1");
        include!(concat!(env!("OUT_DIR"), "/manpasik.v1.serde.rs"));
    }
}

/// Encoded `FileDescriptorSet` of every file, for reflection and OpenAPI.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
