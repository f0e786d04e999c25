//! Conditions of a filter as SQL. Texts and numbers are bound, never written into the statement.

use sea_orm::sea_query::{
    BinOper, Cond, Expr, ExprTrait, Func, IntoColumnRef, Order as Direction, Query, SelectStatement,
    SimpleExpr,
};
use sea_orm::{EntityTrait, QueryFilter, QueryOrder, Select};

use super::entity::{
    experiment, label, logged_model, model_version, registered_model, run, run_metric, run_param, run_tag,
};
use crate::search::{Condition, FilterError, Of, Op, Order, Value};

/// Clients of MLflow leave prompts out of every list of models by this tag, which models do not have.
const PROMPT_TAG: &str = "mlflow.prompt.is_prompt";

/// What is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Runs.
    Runs,
    /// Experiments.
    Experiments,
    /// Registered models.
    Models,
    /// Versions.
    Versions,
    /// Logged models.
    Logged,
}

/// `find` with `conditions` added.
pub(crate) fn narrowed<E: EntityTrait>(
    place: Place,
    mut find: Select<E>,
    conditions: &[Condition],
) -> Result<Select<E>, FilterError> {
    for condition in conditions {
        find = find.filter(place.condition(condition)?);
    }
    Ok(find)
}

/// `find` in the order asked for.
pub(crate) fn ordered<E: EntityTrait>(
    place: Place,
    mut find: Select<E>,
    orders: &[Order],
) -> Result<Select<E>, FilterError> {
    for order in orders {
        let key =
            place.value(&order.of).map_err(|reason| FilterError { clause: "order_by", at: 0, reason })?;
        let direction = if order.descending { Direction::Desc } else { Direction::Asc };
        find = find.order_by(key, direction);
    }
    Ok(find)
}

impl Place {
    fn condition(self, condition: &Condition) -> Result<Cond, FilterError> {
        let fault = |reason| FilterError { clause: "filter", at: 0, reason };
        if let (Op::Equal, Of::Tag(key), Value::Text(text)) = (&condition.op, &condition.of, &condition.value)
            && let Some(labelled) = self.labelled(key, text)
        {
            return Ok(Cond::all().add(labelled));
        }
        let left = self.value(&condition.of).map_err(fault)?;
        if condition.op == Op::Unequal && condition.of == Of::Tag(PROMPT_TAG.to_owned()) {
            let compared = compared(left.clone(), condition, false).map_err(fault)?;
            return Ok(Cond::any().add(left.is_null()).add(compared));
        }
        let compared = compared(left, condition, self.is_number(&condition.of)).map_err(fault)?;
        Ok(Cond::all().add(compared))
    }

    fn is_number(self, of: &Of) -> bool {
        match of {
            Of::Metric(_) => true,
            Of::Attribute(name) => {
                name.ends_with("_ms")
                    || name.ends_with("_time")
                    || name.ends_with("_timestamp")
                    || name == "version"
                    || name == "version_number"
                    || name == "experiment_id"
                    || name == "created"
            }
            Of::Tag(_) | Of::Param(_) => false,
        }
    }

    /// The value asked for, as an expression over a row of this place.
    fn value(self, of: &Of) -> Result<SimpleExpr, String> {
        match (self, of) {
            (_, Of::Attribute(name)) => self.attribute(name),
            (Self::Runs, Of::Tag(key)) => Ok(of_run(run_tag::Entity, run_tag::Column::Value, key)),
            (Self::Runs, Of::Param(key)) => Ok(of_run(run_param::Entity, run_param::Column::Value, key)),
            (Self::Runs, Of::Metric(key)) => Ok(last_metric(key)),
            (_, Of::Tag(key)) => Ok(self.label(key)),
            (_, Of::Param(_) | Of::Metric(_)) => Err("only runs have params and metrics".into()),
        }
    }

    fn attribute(self, name: &str) -> Result<SimpleExpr, String> {
        let (column, known) = match self {
            Self::Runs => (run_attribute(name), "run_id, run_name, status, start_time, end_time, user_id"),
            Self::Experiments => {
                (experiment_attribute(name), "name, experiment_id, creation_time, last_update_time")
            }
            Self::Models => (model_attribute(name), "name, creation_timestamp, last_updated_timestamp"),
            Self::Versions => (
                version_attribute(name),
                "name, version_number, run_id, source_path, current_stage, creation_timestamp, last_updated_timestamp",
            ),
            Self::Logged => (
                logged_attribute(name),
                "name, model_id, model_type, status, source_run_id, creation_timestamp, last_updated_timestamp",
            ),
        };
        column.ok_or_else(|| format!("there is no attribute `{name}`; there are {known}"))
    }

