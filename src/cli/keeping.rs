//! What the registry keeps, on the command line: predictions and their outcomes, drift, backups.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What to do with predictions.
#[derive(Debug, Subcommand)]
pub(crate) enum PredictionsCommand {
    /// Predictions, the newest first.
    List {
        /// Only of this model.
        #[arg(long, value_name = "NAME")]
        model: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: u64,
    },
    /// What each model said in one answer.
    Show {
        /// Its id, as the answer carried it.
        id: String,
    },
    /// Say how it came out.
    Label {
        /// Its id, as the answer carried it.
        id: String,
        /// The true class, or the true value in the unit of the answer.
        #[arg(long)]
        outcome: String,
        /// Of which model, where several answered.
        #[arg(long, value_name = "NAME")]
        model: Option<String>,
        /// How that is known, for the audit.
        #[arg(long, default_value = "")]
        why: String,
    },
}

/// What to look at of models that serve.
#[derive(Debug, Subcommand)]
pub(crate) enum WatchCommand {
    /// How often a model was right, by version and cohort, where outcomes are known.
    Accuracy {
        /// Model name.
        name: String,
    },
    /// Whether what a model is asked and answers still looks like its training, by version, cohort and feature.
    Drift {
        /// Model name.
        name: String,
    },
}

/// Arguments of `replay`.
#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// Id of the prediction; its payload was kept with predictions.payload_logging.
    pub(crate) id: String,
}

/// Arguments of `backup`.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// Folder that the backup is written to; it must not be there yet.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

/// Arguments of `restore`.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// Folder that `backup` wrote.
    #[arg(value_name = "DIR")]
    pub(crate) from: PathBuf,
    /// Replace what the registry holds.
    #[arg(long)]
    pub(crate) force: bool,
}
