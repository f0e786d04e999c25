//! Logged models, which clients of MLflow 3 make before they register anything.

use registry::{
    logged::{LoggedStatus, NewLogged},
    search,
    versions::Query,
};
use serde_json::{Value, json};

use super::{Answer, Call, Route, fault::Fault, route, write};

pub(super) const ROUTES: &[Route] = &[
    route!(POST "/mlflow/logged-models" => create),
    route!(POST "/mlflow/logged-models/search" => find),
    route!(GET "/mlflow/logged-models/{model_id}" => get),
    route!(PATCH "/mlflow/logged-models/{model_id}" => finalise),
    route!(DELETE "/mlflow/logged-models/{model_id}" => delete),
    route!(PATCH "/mlflow/logged-models/{model_id}/tags" => set_tags),
    route!(DELETE "/mlflow/logged-models/{model_id}/tags/{tag_key}" => delete_tag),
    route!(POST "/mlflow/logged-models/{model_id}/params" => params),
    route!(GET "/mlflow/logged-models/{model_id}/artifacts/directories" => directory),
];

async fn create(call: Call) -> Answer {
    let new = NewLogged {
        experiment: call.args.experiment("experiment_id")?,
        name: call.args.text("name")?.unwrap_or_default().to_owned(),
        model_type: call.args.text("model_type")?.unwrap_or_default().to_owned(),
        run_id: call.args.text("source_run_id")?.map(str::to_owned),
        params: call.args.pairs("params")?,
        tags: call.args.pairs("tags")?,
    };
    Ok(write::logged(&call.registry.logged_create(&new, call.now_ms).await?))
}

async fn get(call: Call) -> Answer {
    Ok(write::logged(&call.registry.logged(call.args.needed("model_id")?).await?))
}

async fn finalise(call: Call) -> Answer {
    let word = call.args.needed("status")?;
    let status = LoggedStatus::read(word)
        .ok_or_else(|| Fault::invalid(format!("`status`: `{word}` is no status of a logged model")))?;
    let id = call.args.needed("model_id")?;
    Ok(write::logged(&call.registry.logged_status(id, status, call.now_ms).await?))
}

async fn delete(call: Call) -> Answer {
    call.registry.logged_delete(call.args.needed("model_id")?, call.now_ms).await?;
    Ok(json!({}))
}

async fn set_tags(call: Call) -> Answer {
    let tags = call.args.pairs("tags")?;
    Ok(write::logged(&call.registry.logged_tag(call.args.needed("model_id")?, &tags).await?))
}

async fn delete_tag(call: Call) -> Answer {
    call.registry.logged_untag(call.args.needed("model_id")?, call.args.needed("tag_key")?).await?;
    Ok(json!({}))
}

async fn params(call: Call) -> Answer {
    let params = call.args.pairs("params")?;
    call.registry.logged_params(call.args.needed("model_id")?, &params).await?;
    Ok(json!({}))
}

async fn find(call: Call) -> Answer {
    let page = call.args.page(50, 5_000)?;
    let read = |id: &String| id.parse().map_err(|_| Fault::invalid("`experiment_ids` must be whole numbers"));
    let experiments: Vec<i64> =
        call.args.texts("experiment_ids")?.iter().map(read).collect::<Result<_, _>>()?;
    let fault = |error: search::FilterError| Fault::invalid(error.to_string());
    let mut order = Vec::new();
    for item in call.args.list("order_by")? {
        let direction =
            if item.raw("ascending").and_then(Value::as_bool) == Some(true) { "ASC" } else { "DESC" };
        order.push(search::order(&format!("{} {direction}", item.needed("field_name")?)).map_err(fault)?);
    }
    let conditions = search::filter(call.args.text("filter")?.unwrap_or_default()).map_err(fault)?;
    let query = Query { conditions, order, offset: page.offset, limit: page.asked() };
    let mut found = call.registry.logged_search(&experiments, &query).await?;
    let next = page.cut(&mut found);
    let models: Vec<Value> = found.iter().map(|logged| write::logged(logged)["model"].take()).collect();
    Ok(json!({"models": models, "next_page_token": next}))
}

async fn directory(call: Call) -> Answer {
    let logged = call.registry.logged(call.args.needed("model_id")?).await?;
    let root = logged.folder();
    let below = call.args.text("artifact_directory_path")?;
    let folder = below.map_or_else(|| root.clone(), |below| format!("{root}/{below}"));
    let files = super::artifacts::files(&call.registry, &folder, &root).await?;
    Ok(json!({"root_uri": write::uri(&root), "files": files}))
}
