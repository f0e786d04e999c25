//! Rows of the tables, as the database sees them.

mod exact;
mod logged;
mod models;
mod predictions;
mod releases;
mod runs;
mod trail;

pub(crate) use logged::{artifact, logged_figure, logged_model};
pub(crate) use models::{approval, gate_report, label, model_alias, model_version, registered_model};
pub(crate) use predictions::{drift_window, payload, prediction};
pub(crate) use releases::{pin, release};
pub(crate) use runs::{experiment, run, run_metric, run_output, run_param, run_tag};
pub(crate) use trail::{audit, audit_head, token};
