//! The registry: which version serves, how it came there, and which runs there were.
//!
//! [`Registry`] is the one door: registered models and their versions with states, approvals and aliases; logged
//! models and runs in the words of MLflow; the artifact tree; tokens; and the audit of every change. It knows no
//! wire: REST, gRPC and the command line are thin faces over it.
//!
//! [`Catalogue`] is what lies in folders, `<folder>/<name>/<version>/`: the shipped bundles, and the registry's
//! versions once they have been laid out for serving.

pub mod artifacts;
pub mod audit;
mod backup;
mod catalogue;
pub mod diff;
mod error;
pub mod gates;
pub mod logged;
pub mod policy;
pub mod predictions;
mod principal;
mod registry;
mod release;
pub mod runs;
pub mod search;
mod state;
mod store;
pub mod versions;

pub use backup::Kept;
pub use catalogue::{Catalogue, Entry};
pub use error::RegistryError;
pub use principal::{LOCAL, Principal, Role, Scope};
pub use registry::{Act, Identity, NewToken, Registry, TokenInfo};
pub use release::{Pin, Release};
pub use state::State;
