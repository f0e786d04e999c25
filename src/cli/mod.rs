//! The command line, as it is typed; nothing is read or opened here.

mod bench;
mod keeping;
mod registry;

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use self::{
    bench::{
        BenchCommand, BenchLoad, BenchPeers, BenchRegistry, BenchServe, BenchSoak, BenchVectors, LoadProtocol,
    },
    keeping::{Backup, PredictionsCommand, Replay, Restore, WatchCommand},
    registry::{RegistryCommand, TokensCommand, Way},
};
use crate::config::{Overrides, VectorStoreKind};

/// Serve, train, check and try the ManPaSik models.
///
/// With no configuration at all everything runs in one process on this machine: databases and
/// downloads lie in the data folder, and both ports listen on loopback only.
#[derive(Debug, Parser)]
#[command(name = "manpasik", version, about, long_about, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Options that every command takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// TOML file with settings (see --dump-config for all of them).
    #[arg(long, global = true, value_name = "FILE", env = "MANPASIK_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Folder for databases, downloads and fetched models.
    #[arg(long, global = true, value_name = "DIR", env = "MANPASIK_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Folder with model bundles, <name>/<version>/model.toml; may be given more than once.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) bundles: Vec<PathBuf>,
    /// What to log, for example info,inference=debug.
    #[arg(long, global = true, value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// Answer as JSON on standard output, for scripts.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Token of whoever does it, for the audit; none: whoever sits here.
    #[arg(long, global = true, value_name = "TOKEN", env = "MANPASIK_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// Print the configuration that is in force as TOML, and end.
    #[arg(long, global = true)]
    pub(crate) dump_config: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve every model over gRPC and HTTP until Ctrl-C.
    Serve(Listen),
    /// Serve, send real inputs to every model family over gRPC, and show the answers.
    Demo(Demo),
    /// Train a model family from its pinned data and write a bundle.
    Train(Train),
    /// Try other settings of a model family, judged on its validation rows; goes on where it was stopped.
    Search(Search),
    /// List, show and compare the records of training and search.
    #[command(subcommand)]
    Runs(RunsCommand),
    /// Measure bundles again on their frozen test data, and write a report of each.
    Eval(Eval),
    /// List, show, verify and fetch model bundles.
    #[command(subcommand)]
    Models(ModelsCommand),
    /// Make, list and revoke the tokens by which callers show who they are.
    #[command(subcommand)]
    Tokens(TokensCommand),
    /// What models answered, and how it came out.
    #[command(subcommand)]
    Predictions(PredictionsCommand),
    /// Answer a request again by the version that answered it, and compare.
    Replay(Replay),
    /// Copy the registry, rows and artifacts, into a new folder.
    Backup(Backup),
    /// Put a backup in the place of an empty registry, and verify it.
    Restore(Restore),
    /// Enrol, list and remove own dishes, which photos are then compared with.
    Foods(Foods),
    /// Look after the vector store; stop the server on its data folder first.
    #[command(subcommand)]
    Vectors(VectorsCommand),
    /// Measure speed.
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Run one model on a file of rows or on images, without a server.
    Predict(Predict),
    /// What the registry runs for every upload.
    #[command(hide = true)]
    Gate(Gate),
}

/// Arguments of `gate`.
#[derive(Debug, Args)]
pub(crate) struct Gate {
    /// Name of the registered model.
    #[arg(long)]
    pub(crate) model: String,
    /// Number of the version.
    #[arg(long)]
    pub(crate) number: i64,
    /// Folder with its files.
    #[arg(long)]
    pub(crate) files: PathBuf,
    /// Folder the bundle is written to.
    #[arg(long)]
    pub(crate) out: PathBuf,
    /// The files are one graph that nobody has described.
    #[arg(long)]
    pub(crate) bare: bool,
    /// Policy of the model; none: the default one.
    #[arg(long)]
    pub(crate) policy: Option<PathBuf>,
    /// Bundle of the live version; none: nothing is live.
    #[arg(long)]
    pub(crate) live: Option<PathBuf>,
}

