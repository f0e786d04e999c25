//! Taking models into service and out of it.

use std::sync::Arc;

use super::{
    Oip,
    overridden::{Given, Parameters},
};
use crate::{Ensemble, InferError, Repository, server::guard};

/// Said of a model that the repository does not have, in the words that clients match on.
const NOT_POLLED: &str = "failed to poll from model repository";

/// The model that a request means: clients of KServe put it where others name a repository.
pub(super) fn model_of(repository_name: String, model_name: String) -> String {
    if model_name.is_empty() { repository_name } else { model_name }
}

/// Loads every version of `model` that the repository has, each the way it is loaded at the start: verified and
/// warmed up before it answers. What serves now serves until then, and on when nothing better can be loaded.
/// Where the server allows it, `parameters` may change how, or bring the model along.
pub(super) async fn load(
    oip: &Oip,
    model: &str,
    parameters: impl IntoIterator<Item = (String, Given)>,
) -> Result<(), InferError> {
    check_name(model)?;
    guard::check(model)?;
    let mut said = Parameters::default();
    for (name, given) in parameters.into_iter().filter(|(name, _)| Parameters::has(name)) {
        check_allowed(oip, &name)?;
        said.take(model, &name, given, oip.override_bytes_max())?;
    }
    // Who may not use a model may not reach it through an ensemble of their own either.
    said.members().try_for_each(guard::check)?;
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
        load_all(&oip, &*repository, &name, said)
    });
    loaded.await.unwrap_or_else(|_| Err(failed(model, "loading panicked")))
}

fn load_all(oip: &Oip, repository: &dyn Repository, model: &str, said: Parameters) -> Result<(), InferError> {
    let (config, graph) = said.parts()?;
    if let Some(ensemble) = config.ensemble(model)? {
        if graph.is_some() {
            return Err(failed(model, "an ensemble is made of models: it takes no file"));
        }
        return declare(oip, repository, ensemble);
    }
    if graph.is_none() && oip.handle().revive(model) {
        return Ok(());
    }
    let made = graph.as_ref().map(|(version, _)| version.to_string());
    let found = match graph {
        Some((version, graph)) => {
            let taken = !oip.handle().versions(model).is_empty();
            repository.make(model, version, &graph, taken).map(|made| vec![made])
        }
        None => repository.find(model),
    };
    let found = found.map_err(|reason| failed(model, &reason))?;
    if found.is_empty() {
        return Err(failed(model, NOT_POLLED));
    }
    config.apply(found)?.into_iter().try_for_each(|candidate| match oip.handle().install(candidate) {
        Err(InferError::Unavailable { name: _, reason }) => Err(failed(model, &reason)),
        other => other,
    })?;
    // What was sent along before under this name is not what its sender asks for now.
    let others = oip
        .handle()
        .versions(model)
        .into_iter()
        .filter(|version| made.as_ref().is_some_and(|made| made != version));
    others.for_each(|version| oip.handle().forget(model, &version));
    Ok(())
}

/// Declares an ensemble that a client has sent; its models must be there.
fn declare(oip: &Oip, repository: &dyn Repository, ensemble: Ensemble) -> Result<(), InferError> {
    let (handle, name) = (oip.handle(), ensemble.name.clone());
    if !repository.find(&name).map_err(|reason| failed(&name, &reason))?.is_empty() {
        return Err(failed(&name, "the repository has a model of that name"));
    }
    handle.declare(ensemble)?;
    handle.model(&name, None).map(|_| ()).map_err(|error| failed(&name, &error.to_string()))
}

/// Takes `model` out of service. Whoever unloads a model that is not there has what they want.
pub(super) fn unload(oip: &Oip, model: &str) -> Result<(), InferError> {
    check_name(model)?;
    guard::check(model)?;
    oip.handle().unload(model);
    Ok(())
}

fn check_name(model: &str) -> Result<(), InferError> {
    if model.is_empty() { Err(InferError::input("model_name", "must not be empty")) } else { Ok(()) }
}

/// A model sent along comes without manifest, golden outputs and card: whoever runs the server decides about that.
fn check_allowed(oip: &Oip, name: &str) -> Result<(), InferError> {
    if oip.override_bytes_max() == 0 {
        let text = format!(
            "load with '{name}' is not offered: a model is loaded as the repository has it, verified; add a \
             bundle there and load it without parameters (or let clients send models: server.load_override_bytes_max)"
        );
        return Err(InferError::Unsupported(text));
    }
    Ok(())
}

fn failed(model: &str, reason: &str) -> InferError {
    InferError::LoadFailed { model: model.to_owned(), reason: reason.to_owned() }
}
