//! The registry on the command line: versions, their approval and release, and tokens.

use std::path::PathBuf;

use clap::Subcommand;
use registry::Role;

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokensCommand {
    /// Make a token; it is shown once.
    Create {
        /// Unique name of its holder, as it stands in the audit.
        name: String,
        /// What the holder may do; may be given more than once.
        #[arg(long = "role", required = true, value_parser = role)]
        roles: Vec<Role>,
        /// Days until it ends; none: never.
        #[arg(long, value_name = "N")]
        days: Option<u32>,
    },
    /// Every token, without its secret.
    List,
    /// End a token at once.
    Revoke {
        /// Name of its holder.
        name: String,
    },
}

fn role(text: &str) -> Result<Role, String> {
    let known: Vec<&str> = Role::ALL.iter().map(|role| role.code()).collect();
    Role::read(text).ok_or_else(|| format!("expected one of {}", known.join(", ")))
}

/// What to do with registered versions, in the registry's own database; a running server follows it.
#[derive(Debug, Subcommand)]
pub(crate) enum RegistryCommand {
    /// Register a bundle folder as a new version; the running server examines it.
    Push {
        /// Bundle folder.
        folder: PathBuf,
        /// What is new, for the audit.
        #[arg(long, default_value = "")]
        why: String,
    },
    /// Registered versions with their states; of one model, or of all.
    Versions {
        /// Name of the registered model.
        name: Option<String>,
    },
    /// What the gates found in a registered version.
    Report {
        /// Name of the registered model.
        name: String,
        /// Its number.
        number: i64,
    },
    /// Say yes to a registered version that somebody else made.
    Approve {
        /// Name of the registered model.
        name: String,
        /// Its number.
        number: i64,
        /// Why, for the audit.
        #[arg(long)]
        why: String,
    },
    /// Move an approved version on: it answers for the model's name once it is live.
    Promote {
        /// Name of the registered model.
        name: String,
        /// Its number.
        number: i64,
        /// Why, for the audit.
        #[arg(long, default_value = "")]
        why: String,
    },
    /// Take the live version back and put the one before it in its place.
    Rollback {
        /// Name of the registered model.
        name: String,
        /// Why, for the audit.
        #[arg(long)]
        why: String,
    },
    /// Who did what to which version, when and why.
    Audit {
        /// Name of a registered model; none: all.
        name: Option<String>,
        /// Walk the whole chain and say where it ends, or where it is broken.
        #[arg(long, conflicts_with = "name")]
        verify: bool,
    },
}