/// Where to listen.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Listen {
    /// Address of the HTTP port (0 as port: any free one).
    #[arg(long, value_name = "ADDR")]
    pub(crate) http: Option<SocketAddr>,
    /// Address of the gRPC port (0 as port: any free one).
    #[arg(long, value_name = "ADDR")]
    pub(crate) grpc: Option<SocketAddr>,
}

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    #[command(flatten)]
    pub(crate) listen: Listen,
    /// End after the answers instead of serving on.
    #[arg(long)]
    pub(crate) once: bool,
}

/// Arguments of `train`.
#[derive(Debug, Args)]
pub(crate) struct Train {
    /// Family to train; `manpasik train --list` names them.
    #[arg(required_unless_present_any = ["all", "list"])]
    pub(crate) family: Option<String>,
    /// Train every family.
    #[arg(long, conflicts_with = "family")]
    pub(crate) all: bool,
    /// Name the families with what they learn from.
    #[arg(long)]
    pub(crate) list: bool,
    /// Folder the bundle is written to, below <name>/<version>/ (default: bundles/ of the data folder).
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Seed of weights, order and simulation; the same seed gives the same bytes on the same machine.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Only a few rows and epochs, to see that every step works; the bundle is worth nothing, so say where it goes.
    #[arg(long, requires = "out")]
    pub(crate) trial: bool,
}

/// Arguments of `search`.
#[derive(Debug, Args)]
pub(crate) struct Search {
    /// Family to search for; `manpasik train --list` names them.
    pub(crate) family: String,
    /// Trials in all, those of an earlier search with the same seed counted; the first is the recipe as it is.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) trials: u64,
    /// Seed of the settings tried and of the training.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Only a few rows and epochs, to see that every step works.
    #[arg(long)]
    pub(crate) trial: bool,
}

/// What to do with run records.
#[derive(Debug, Subcommand)]
pub(crate) enum RunsCommand {
    /// Runs, the newest first.
    List {
        /// Only runs of this model.
        #[arg(long, value_name = "NAME")]
        model: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: u64,
    },
    /// Settings, tags and figures of one run, epoch by epoch where it has epochs.
    Show {
        /// Its id, or the first digits.
        id: String,
    },
    /// Runs side by side: every figure, and the settings that differ.
    Compare {
        /// Their ids, or the first digits.
        #[arg(required = true, num_args = 2..)]
        ids: Vec<String>,
    },
}

/// Arguments of `eval`.
#[derive(Debug, Args)]
pub(crate) struct Eval {
    /// Name of a bundle, or its folder.
    #[arg(required_unless_present = "all")]
    pub(crate) bundle: Option<String>,
    /// Evaluate every bundle, and rerun the published protocols that train anew fold by fold (minutes).
    #[arg(long, conflicts_with = "bundle")]
    pub(crate) all: bool,
    /// Folder the reports are written to, below <name>/<version>/ (default: reports/ of the data folder).
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Only the figures of published protocols beside simple methods, of one model or with --all of every one.
    #[arg(long)]
    pub(crate) benchmarks: bool,
}

/// Number format of the weights of a fetched model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Variant {
    /// Single precision.
    Fp32,
    /// Half precision.
    Fp16,
}

/// What to do with bundles.
#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    #[command(flatten)]
    Registry(RegistryCommand),
    #[command(flatten)]
    Watch(WatchCommand),
    /// Every bundle found and every registered version, with its state.
    List,
    /// Signature, metrics and card of one model; of a registered version also who made and approved it.
    Show {
        /// Model name.
        name: String,
        /// Number of a registered version; none: the bundle that serves.
        #[arg(long, value_name = "N")]
        version: Option<i64>,
    },
    /// Open bundles, check hashes and signature, load them and compare the golden outputs. Of a registered version, read
    /// every file again and compare it with what was registered and what the audit says.
    Verify {
        /// Model name or bundle folder; none: every bundle found.
        bundle: Option<String>,
        /// Number of a registered version of that model.
        #[arg(requires = "bundle")]
        number: Option<i64>,
    },
    /// Download and convert a model that is too large to ship (food, text).
    Fetch {
        /// Name of the model.
        name: String,
        /// Number format of the weights: fp16 has half the size (food only) and serves where fp32 is not installed.
        #[arg(long, value_enum, default_value_t = Variant::Fp32)]
        variant: Variant,
    },
    /// Write the variant of a trained model with weights in half precision (FP16), after measuring both on the frozen
    /// test set; it is refused when its headline figure is 1 % off or more.
    Quantise {
        /// Model name or bundle folder.
        bundle: String,
        /// Folder that it is written under, as NAME/VERSION; the data folder's bundles when absent.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Add to a bundle what its training values look like, which drift is measured from, where its training did not.
    Reference {
        /// Model name or bundle folder.
        bundle: String,
    },
    /// Sign a bundle, and say the public key that servers must trust (models.trusted_keys).
    Sign {
        /// Model name or bundle folder.
        bundle: String,
        /// File with the secret key, 64 hexadecimal digits.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Make a new key and write it to that file first.
        #[arg(long)]
        new_key: bool,
    },
}

