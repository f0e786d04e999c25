//! Taking models into service and out of it.

use std::sync::Arc;

use super::Oip;
use crate::{InferError, Repository};

/// Said of a model that the repository does not have, in the words that clients match on.
const NOT_POLLED: &str = "failed to poll from model repository";

/// The model that a request means: clients of KServe put it where others name a repository.
pub(super) fn model_of(repository_name: String, model_name: String) -> String {
    if model_name.is_empty() { repository_name } else { model_name }
}

/// Loads every version of `model` that the repository has, each the way it is loaded at the start: verified and
/// warmed up before it answers. What serves now serves until then, and on when nothing better can be loaded.
/// `parameters` are the names of those given.
pub(super) async fn load<'a>(
    oip: &Oip,
    model: &str,
    parameters: impl IntoIterator<Item = &'a str>,
) -> Result<(), InferError> {
    check_name(model)?;
    parameters.into_iter().try_for_each(check_parameter)?;
    let Some(repository) = oip.repository().map(Arc::clone) else {
        return Err(InferError::Unsupported("this server has no model repository to load from".to_owned()));
    };
    let turn = Arc::clone(oip.loading()).lock_owned();
    let deadline = oip.handle().limits().deadline_max();
    let Ok(turn) = tokio::time::timeout(deadline, turn).await else {
        return Err(failed(model, "another model is being loaded; try again"));
    };
    let (oip, name) = (oip.clone(), model.to_owned());
    // A caller that leaves does not leave a model half loaded.
    let loaded = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        load_all(&oip, &*repository, &name)
    });
    loaded.await.unwrap_or_else(|_| Err(failed(model, "loading panicked")))
}

fn load_all(oip: &Oip, repository: &dyn Repository, model: &str) -> Result<(), InferError> {
    let candidates = repository.find(model).map_err(|reason| failed(model, &reason))?;
    if candidates.is_empty() {
        return Err(failed(model, NOT_POLLED));
    }
    candidates.into_iter().try_for_each(|candidate| match oip.handle().install(candidate) {
        Err(InferError::Unavailable { name: _, reason }) => Err(failed(model, &reason)),
        other => other,
    })
}

/// Takes `model` out of service. Whoever unloads a model that is not there has what they want.
pub(super) fn unload(oip: &Oip, model: &str) -> Result<(), InferError> {
    check_name(model)?;
    oip.handle().unload(model);
    Ok(())
}

fn check_name(model: &str) -> Result<(), InferError> {
    if model.is_empty() { Err(InferError::input("model_name", "must not be empty")) } else { Ok(()) }
}

/// A model sent along would come without manifest, golden outputs and card.
fn check_parameter(name: &str) -> Result<(), InferError> {
    if name == "config" || name.starts_with("file:") {
        let text = format!(
            "load with '{name}' is not offered: a model is loaded as the repository has it, verified; add a \
             bundle there and load it without parameters"
        );
        return Err(InferError::Unsupported(text));
    }
    Ok(())
}

fn failed(model: &str, reason: &str) -> InferError {
    InferError::LoadFailed { model: model.to_owned(), reason: reason.to_owned() }
}
