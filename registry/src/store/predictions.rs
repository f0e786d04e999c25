//! Predictions, payloads and windows of drift in the database.

use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use store::{Database, StoreError, Transaction, translate};

use super::entity::{drift_window, payload, prediction};
use crate::predictions::{DriftWindow, Payload, Prediction};

/// Rows of one statement.
const ROWS_PER_STATEMENT: usize = 500;

/// Writes predictions with the payloads of some. What is there already stays.
pub(crate) async fn write(
    open: &Transaction,
    predictions: &[Prediction],
    payloads: &[Payload],
) -> Result<(), StoreError> {
    for some in predictions.chunks(ROWS_PER_STATEMENT) {
        let again =
            OnConflict::columns([prediction::Column::Id, prediction::Column::Part]).do_nothing().to_owned();
        let insert = prediction::Entity::insert_many(some.iter().map(row)).on_conflict(again);
        insert.exec_without_returning(open).await.map_err(translate)?;
    }
    for Payload { id, request, answer, at_ms } in payloads {
        let row = payload::ActiveModel {
            id: Set(id.clone()),
            request: Set(request.clone()),
            answer: Set(answer.clone()),
            at_ms: Set(*at_ms),
        };
        let insert = payload::Entity::insert(row)
            .on_conflict(OnConflict::column(payload::Column::Id).do_nothing().to_owned());
        insert.exec_without_returning(open).await.map_err(translate)?;
    }
    Ok(())
}

fn row(of: &Prediction) -> prediction::ActiveModel {
    let Prediction {
        id,
        part,
        rpc,
        model,
        version,
        input_sha256,
        output,
        interval,
        probability,
        classes,
        cohort,
        tenant,
        at_ms,
        outcome,
    } = of.clone();
    prediction::ActiveModel {
        id: Set(id),
        part: Set(part),
        rpc: Set(rpc),
        model: Set(model),
        version: Set(version),
        input_sha256: Set(input_sha256),
        output: Set(output),
        low: Set(interval.map(|(low, _)| low)),
        high: Set(interval.map(|(_, high)| high)),
        probability: Set(probability),
        classes: Set(serde_json::to_string(&classes).unwrap_or_default()),
        cohort: Set(cohort),
        tenant: Set(tenant),
        at_ms: Set(at_ms),
        outcome: Set(outcome),
        labelled_ms: Set(None),
    }
}

fn read(row: prediction::Model) -> Prediction {
    let prediction::Model {
        id,
        part,
        rpc,
        model,
        version,
        input_sha256,
        output,
        low,
        high,
        probability,
        classes,
        cohort,
        tenant,
        at_ms,
        outcome,
        labelled_ms: _,
    } = row;
    Prediction {
        id,
        part,
        rpc,
        model,
        version,
        input_sha256,
        output,
        interval: low.zip(high),
        probability,
        classes: serde_json::from_str(&classes).unwrap_or_default(),
        cohort,
        tenant,
        at_ms,
        outcome,
    }
}

/// The parts of a prediction, in order.
pub(crate) async fn get(database: &Database, id: &str) -> Result<Vec<Prediction>, StoreError> {
    let find = prediction::Entity::find()
        .filter(prediction::Column::Id.eq(id))
        .order_by_asc(prediction::Column::Part);
    Ok(database.call(|database| find.all(database)).await?.into_iter().map(read).collect())
}

/// The newest first; of one model, if given, and only those with an outcome, if asked.
pub(crate) async fn list(
    database: &Database,
    model: Option<&str>,
    labelled: bool,
    offset: u64,
    limit: u64,
) -> Result<Vec<Prediction>, StoreError> {
    let mut find = prediction::Entity::find();
    if let Some(model) = model {
        find = find.filter(prediction::Column::Model.eq(model));
    }
    if labelled {
        find = find.filter(prediction::Column::Outcome.is_not_null());
    }
    let find = find
        .order_by_desc(prediction::Column::AtMs)
        .order_by_desc(prediction::Column::Id)
        .order_by_asc(prediction::Column::Part)
        .offset(offset)
        .limit(limit);
    Ok(database.call(|database| find.all(database)).await?.into_iter().map(read).collect())
}

