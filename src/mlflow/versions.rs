//! Versions of registered models.

use registry::{State, versions::NewVersion};
use serde_json::json;

use super::{Answer, Call, Route, args::Args, fault::Fault, models, route, source, write};

pub(super) const ROUTES: &[Route] = &[
    route!(POST "/mlflow/model-versions/create" => create),
    route!(GET "/mlflow/model-versions/get" => get),
    route!(PATCH "/mlflow/model-versions/update" => update),
    route!(DELETE "/mlflow/model-versions/delete" => delete),
    route!(GET "/mlflow/model-versions/search" => find),
    route!(GET "/mlflow/model-versions/get-download-uri" => download_uri),
    route!(POST "/mlflow/model-versions/transition-stage" => transition),
    route!(POST "/mlflow/model-versions/set-tag" => set_tag),
    route!(DELETE "/mlflow/model-versions/delete-tag" => delete_tag),
];

/// The number a call names a version by.
pub(super) fn number(args: &Args) -> Result<i64, Fault> {
    let number = args.int("version").map_err(|_| Fault::invalid("`version` must be a whole number"))?;
    number.ok_or_else(|| Fault::invalid("Missing value for required parameter 'version'"))
}

async fn create(call: Call) -> Answer {
    let (name, given) = (call.args.needed("name")?, call.args.needed("source")?);
    let from = source::find(&call, given).await?;
    let run_id = call.args.text("run_id")?.map(str::to_owned).or(from.run_id);
    let logged_id = call.args.text("model_id")?.map(str::to_owned).or(from.logged_id);
    let new = NewVersion {
        model: name.to_owned(),
        source: given.to_owned(),
        folder: from.folder,
        run_id,
        logged_id,
        description: call.args.text("description")?.unwrap_or_default().to_owned(),
        tags: call.args.pairs("tags")?,
    };
    let version = call.registry.version_create(call.act(), &new).await?;
    Ok(json!({"model_version": write::version(&version)}))
}

async fn get(call: Call) -> Answer {
    let version = call.registry.version(call.args.needed("name")?, number(&call.args)?).await?;
    Ok(json!({"model_version": write::version(&version)}))
}

async fn update(call: Call) -> Answer {
    let text = call.args.text("description")?.unwrap_or_default();
    let name = call.args.needed("name")?;
    let version = call.registry.version_describe(call.act(), name, number(&call.args)?, text).await?;
    Ok(json!({"model_version": write::version(&version)}))
}

async fn delete(call: Call) -> Answer {
    call.registry.version_delete(call.act(), call.args.needed("name")?, number(&call.args)?).await?;
    Ok(json!({}))
}

async fn find(call: Call) -> Answer {
    let (query, page) = models::query(&call.args, 10_000, 200_000)?;
    let mut found = call.registry.versions(&query).await?;
    let next = page.cut(&mut found);
    let versions: Vec<_> = found.iter().map(write::version).collect();
    Ok(json!({"model_versions": versions, "next_page_token": next}))
}

async fn download_uri(call: Call) -> Answer {
    let version = call.registry.version(call.args.needed("name")?, number(&call.args)?).await?;
    Ok(json!({"artifact_uri": write::uri(&version.folder())}))
}

/// Stages are what MLflow had before aliases. Production means live, which takes an approval.
async fn transition(call: Call) -> Answer {
    let (name, number, stage) = (call.args.needed("name")?, number(&call.args)?, call.args.needed("stage")?);
    let old = call.registry.version(name, number).await?;
    match stage.to_ascii_lowercase().as_str() {
        "production" => call.registry.alias_set(call.act(), name, registry::versions::LIVE, number).await?,
        "archived" if old.state != State::Archived => {
            call.registry.step(call.act(), name, number, State::Archived, "archived by its stage").await?;
        }
        "archived" => {}
        word if word == old.state.stage().to_ascii_lowercase() => {}
        "none" | "staging" => {
            let text = format!(
                "version {} is {}; stage {stage} follows from its state and is not set: \
                 `manpasik models promote` begins a release",
                old.subject(),
                old.state.code()
            );
            return Err(Fault::invalid(text));
        }
        _ => return Err(Fault::invalid(format!("`{stage}` is none of None, Staging, Production, Archived"))),
    }
    Ok(json!({"model_version": write::version(&call.registry.version(name, number).await?)}))
}

async fn set_tag(call: Call) -> Answer {
    let (name, key) = (call.args.needed("name")?, call.args.needed("key")?);
    let value = call.args.text("value")?.unwrap_or_default();
    call.registry.version_tag(call.act(), name, number(&call.args)?, key, Some(value)).await?;
    Ok(json!({}))
}

async fn delete_tag(call: Call) -> Answer {
    let (name, key) = (call.args.needed("name")?, call.args.needed("key")?);
    call.registry.version_tag(call.act(), name, number(&call.args)?, key, None).await?;
    Ok(json!({}))
}