/// Arguments of `foods`, which asks a running server.
#[derive(Debug, Args)]
pub(crate) struct Foods {
    /// Whose dishes.
    #[arg(long, global = true, default_value = "local", value_name = "ID")]
    pub(crate) user: String,
    #[command(subcommand)]
    pub(crate) command: FoodsCommand,
}

/// What to do with dishes.
#[derive(Debug, Subcommand)]
pub(crate) enum FoodsCommand {
    /// Enrol a dish, in place of one of that name; photos themselves are not kept.
    Enrol {
        /// Name of the dish, in any language.
        name: String,
        /// Folder with JPEG or PNG photos of it.
        dir: PathBuf,
        /// Energy, kcal per 100 g.
        #[arg(long, value_name = "N")]
        kcal_per_100g: f64,
    },
    /// Every dish.
    List,
    /// Forget a dish.
    Remove {
        /// Name of the dish.
        name: String,
    },
}

/// What to do with the vector store that the configuration names (vectors.store).
#[derive(Debug, Subcommand)]
pub(crate) enum VectorsCommand {
    /// Every collection with its size and how far its index is.
    Stats,
    /// Check that rows and index fit together; fails when they do not.
    Verify {
        /// Name of a collection; none: every one.
        collection: Option<String>,
    },
    /// Build indexes anew from the rows.
    Rebuild {
        /// Name of a collection; none: every one.
        collection: Option<String>,
    },
    /// Copy everything into the other store and count it there; what is there already is kept.
    Migrate {
        /// Store to copy into.
        #[arg(long, value_enum)]
        to: VectorStoreKind,
    },
}

/// Arguments of `predict`.
#[derive(Debug, Args)]
pub(crate) struct Predict {
    /// Model name.
    pub(crate) model: String,
    /// CSV with one case a row and the model's features as columns, or one or more JPEG or PNG images.
    #[arg(required = true)]
    pub(crate) inputs: Vec<PathBuf>,
}

impl Cli {
    /// What the command line says about the configuration.
    pub(crate) fn overrides(&self) -> Overrides {
        let listen = match &self.command {
            Some(Command::Serve(listen)) => listen.clone(),
            Some(Command::Demo(demo)) => demo.listen.clone(),
            Some(
                Command::Train(_)
                | Command::Search(_)
                | Command::Runs(_)
                | Command::Eval(_)
                | Command::Models(_)
                | Command::Tokens(_)
                | Command::Predictions(_)
                | Command::Replay(_)
                | Command::Backup(_)
                | Command::Restore(_)
                | Command::Foods(_)
                | Command::Vectors(_)
                | Command::Bench(_)
                | Command::Predict(_)
                | Command::Gate(_),
            )
            | None => Listen::default(),
        };
        Overrides {
            file: self.global.config.clone(),
            data_dir: self.global.data_dir.clone(),
            grpc: listen.grpc,
            http: listen.http,
            bundles: self.global.bundles.clone(),
            log: self.global.log.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn listening_addresses_reach_the_configuration() {
        let cli =
            Cli::try_parse_from(["manpasik", "demo", "--once", "--grpc", "127.0.0.1:0"]).expect("valid");
        assert_eq!(cli.overrides().grpc, "127.0.0.1:0".parse().ok());
    }

    #[test]
    fn a_family_or_all_is_needed() {
        assert!(Cli::try_parse_from(["manpasik", "train"]).is_err());
        assert!(Cli::try_parse_from(["manpasik", "train", "--all"]).is_ok());
    }
}