    /// The tag `key` of a row of this place.
    fn label(self, key: &str) -> SimpleExpr {
        let mut find = Query::select();
        find.column(label::Column::Value)
            .from(label::Entity)
            .and_where(Expr::col((label::Entity, label::Column::Kind)).eq(self.kind()))
            .and_where(Expr::col((label::Entity, label::Column::Key)).eq(key));
        let name = Expr::col((label::Entity, label::Column::Name));
        match self {
            Self::Models => {
                find.and_where(name.equals((registered_model::Entity, registered_model::Column::Name)))
            }
            Self::Versions => {
                find.and_where(name.equals((model_version::Entity, model_version::Column::Model))).and_where(
                    Expr::col((label::Entity, label::Column::Number))
                        .equals((model_version::Entity, model_version::Column::Number)),
                )
            }
            Self::Logged => find.and_where(name.equals((logged_model::Entity, logged_model::Column::Id))),
            Self::Experiments | Self::Runs => {
                let id = Expr::col((experiment::Entity, experiment::Column::Id)).cast_as("text");
                find.and_where(name.eq(id))
            }
        };
        scalar(find.to_owned())
    }

    /// That a row is among those whose tag `key` is `value`: an index knows which, so that a rare tag among many rows is
    /// found without asking each of them.
    fn labelled(self, key: &str, value: &str) -> Option<SimpleExpr> {
        let of = |column: label::Column| (label::Entity, column);
        let mut find = Query::select();
        find.column(of(label::Column::Name))
            .from(label::Entity)
            .and_where(Expr::col(of(label::Column::Kind)).eq(self.kind()))
            .and_where(Expr::col(of(label::Column::Key)).eq(key))
            .and_where(Expr::col(of(label::Column::Value)).eq(value));
        match self {
            Self::Models => {
                let name = (registered_model::Entity, registered_model::Column::Name);
                Some(Expr::col(name).in_subquery(find.to_owned()))
            }
            Self::Logged => {
                let id = (logged_model::Entity, logged_model::Column::Id);
                Some(Expr::col(id).in_subquery(find.to_owned()))
            }
            Self::Versions => {
                find.column(of(label::Column::Number));
                let row = [model_version::Column::Model, model_version::Column::Number];
                let row = row.map(|column| Expr::col((model_version::Entity, column)));
                Some(Expr::tuple(row).in_subquery(find.to_owned()))
            }
            Self::Experiments | Self::Runs => None,
        }
    }

    /// How its tags are marked.
    pub(crate) const fn kind(self) -> &'static str {
        match self {
            Self::Runs => "run",
            Self::Experiments => "experiment",
            Self::Models => "model",
            Self::Versions => "version",
            Self::Logged => "logged",
        }
    }
}

fn column(column: impl IntoColumnRef) -> Option<SimpleExpr> {
    Some(Expr::col(column))
}

fn run_attribute(name: &str) -> Option<SimpleExpr> {
    match name {
        "run_id" | "run_uuid" => column((run::Entity, run::Column::Id)),
        "run_name" | "Run name" | "run name" => column((run::Entity, run::Column::Name)),
        "status" => column((run::Entity, run::Column::Status)),
        "start_time" | "created" | "Created" => column((run::Entity, run::Column::StartedMs)),
        "end_time" => column((run::Entity, run::Column::EndedMs)),
        "user_id" | "user" | "User" => column((run::Entity, run::Column::User)),
        "experiment_id" => column((run::Entity, run::Column::ExperimentId)),
        _ => None,
    }
}

fn experiment_attribute(name: &str) -> Option<SimpleExpr> {
    match name {
        "name" => column((experiment::Entity, experiment::Column::Name)),
        "experiment_id" => column((experiment::Entity, experiment::Column::Id)),
        "creation_time" => column((experiment::Entity, experiment::Column::CreatedMs)),
        "last_update_time" => column((experiment::Entity, experiment::Column::UpdatedMs)),
        _ => None,
    }
}

fn model_attribute(name: &str) -> Option<SimpleExpr> {
    match name {
        "name" => column((registered_model::Entity, registered_model::Column::Name)),
        "creation_timestamp" | "timestamp" => {
            column((registered_model::Entity, registered_model::Column::CreatedMs))
        }
        "last_updated_timestamp" => column((registered_model::Entity, registered_model::Column::UpdatedMs)),
        _ => None,
    }
}

