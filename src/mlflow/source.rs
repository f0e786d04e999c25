//! Where the files of a new version come from: the sources that clients name, as folders of the artifact tree.

use super::{Call, fault::Fault, runs, write};

/// A source that was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The folder with its files.
    pub(super) folder: String,
    /// The run that made it.
    pub(super) run_id: Option<String>,
    /// The logged model it is.
    pub(super) logged_id: Option<String>,
}

/// The folder that `source` means.
///
/// A logged model (`models:/m-...`), a version (`models:/name/3`, `models:/name@alias`), a run's artifact
/// (`runs:/<id>/model`) or a place of the artifact tree (`mlflow-artifacts:/...`).
pub(super) async fn find(call: &Call, source: &str) -> Result<Found, Fault> {
    let (scheme, rest) = source.split_once(':').unwrap_or(("", source));
    match scheme {
        "models" => of_model(call, rest.trim_start_matches('/')).await,
        "runs" => of_run(call, rest.trim_start_matches('/')).await,
        "mlflow-artifacts" => Ok(in_tree(rest)),
        _ => Err(Fault::invalid(format!(
            "source `{source}` is not kept by this server: log the model to it first (mlflow.<flavour>.log_model), \
             or give models:/, runs:/ or mlflow-artifacts:/"
        ))),
    }
}

async fn of_model(call: &Call, rest: &str) -> Result<Found, Fault> {
    if rest.starts_with("m-") && !rest.contains(['/', '@']) {
        let logged = call.registry.logged(rest).await?;
        let folder = logged.folder();
        return Ok(Found { folder, run_id: logged.run_id, logged_id: Some(logged.id) });
    }
    let version = match (rest.rsplit_once('@'), rest.rsplit_once('/')) {
        (Some((name, alias)), _) => call.registry.alias(name, alias).await?,
        (None, Some((name, number))) => {
            let number = number.parse().map_err(|_| {
                Fault::invalid(format!("source `models:/{rest}` must end with a version's number"))
            })?;
            call.registry.version(name, number).await?
        }
        (None, None) => return Err(Fault::invalid(format!("source `models:/{rest}` names no version"))),
    };
    Ok(Found { folder: version.folder(), run_id: version.run_id, logged_id: version.logged_id })
}

async fn of_run(call: &Call, rest: &str) -> Result<Found, Fault> {
    let (id, path) = rest.split_once('/').unwrap_or((rest, ""));
    let run = runs::by_id(call, id).await?;
    let root = write::run_folder(&run);
    let folder = if path.is_empty() { root } else { format!("{root}/{}", path.trim_end_matches('/')) };
    Ok(Found { folder, run_id: Some(run.id), logged_id: None })
}

/// `//host:port/path` and `/path` mean the same here.
fn in_tree(rest: &str) -> Found {
    let path = match rest.strip_prefix("//") {
        Some(with_host) => with_host.split_once('/').map_or("", |(_, path)| path),
        None => rest,
    };
    let path = path.trim_matches('/').trim_start_matches("api/2.0/mlflow-artifacts/artifacts/");
    Found { folder: path.to_owned(), run_id: run_of(path), logged_id: None }
}

/// The run in a path such as `0/<run>/artifacts/model`.
fn run_of(path: &str) -> Option<String> {
    let id = path.split('/').nth(1)?;
    let is_id = id.len() == 32 && id.chars().all(|digit| digit.is_ascii_hexdigit());
    is_id.then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_the_tree_are_read_with_and_without_a_host() {
        let run = "0123456789abcdef0123456789abcdef";
        for text in [format!("/0/{run}/artifacts/model"), format!("//host:5000/0/{run}/artifacts/model/")] {
            let found = in_tree(&text);
            assert_eq!(found.folder, format!("0/{run}/artifacts/model"));
            assert_eq!(found.run_id.as_deref(), Some(run));
        }
        assert_eq!(in_tree("/0/models/m-1/artifacts").run_id, None);
    }
}
