//! Every question asked of the outbox tables.

use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Alias, Expr, ExprTrait, OnConflict, Query, SelectStatement};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    QueryTrait,
};
use uuid::Uuid;

use super::entity::delivery::{self, State};
use super::entity::{event, subscription};
use super::{Event, NewEvent};
use crate::Transaction;

/// An event in hand, and where its rows are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) position: i64,
    pub(super) event: Event,
}

/// How a try ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    Again { attempts: u32, available_ms: i64, reason: String },
    Parked { attempts: u32, reason: String },
    Rejected { attempts: u32, reason: String },
}

/// Pending, parked and rejected deliveries, and when the oldest pending event was written.
pub(super) type Counts = (u64, u64, u64, Option<i64>);

/// Writes an event and one delivery for each consumer of its topic.
pub(super) async fn append(open: &Transaction, event: NewEvent, now_ms: i64) -> Result<(), DbErr> {
    let NewEvent { topic, key, payload } = event;
    let row = event::ActiveModel {
        id: Set(Uuid::now_v7()),
        topic: Set(topic.clone()),
        key: Set(key.clone()),
        payload: Set(payload),
        created_ms: Set(now_ms),
        ..Default::default()
    };
    let position = event::Entity::insert(row).exec(open).await?.last_insert_id;
    let consumers = Query::select()
        .column(subscription::Column::Consumer)
        .expr(Expr::val(position))
        .expr(Expr::val(key))
        .expr(Expr::val(PENDING))
        .expr(Expr::val(0))
        .expr(Expr::val(now_ms))
        .from(subscription::Entity)
        .and_where(subscription::Column::Topic.eq(topic))
        .to_owned();
    deliver(open, consumers).await
}

/// As the rows hold it.
const PENDING: &str = "pending";

async fn deliver(open: &Transaction, rows: SelectStatement) -> Result<(), DbErr> {
    let mut insert = Query::insert();
    insert.into_table(delivery::Entity).columns([
        delivery::Column::Consumer,
        delivery::Column::Position,
        delivery::Column::Key,
        delivery::Column::State,
        delivery::Column::Attempts,
        delivery::Column::AvailableMs,
    ]);
    insert.select_from(rows).map_err(|error| DbErr::Custom(error.to_string()))?;
    open.execute(&insert).await.map(|_| ())
}

/// Writes down that `consumer` takes `topic`; one that is new is given what is there already.
pub(super) async fn subscribe(open: &Transaction, consumer: &str, topic: &str) -> Result<(), DbErr> {
    let row = subscription::ActiveModel { consumer: Set(consumer.to_owned()), topic: Set(topic.to_owned()) };
    let known = OnConflict::columns([subscription::Column::Consumer, subscription::Column::Topic])
        .do_nothing()
        .to_owned();
    let insert = subscription::Entity::insert(row).on_conflict(known);
    if insert.exec_without_returning(open).await? == 0 {
        return Ok(());
    }
    let events = Query::select()
        .expr(Expr::val(consumer))
        .column(event::Column::Position)
        .column(event::Column::Key)
        .expr(Expr::val(PENDING))
        .expr(Expr::val(0))
        .column(event::Column::CreatedMs)
        .from(event::Entity)
        .and_where(event::Column::Topic.eq(topic))
        .to_owned();
    deliver(open, events).await
}

/// Gives every parked event of `consumer` its tries again.
pub(super) async fn unpark(open: &Transaction, consumer: &str) -> Result<u64, DbErr> {
    let again = delivery::ActiveModel { state: Set(State::Pending), attempts: Set(0), ..Default::default() };
    let parked = Condition::all()
        .add(delivery::Column::Consumer.eq(consumer))
        .add(delivery::Column::State.eq(State::Parked));
    Ok(delivery::Entity::update_many().set(again).filter(parked).exec(open).await?.rows_affected)
}

/// The oldest pending event of each key of `consumer`, where its time has come, oldest first.
pub(super) async fn due(
    database: &impl ConnectionTrait,
    consumer: &str,
    now_ms: i64,
    limit: u64,
) -> Result<Vec<Due>, DbErr> {
    let rows = delivery::Entity::find()
        .filter(delivery::Column::Consumer.eq(consumer))
        .filter(delivery::Column::State.eq(State::Pending))
        .filter(delivery::Column::AvailableMs.lte(now_ms))
        .filter(Expr::exists(earlier(consumer)).not())
        .order_by_asc(delivery::Column::Position)
        .limit(limit)
        .find_also_related(event::Entity)
        .all(database)
        .await?;
    Ok(rows
        .into_iter()
        .filter_map(|(delivery, event)| event.map(|event| in_hand(&delivery, event)))
        .collect())
}