fn version_attribute(name: &str) -> Option<SimpleExpr> {
    match name {
        "name" => column((model_version::Entity, model_version::Column::Model)),
        "version_number" | "version" => column((model_version::Entity, model_version::Column::Number)),
        "run_id" => column((model_version::Entity, model_version::Column::RunId)),
        "source_path" | "source" => column((model_version::Entity, model_version::Column::Source)),
        "current_stage" | "state" => column((model_version::Entity, model_version::Column::State)),
        "creation_timestamp" => column((model_version::Entity, model_version::Column::CreatedMs)),
        "last_updated_timestamp" => column((model_version::Entity, model_version::Column::UpdatedMs)),
        _ => None,
    }
}

fn logged_attribute(name: &str) -> Option<SimpleExpr> {
    match name {
        "name" => column((logged_model::Entity, logged_model::Column::Name)),
        "model_id" => column((logged_model::Entity, logged_model::Column::Id)),
        "model_type" => column((logged_model::Entity, logged_model::Column::ModelType)),
        "status" => column((logged_model::Entity, logged_model::Column::Status)),
        "source_run_id" => column((logged_model::Entity, logged_model::Column::RunId)),
        "creation_timestamp" | "creation_time" => {
            column((logged_model::Entity, logged_model::Column::CreatedMs))
        }
        "last_updated_timestamp" => column((logged_model::Entity, logged_model::Column::UpdatedMs)),
        _ => None,
    }
}

/// The value of `key` in a table of names and values of runs; its columns are called alike in both.
fn of_run<E: EntityTrait, C: IntoColumnRef>(entity: E, value: C, key: &str) -> SimpleExpr {
    let table = entity.table_name().to_owned();
    let mut find = Query::select();
    find.column(value)
        .from(entity)
        .and_where(Expr::col((table.clone(), "run_id")).equals((run::Entity, run::Column::Id)))
        .and_where(Expr::col((table, "key")).eq(key));
    scalar(find.to_owned())
}

/// The value of the highest step, and of those the latest.
fn last_metric(key: &str) -> SimpleExpr {
    let of = |column| (run_metric::Entity, column);
    let mut find = Query::select();
    find.column(run_metric::Column::Value)
        .from(run_metric::Entity)
        .and_where(Expr::col(of(run_metric::Column::RunId)).equals((run::Entity, run::Column::Id)))
        .and_where(Expr::col(of(run_metric::Column::Key)).eq(key))
        .order_by(of(run_metric::Column::Step), Direction::Desc)
        .order_by(of(run_metric::Column::AtMs), Direction::Desc)
        .order_by(of(run_metric::Column::Id), Direction::Desc)
        .limit(1);
    scalar(find.to_owned())
}

fn scalar(find: SelectStatement) -> SimpleExpr {
    SimpleExpr::SubQuery(None, Box::new(find.into()))
}

/// `left` compared as `condition` says; a text is not compared by size, a number not by pattern.
fn compared(left: SimpleExpr, condition: &Condition, number: bool) -> Result<SimpleExpr, String> {
    let right = match (&condition.value, number) {
        (Value::List(list), false) => {
            return Ok(match condition.op {
                Op::NotIn => left.is_not_in(list.iter().cloned()),
                Op::In
                | Op::Equal
                | Op::Unequal
                | Op::Less
                | Op::AtMost
                | Op::Greater
                | Op::AtLeast
                | Op::Like
                | Op::Ilike => left.is_in(list.iter().cloned()),
            });
        }
        (Value::Text(text), false) => Expr::val(text.clone()),
        (Value::Number(value), true) => Expr::val(*value),
        (Value::Text(text), true) => {
            Expr::val(text.parse::<f64>().map_err(|_| "expected a number".to_owned())?)
        }
        (Value::Number(_) | Value::List(_), _) => return Err("expected a text in quotes".into()),
    };
    match (condition.op, number) {
        (Op::Equal, _) => Ok(left.eq(right)),
        (Op::Unequal, _) => Ok(left.ne(right)),
        (Op::Less, true) => Ok(left.lt(right)),
        (Op::AtMost, true) => Ok(left.lte(right)),
        (Op::Greater, true) => Ok(left.gt(right)),
        (Op::AtLeast, true) => Ok(left.gte(right)),
        (Op::Like, false) => Ok(left.binary(BinOper::Like, right)),
        (Op::Ilike, false) => {
            Ok(SimpleExpr::from(Func::lower(left)).binary(BinOper::Like, Func::lower(right)))
        }
        (Op::Less | Op::AtMost | Op::Greater | Op::AtLeast, false) => {
            Err("a text is compared by = != LIKE ILIKE IN".into())
        }
        (Op::Like | Op::Ilike | Op::In | Op::NotIn, _) => {
            Err("a number is compared by = != < <= > >=".into())
        }
    }
}
