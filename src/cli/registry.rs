//! The registry on the command line: versions, their approval and release, and tokens.

use std::path::PathBuf;

use clap::{Args, Subcommand};
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
        /// A model it is for, or the beginning of names with `*` behind it; may be given more than once; none: every model.
        #[arg(long = "model", value_name = "NAME")]
        models: Vec<String>,
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
    /// A registered version beside another one: class of the change, settings, tensors, weights and files that differ,
    /// figures of the card with their difference, outcomes of the gates.
    Diff {
        /// Name of the registered model.
        name: String,
        /// Number of the version.
        number: i64,
        /// Number of the version it is compared with; none: what is live, a registered version or a bundle.
        beside: Option<i64>,
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
    /// Release an approved version: to a few callers and then to more where another one answers for the model's name,
    /// and to everybody at once where none does.
    Promote {
        /// Name of the registered model.
        name: String,
        /// Its number.
        number: i64,
        #[command(flatten)]
        way: Way,
        /// Why, for the audit.
        #[arg(long, default_value = "")]
        why: String,
    },
    /// Take back the version that is being released; without one, the live version, and put the one before it in its place.
    Rollback {
        /// Name of the registered model.
        name: String,
        /// Why, for the audit.
        #[arg(long)]
        why: String,
    },
    /// What the gates ask of a model's versions, and how they are released and taken back.
    Policy {
        /// Name of the registered model.
        name: String,
        /// TOML file with the new policy; what it does not say has its default.
        #[arg(long, value_name = "FILE")]
        set: Option<PathBuf>,
        /// Why, for the audit.
        #[arg(long, default_value = "", requires = "set")]
        why: String,
    },
    /// Let an approved version answer for one type of cartridge, whatever is live.
    Pin {
        /// Name of the registered model.
        name: String,
        /// Its number.
        number: i64,
        /// Category and type of the cartridge, such as 01:01.
        #[arg(long, value_name = "TYPE")]
        cartridge: String,
        /// Why, for the audit.
        #[arg(long, default_value = "")]
        why: String,
    },
    /// Let the live version answer for a type of cartridge again.
    Unpin {
        /// Name of the registered model.
        name: String,
        /// Category and type of the cartridge, such as 01:01.
        #[arg(long, value_name = "TYPE")]
        cartridge: String,
        /// Why, for the audit.
        #[arg(long, default_value = "")]
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

/// How a version is released.
#[derive(Debug, Clone, Copy, Args)]
#[group(multiple = false)]
pub(crate) struct Way {
    /// First send it copies of the traffic, and answer nobody with it.
    #[arg(long)]
    pub(crate) shadow: bool,
    /// Answer a few callers with it, then more, as the policy says.
    #[arg(long)]
    pub(crate) canary: bool,
    /// Answer everybody with it at once.
    #[arg(long)]
    pub(crate) now: bool,
}
