//! Experiments.

use registry::{
    runs::{Filter, View},
    search,
};
use serde_json::json;

use super::{Answer, Call, Route, args::Args, fault::Fault, route, write};

pub(super) const ROUTES: &[Route] = &[
    route!(POST "/mlflow/experiments/create" => create),
    route!(GET "/mlflow/experiments/get" => get),
    route!(GET "/mlflow/experiments/get-by-name" => get_by_name),
    route!(POST "/mlflow/experiments/search" => find),
    route!(GET "/mlflow/experiments/search" => find),
    route!(POST "/mlflow/experiments/update" => update),
    route!(POST "/mlflow/experiments/delete" => delete),
    route!(POST "/mlflow/experiments/restore" => restore),
    route!(POST "/mlflow/experiments/set-experiment-tag" => set_tag),
    route!(POST "/mlflow/experiments/delete-experiment-tag" => delete_tag),
];

/// Longest name of an experiment, in bytes.
const NAME_BYTES_MAX: usize = 500;

async fn create(call: Call) -> Answer {
    let name = call.args.needed("name")?;
    if name.len() > NAME_BYTES_MAX {
        return Err(Fault::invalid(format!("`name` has more than {NAME_BYTES_MAX} bytes")));
    }
    let tags = call.args.pairs("tags")?;
    let id = call.registry.runs().create_experiment(name, &tags, call.now_ms).await?;
    Ok(json!({"experiment_id": id.to_string()}))
}

async fn get(call: Call) -> Answer {
    let id = call.args.experiment("experiment_id")?;
    Ok(json!({"experiment": write::experiment(&call.registry.runs().experiment(id).await?)}))
}

async fn get_by_name(call: Call) -> Answer {
    let found = call.registry.runs().experiment_by_name(call.args.needed("experiment_name")?).await?;
    Ok(json!({"experiment": write::experiment(&found)}))
}

/// Which of deleted and other ones a search shows.
pub(super) fn view(args: &Args, key: &str) -> Result<View, Fault> {
    match args.text(key)? {
        None | Some("ACTIVE_ONLY") => Ok(View::Active),
        Some("DELETED_ONLY") => Ok(View::Deleted),
        Some("ALL") => Ok(View::All),
        Some(other) => {
            Err(Fault::invalid(format!("`{key}`: `{other}` is none of ACTIVE_ONLY, DELETED_ONLY, ALL")))
        }
    }
}

/// What the search of runs or experiments asks for.
pub(super) fn filter(args: &Args, view_key: &str) -> Result<(Filter, super::args::Page), Fault> {
    let page = args.page(1_000, 50_000)?;
    let fault = |error: search::FilterError| Fault::invalid(error.to_string());
    let order: Result<Vec<_>, _> = args.texts("order_by")?.iter().map(|text| search::order(text)).collect();
    let filter = Filter {
        conditions: search::filter(args.text("filter")?.unwrap_or_default()).map_err(fault)?,
        order: order.map_err(fault)?,
        view: view(args, view_key)?,
        offset: page.offset,
        limit: Some(page.asked()),
        ..Filter::default()
    };
    Ok((filter, page))
}

async fn find(call: Call) -> Answer {
    let (filter, page) = filter(&call.args, "view_type")?;
    let mut found = call.registry.runs().experiments(&filter).await?;
    let next = page.cut(&mut found);
    let experiments: Vec<_> = found.iter().map(write::experiment).collect();
    Ok(json!({"experiments": experiments, "next_page_token": next}))
}

async fn change(call: &Call, name: Option<&str>, deleted: Option<bool>) -> Answer {
    let id = call.args.experiment("experiment_id")?;
    call.registry.runs().change_experiment(id, name, deleted, call.now_ms).await?;
    Ok(json!({}))
}

async fn update(call: Call) -> Answer {
    change(&call, Some(call.args.needed("new_name")?), None).await
}

async fn delete(call: Call) -> Answer {
    change(&call, None, Some(true)).await
}

async fn restore(call: Call) -> Answer {
    change(&call, None, Some(false)).await
}

async fn set_tag(call: Call) -> Answer {
    let value = call.args.text("value")?.unwrap_or_default();
    let id = call.args.experiment("experiment_id")?;
    call.registry.runs().tag_experiment(id, call.args.needed("key")?, Some(value)).await?;
    Ok(json!({}))
}

async fn delete_tag(call: Call) -> Answer {
    let id = call.args.experiment("experiment_id")?;
    call.registry.runs().tag_experiment(id, call.args.needed("key")?, None).await?;
    Ok(json!({}))
}
