//! Registered models and their aliases.

use registry::{
    search,
    versions::{Model, Query, Version},
};
use serde_json::json;

use super::{
    Answer, Call, Route,
    args::{Args, Page},
    fault::Fault,
    route, write,
};

pub(super) const ROUTES: &[Route] = &[
    route!(POST "/mlflow/registered-models/create" => create),
    route!(GET "/mlflow/registered-models/get" => get),
    route!(PATCH "/mlflow/registered-models/update" => update),
    route!(POST "/mlflow/registered-models/rename" => rename),
    route!(DELETE "/mlflow/registered-models/delete" => delete),
    route!(GET "/mlflow/registered-models/search" => find),
    route!(GET "/mlflow/registered-models/get-latest-versions" => latest),
    route!(POST "/mlflow/registered-models/get-latest-versions" => latest),
    route!(POST "/mlflow/registered-models/set-tag" => set_tag),
    route!(DELETE "/mlflow/registered-models/delete-tag" => delete_tag),
    route!(POST "/mlflow/registered-models/alias" => set_alias),
    route!(DELETE "/mlflow/registered-models/alias" => delete_alias),
    route!(GET "/mlflow/registered-models/alias" => by_alias),
];

/// The newest version of each stage.
pub(super) fn newest_of_stages(versions: Vec<Version>) -> Vec<Version> {
    let mut newest: Vec<Version> = Vec::new();
    for version in versions.into_iter().rev() {
        if newest.iter().all(|kept| kept.state.stage() != version.state.stage()) {
            newest.push(version);
        }
    }
    newest
}

async fn whole(call: &Call, model: &Model) -> Answer {
    let versions = call.registry.versions_of(&model.name).await?;
    Ok(write::model(model, &newest_of_stages(versions)))
}

/// What the search of models or versions asks for.
pub(super) fn query(args: &Args, usual: u64, most: u64) -> Result<(Query, Page), Fault> {
    let page = args.page(usual, most)?;
    let fault = |error: search::FilterError| Fault::invalid(error.to_string());
    let order: Result<Vec<_>, _> = args.texts("order_by")?.iter().map(|text| search::order(text)).collect();
    let conditions = search::filter(args.text("filter")?.unwrap_or_default()).map_err(fault)?;
    let query = Query { conditions, order: order.map_err(fault)?, offset: page.offset, limit: page.asked() };
    Ok((query, page))
}

async fn create(call: Call) -> Answer {
    let (name, tags) = (call.args.needed("name")?, call.args.pairs("tags")?);
    let description = call.args.text("description")?.unwrap_or_default();
    let model = call.registry.model_create(call.act(), name, description, &tags).await?;
    Ok(json!({"registered_model": write::model(&model, &[])}))
}

async fn get(call: Call) -> Answer {
    let model = call.registry.model(call.args.needed("name")?).await?;
    Ok(json!({"registered_model": whole(&call, &model).await?}))
}

async fn update(call: Call) -> Answer {
    let (name, description) = (call.args.needed("name")?, call.args.text("description")?.unwrap_or_default());
    let model = call.registry.model_describe(call.act(), name, description).await?;
    Ok(json!({"registered_model": whole(&call, &model).await?}))
}

async fn rename(call: Call) -> Answer {
    let (old, new) = (call.args.needed("name")?, call.args.needed("new_name")?);
    let model = call.registry.model_rename(call.act(), old, new).await?;
    Ok(json!({"registered_model": whole(&call, &model).await?}))
}

async fn delete(call: Call) -> Answer {
    call.registry.model_delete(call.act(), call.args.needed("name")?).await?;
    Ok(json!({}))
}

async fn find(call: Call) -> Answer {
    let (query, page) = query(&call.args, 100, 1_000)?;
    let mut found = call.registry.models(&query).await?;
    let next = page.cut(&mut found);
    let mut models = Vec::with_capacity(found.len());
    for model in &found {
        models.push(whole(&call, model).await?);
    }
    Ok(json!({"registered_models": models, "next_page_token": next}))
}

async fn latest(call: Call) -> Answer {
    let model = call.registry.model(call.args.needed("name")?).await?;
    let stages = call.args.texts("stages")?;
    let newest = newest_of_stages(call.registry.versions_of(&model.name).await?);
    let wanted = |version: &&Version| {
        stages.is_empty() || stages.iter().any(|stage| stage.eq_ignore_ascii_case(version.state.stage()))
    };
    Ok(json!({"model_versions": newest.iter().filter(wanted).map(write::version).collect::<Vec<_>>()}))
}

async fn set_tag(call: Call) -> Answer {
    let (name, key) = (call.args.needed("name")?, call.args.needed("key")?);
    let value = call.args.text("value")?.unwrap_or_default();
    call.registry.model_tag(call.act(), name, key, Some(value)).await?;
    Ok(json!({}))
}

async fn delete_tag(call: Call) -> Answer {
    call.registry.model_tag(call.act(), call.args.needed("name")?, call.args.needed("key")?, None).await?;
    Ok(json!({}))
}

async fn set_alias(call: Call) -> Answer {
    let (name, alias) = (call.args.needed("name")?, call.args.needed("alias")?);
    call.registry.alias_set(call.act(), name, alias, super::versions::number(&call.args)?).await?;
    Ok(json!({}))
}

async fn delete_alias(call: Call) -> Answer {
    call.registry.alias_delete(call.act(), call.args.needed("name")?, call.args.needed("alias")?).await?;
    Ok(json!({}))
}

async fn by_alias(call: Call) -> Answer {
    let (name, alias) = (call.args.needed("name")?, call.args.needed("alias")?);
    call.registry.model(name).await?;
    // Clients tell a missing alias from a missing model by this code.
    let found = call.registry.alias(name, alias).await.map_err(|error| {
        if matches!(error, registry::RegistryError::NotFound(_)) {
            return Fault::invalid(format!("Registered model alias {alias} not found."));
        }
        error.into()
    })?;
    Ok(json!({"model_version": write::version(&found)}))
}