/// A pending delivery of the same consumer and key before the one that the outer query looks at.
fn earlier(consumer: &str) -> SelectStatement {
    let earlier = |column: delivery::Column| Expr::col((Alias::new("earlier"), column));
    let this = |column: delivery::Column| Expr::col((delivery::Entity, column));
    Query::select()
        .expr(Expr::val(1))
        .from_as(delivery::Entity, Alias::new("earlier"))
        .and_where(earlier(delivery::Column::Consumer).eq(consumer))
        .and_where(earlier(delivery::Column::State).eq(PENDING))
        .and_where(earlier(delivery::Column::Key).eq(this(delivery::Column::Key)))
        .and_where(earlier(delivery::Column::Position).lt(this(delivery::Column::Position)))
        .to_owned()
}

fn in_hand(delivery: &delivery::Model, event: event::Model) -> Due {
    let event::Model { position, id, topic, key, payload, created_ms } = event;
    let attempt = u32::try_from(delivery.attempts).unwrap_or(0).saturating_add(1);
    Due { position, event: Event { id, topic, key, payload, created_ms, attempt } }
}

/// Writes down how a try of `consumer` ended.
pub(super) async fn settle(
    open: &Transaction,
    consumer: &str,
    position: i64,
    outcome: Outcome,
) -> Result<(), DbErr> {
    let (state, attempts, available_ms, reason) = match outcome {
        Outcome::Done => return done(open, consumer, position).await,
        Outcome::Again { attempts, available_ms, reason } => {
            (State::Pending, attempts, Some(available_ms), reason)
        }
        Outcome::Parked { attempts, reason } => (State::Parked, attempts, None, reason),
        Outcome::Rejected { attempts, reason } => (State::Rejected, attempts, None, reason),
    };
    let mut change = delivery::ActiveModel {
        state: Set(state),
        attempts: Set(i32::try_from(attempts).unwrap_or(i32::MAX)),
        reason: Set(Some(reason)),
        ..Default::default()
    };
    if let Some(available_ms) = available_ms {
        change.available_ms = Set(available_ms);
    }
    let this = Condition::all()
        .add(delivery::Column::Consumer.eq(consumer))
        .add(delivery::Column::Position.eq(position));
    delivery::Entity::update_many().set(change).filter(this).exec(open).await.map(|_| ())
}

/// Removes the delivery, and the event with its last one.
async fn done(open: &Transaction, consumer: &str, position: i64) -> Result<(), DbErr> {
    delivery::Entity::delete_by_id((consumer.to_owned(), position)).exec(open).await?;
    let others = delivery::Entity::find()
        .select_only()
        .column(delivery::Column::Position)
        .filter(delivery::Column::Position.eq(position))
        .into_query();
    event::Entity::delete_many()
        .filter(event::Column::Position.eq(position))
        .filter(Expr::exists(others).not())
        .exec(open)
        .await
        .map(|_| ())
}

/// What `consumer` has still to do.
pub(super) async fn backlog(database: &impl ConnectionTrait, consumer: &str) -> Result<Counts, DbErr> {
    let rows: Vec<(State, i64, Option<i64>)> = delivery::Entity::find()
        .select_only()
        .column(delivery::Column::State)
        .column_as(delivery::Column::Position.count(), "deliveries")
        .column_as(event::Column::CreatedMs.min(), "oldest")
        .inner_join(event::Entity)
        .filter(delivery::Column::Consumer.eq(consumer))
        .group_by(delivery::Column::State)
        .into_tuple()
        .all(database)
        .await?;
    let mut counts = (0, 0, 0, None);
    for (state, deliveries, oldest) in rows {
        match state {
            State::Pending => (counts.0, counts.3) = (deliveries.cast_unsigned(), oldest),
            State::Parked => counts.1 = deliveries.cast_unsigned(),
            State::Rejected => counts.2 = deliveries.cast_unsigned(),
        }
    }
    Ok(counts)
}