/// Says how a part came out; how many rows that was.
pub(crate) async fn label(
    open: &Transaction,
    id: &str,
    part: i32,
    outcome: &str,
    now_ms: i64,
) -> Result<u64, StoreError> {
    let update = prediction::Entity::update_many()
        .col_expr(prediction::Column::Outcome, Expr::value(outcome))
        .col_expr(prediction::Column::LabelledMs, Expr::value(now_ms))
        .filter(prediction::Column::Id.eq(id))
        .filter(prediction::Column::Part.eq(part));
    Ok(update.exec(open).await.map_err(translate)?.rows_affected)
}

/// The payload of a prediction.
pub(crate) async fn payload(database: &Database, id: &str) -> Result<Option<Payload>, StoreError> {
    let find = payload::Entity::find_by_id(id);
    let row = database.call(|database| find.one(database)).await?;
    Ok(row.map(|payload::Model { id, request, answer, at_ms }| Payload { id, request, answer, at_ms }))
}

/// Forgets predictions of before `before_ms`, oldest first, at most about `rows_max` of them; how many.
pub(crate) async fn forget(open: &Transaction, before_ms: i64, rows_max: u64) -> Result<u64, StoreError> {
    let oldest = prediction::Entity::find()
        .select_only()
        .column(prediction::Column::AtMs)
        .filter(prediction::Column::AtMs.lt(before_ms))
        .order_by_asc(prediction::Column::AtMs)
        .limit(rows_max);
    let times: Vec<i64> = oldest.into_tuple().all(open).await.map_err(translate)?;
    let Some(last) = times.last() else { return Ok(0) };
    let payloads = payload::Entity::delete_many().filter(payload::Column::AtMs.lte(*last));
    payloads.exec(open).await.map_err(translate)?;
    let rows = prediction::Entity::delete_many().filter(prediction::Column::AtMs.lte(*last));
    Ok(rows.exec(open).await.map_err(translate)?.rows_affected)
}

/// Writes a closed window.
pub(crate) async fn add_window(database: &Database, window: &DriftWindow) -> Result<(), StoreError> {
    let DriftWindow { model, version, cohort, rows, figures, closed_ms } = window.clone();
    let row = drift_window::ActiveModel {
        id: NotSet,
        model: Set(model),
        version: Set(version),
        cohort: Set(cohort),
        rows: Set(i64::try_from(rows).unwrap_or(i64::MAX)),
        figures: Set(figures),
        closed_ms: Set(closed_ms),
    };
    let insert = drift_window::Entity::insert(row);
    database.call(|database| insert.exec_without_returning(database)).await?;
    Ok(())
}

/// Windows of a model, the newest first.
pub(crate) async fn windows(
    database: &Database,
    model: &str,
    limit: u64,
) -> Result<Vec<DriftWindow>, StoreError> {
    let find = drift_window::Entity::find()
        .filter(drift_window::Column::Model.eq(model))
        .order_by_desc(drift_window::Column::Id)
        .limit(limit);
    let window = |row: drift_window::Model| {
        let drift_window::Model { id: _, model, version, cohort, rows, figures, closed_ms } = row;
        DriftWindow { model, version, cohort, rows: u64::try_from(rows).unwrap_or(0), figures, closed_ms }
    };
    Ok(database.call(|database| find.all(database)).await?.into_iter().map(window).collect())
}

/// Forgets windows of before `before_ms`.
pub(crate) async fn forget_windows(open: &Transaction, before_ms: i64) -> Result<u64, StoreError> {
    let delete = drift_window::Entity::delete_many().filter(drift_window::Column::ClosedMs.lt(before_ms));
    Ok(delete.exec(open).await.map_err(translate)?.rows_affected)
}
