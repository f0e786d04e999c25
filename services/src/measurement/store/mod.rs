//! The tables of this module and every question asked of them.

mod entity;
mod migration;
mod rows;

use std::sync::Arc;

use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Condition, Query};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, EntityTrait, JoinType, QueryFilter, QueryOrder, QuerySelect, RelationTrait,
};
use store::outbox::{NewEvent, Outbox};
use store::{Database, Url};
use uuid::Uuid;

use self::entity::session::{self, FingerprintRow, StatusRow};
use self::entity::value;
use super::history::{Cursor, Earlier, HistoryQuery};
use super::rules::Status;
use super::running::{Kept, Running};
use super::session::{Ended, Measurement, Session};
use crate::kernel::{Clock, ServiceError};

/// A stored session, as far as a caller may see it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Found {
    /// It takes packets.
    Running,
    /// It has ended.
    Ended(Box<Measurement>),
}

/// What became of the fingerprint of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FingerprintState {
    /// The vector service has it.
    Kept,
    /// The sweep has no shape.
    None,
}

/// A page of measurements and where the next one begins.
pub(super) type Page = (Vec<Measurement>, Option<Cursor>);

/// The measurement database and the events that leave it.
#[derive(Clone)]
pub(super) struct Store {
    database: Database,
    outbox: Outbox,
}

impl Store {
    /// Opens the database and brings its tables up to date.
    pub(super) async fn open(
        url: &Url,
        limits: store::Limits,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ServiceError> {
        let database = Database::open::<migration::Migrator>(url, limits).await?;
        let outbox = Outbox::new(database.clone(), Arc::new(move || clock.now_ms()));
        Ok(Self { database, outbox })
    }

    /// Its events.
    pub(super) const fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Writes a session that begins.
    pub(super) async fn begin(&self, session: &Session) -> Result<(), ServiceError> {
        let row = rows::begun(session);
        self.database.call(|database| session::Entity::insert(row).exec_without_returning(database)).await?;
        Ok(())
    }

    /// Writes what a running session resumes from.
    pub(super) async fn save(&self, id: Uuid, kept: &Kept) -> Result<(), ServiceError> {
        let change = session::ActiveModel {
            id: Set(id),
            packets: Set(kept.sequences.received.cast_signed()),
            state: Set(Some(rows::state(id, kept)?)),
            ..Default::default()
        };
        self.database.call(|database| change.update_without_returning(database)).await?;
        Ok(())
    }

    /// Ends a running session and writes its values and the event that tells of it, all or nothing, and only once.
    pub(super) async fn end(
        &self,
        id: Uuid,
        ended: &Ended,
        event: Option<NewEvent>,
    ) -> Result<(), ServiceError> {
        let change = rows::ended(ended);
        let values: Vec<_> = ended.values.iter().map(|value| rows::value(id, value)).collect();
        let outbox = self.outbox.clone();
        let committed = self
            .database
            .transaction(|open| {
                Box::pin(async move {
                    let running = Condition::all()
                        .add(session::Column::Id.eq(id))
                        .add(session::Column::Status.eq(StatusRow::Active));
                    let ended = session::Entity::update_many().set(change).filter(running).exec(open).await;
                    if ended.map_err(store::translate)?.rows_affected != 1 {
                        let reason = "the session was ended by another call".to_owned();
                        return Err(ServiceError::Conflict { reason });
                    }
                    if !values.is_empty() {
                        let inserted = value::Entity::insert_many(values).exec_without_returning(open).await;
                        inserted.map_err(store::translate)?;
                    }
                    match event {
                        Some(event) => Ok(Some(outbox.append(open, event).await?)),
                        None => Ok(None),
                    }
                })
            })
            .await;
        // The answer wakes the dispatcher as it goes.
        committed.map(drop)
    }

    /// Writes down what became of the fingerprint of a session.
    pub(super) async fn mark(&self, id: Uuid, state: FingerprintState) -> Result<(), ServiceError> {
        let fingerprint = Set(Some(state.into()));
        let change = session::ActiveModel { id: Set(id), fingerprint, ..Default::default() };
        self.database.call(|database| change.update_without_returning(database)).await?;
        Ok(())
    }

    /// What became of the fingerprint of a session; `None` when nobody has tried to keep it yet.
    pub(super) async fn fingerprint(&self, id: Uuid) -> Result<Option<FingerprintState>, ServiceError> {
        let find = session::Entity::find_by_id(id).select_only().column(session::Column::Fingerprint);
        let find = find.into_tuple::<Option<FingerprintRow>>();
        let row = self.database.call(|database| find.one(database)).await?;
        Ok(row.flatten().map(Into::into))
    }

    /// The ended sessions among these that belong to the user.
    pub(super) async fn ended(&self, user_id: &str, ids: &[Uuid]) -> Result<Vec<Measurement>, ServiceError> {
        let find = session::Entity::find()
            .filter(session::Column::Id.is_in(ids.iter().copied()))
            .filter(session::Column::UserId.eq(user_id))
            .filter(session::Column::EndedMs.is_not_null());
        let rows = self.database.call(|database| find.all(database)).await?;
        self.with_values(rows).await
    }

    async fn with_values(&self, rows: Vec<session::Model>) -> Result<Vec<Measurement>, ServiceError> {
        let mut values = self.values(rows.iter().map(|row| row.id)).await?;
        let mut measurements = Vec::with_capacity(rows.len());
        for row in rows {
            let own = values.extract_if(.., |value| value.session_id == row.id).collect();
            measurements.push(rows::measurement(row, own)?);
        }
        Ok(measurements)
    }

    /// Every session that was running when the process ended. One that cannot be read is marked as aborted and left
    /// for a person to look at; it must not keep the others from going on.
    pub(super) async fn running(&self) -> Result<Vec<(Session, Running)>, ServiceError> {
        let active = session::Entity::find().filter(session::Column::Status.eq(StatusRow::Active));
        let rows = self.database.call(|database| active.all(database)).await?;
        let mut sessions = Vec::with_capacity(rows.len());
        for row in rows {
            match resume(&row) {
                Ok(resumed) => sessions.push(resumed),
                Err(error) => {
                    tracing::error!(session = %row.id, %error, "a running session cannot be resumed");
                    self.abort(row.id).await?;
                }
            }
        }
        Ok(sessions)
    }

    async fn abort(&self, id: Uuid) -> Result<(), ServiceError> {
        let status = Set(StatusRow::Aborted);
        let change = session::ActiveModel { id: Set(id), status, ..Default::default() };
        self.database.call(|database| change.update_without_returning(database)).await?;
        Ok(())
    }

    /// One session; `None` when there is none.
    pub(super) async fn find(&self, id: Uuid) -> Result<Option<Found>, ServiceError> {
        let query = session::Entity::find_by_id(id);
        let Some(row) = self.database.call(|database| query.one(database)).await? else { return Ok(None) };
        if Status::from(row.status) == Status::Active {
            return Ok(Some(Found::Running));
        }
        let values = value::Entity::find().filter(value::Column::SessionId.eq(id));
        let values = self.database.call(|database| values.all(database)).await?;
        Ok(Some(Found::Ended(Box::new(rows::measurement(row, values)?))))
    }

    /// A page of ended sessions of a user that have packets, newest first.
    pub(super) async fn history(&self, query: &HistoryQuery) -> Result<Page, ServiceError> {
        let mut find = session::Entity::find()
            .filter(session::Column::UserId.eq(&query.user_id))
            .filter(session::Column::Status.is_in([StatusRow::Completed, StatusRow::TimedOut]))
            .order_by_desc(session::Column::EndedMs)
            .order_by_desc(session::Column::Id)
            .limit(u64::from(query.page_size) + 1);
        if let Some(biomarker) = query.biomarker {
            let carries = Query::select()
                .column(value::Column::SessionId)
                .from(value::Entity)
                .and_where(value::Column::Code.eq(biomarker.code()))
                .to_owned();
            find = find.filter(session::Column::Id.in_subquery(carries));
        }
        if let Some(Cursor { ended_ms, id }) = query.after {
            let same = session::Column::EndedMs.eq(ended_ms);
            let same = Condition::all().add(same).add(session::Column::Id.lt(id));
            find = find.filter(Condition::any().add(session::Column::EndedMs.lt(ended_ms)).add(same));
        }
        let mut rows = self.database.call(|database| find.all(database)).await?;
        let more = rows.len() > query.page_size as usize;
        rows.truncate(query.page_size as usize);
        let page = self.with_values(rows).await?;
        let last = page.last().filter(|_| more);
        let next = last.map(|last| Cursor { ended_ms: last.ended.ended_ms, id: last.session.id });
        Ok((page, next))
    }

    /// The newest values of a user of these biomarkers, newest first.
    pub(super) async fn earlier(
        &self,
        user_id: &str,
        codes: impl Iterator<Item = &'static str>,
        limit: u64,
    ) -> Result<Vec<Earlier>, ServiceError> {
        let find = value::Entity::find()
            .select_only()
            .columns([value::Column::Code, value::Column::Unit, value::Column::Value])
            .column(session::Column::EndedMs)
            .join(JoinType::InnerJoin, value::Relation::Session.def())
            .filter(session::Column::UserId.eq(user_id))
            .filter(session::Column::EndedMs.is_not_null())
            .filter(value::Column::Code.is_in(codes))
            .order_by_desc(session::Column::EndedMs)
            .limit(limit)
            .into_tuple();
        let rows: Vec<(String, String, f64, i64)> = self.database.call(|database| find.all(database)).await?;
        let earlier = |(code, unit, value, ended_ms)| Earlier { code, unit, ended_ms, value };
        Ok(rows.into_iter().map(earlier).collect())
    }

    async fn values(&self, ids: impl Iterator<Item = Uuid>) -> Result<Vec<value::Model>, ServiceError> {
        let find = value::Entity::find().filter(value::Column::SessionId.is_in(ids));
        Ok(self.database.call(|database| find.all(database)).await?)
    }

    /// Closes the database.
    pub(super) async fn close(self) -> Result<(), ServiceError> {
        Ok(self.database.close().await?)
    }
}

fn resume(row: &session::Model) -> Result<(Session, Running), ServiceError> {
    let session = rows::session(row)?;
    let cartridge = session.new.cartridge;
    let running = match row.state.as_deref() {
        None => Running::new(session.id, cartridge),
        Some(state) => {
            let kept = rows::kept(state, cartridge.channels());
            Running::resume(cartridge, kept.ok_or_else(|| rows::corrupt(row, "state cannot be read"))?)
        }
    };
    Ok((session, running))
}

#[cfg(test)]
mod tests {
    use clinical::Person;
    use clinical::cartridge::Cartridge;

    use super::*;
    use crate::measurement::rules::NewSession;
    use crate::measurement::session::{Live, Value};

    async fn store() -> Store {
        let clock = Arc::new(crate::kernel::ManualClock::at(9));
        Store::open(&Url::SqliteMemory, ::store::Limits::default(), clock).await.expect("opens")
    }

    async fn begun(store: &Store, code: &str) -> Session {
        let cartridge = Cartridge::parse(code).expect("registered");
        let (user_id, device_id) = ("user-1".to_owned(), String::new());
        let new = NewSession { user_id, device_id, cartridge, person: Person::default() };
        let session = Session { id: Uuid::now_v7(), new, started_ms: 5 };
        store.begin(&session).await.expect("begins");
        session
    }

    #[allow(clippy::unnecessary_wraps, reason = "as the store takes it")]
    fn event(ended: &Ended) -> Option<NewEvent> {
        let (topic, key) = ("measurement.completed".to_owned(), "user-1".to_owned());
        Some(NewEvent { topic, key, payload: ended.digest.clone().into_bytes() })
    }

    /// Events that were written, as a consumer that is new would be given them.
    async fn events(store: &Store) -> u64 {
        struct Nobody;
        #[async_trait::async_trait]
        impl ::store::outbox::Consumer for Nobody {
            fn name(&self) -> &'static str {
                "nobody"
            }
            fn topics(&self) -> &'static [&'static str] {
                &["measurement.completed"]
            }
            async fn handle(&self, _: &::store::outbox::Event) -> Result<(), ::store::outbox::Failure> {
                std::future::pending().await
            }
        }
        let dispatcher = ::store::outbox::Dispatcher::start(&store.outbox, vec![Arc::new(Nobody)]).await;
        drop(dispatcher.expect("starts"));
        store.outbox.backlog("nobody").await.expect("counts").pending
    }

    #[tokio::test]
    async fn a_damaged_session_does_not_keep_the_others_from_going_on() {
        let store = store().await;
        let sound = begun(&store, "01:01").await;
        let kept = Running::new(sound.id, sound.new.cartridge).kept().clone();
        store.save(sound.id, &kept).await.expect("saves");
        let foreign = rows::state(sound.id, &kept).expect("writes");
        for (code, state) in [("01:01", "{".to_owned()), ("04:01", foreign)] {
            let id = begun(&store, code).await.id;
            let damage = session::ActiveModel { id: Set(id), state: Set(Some(state)), ..Default::default() };
            store.database.call(|database| damage.update_without_returning(database)).await.expect("damages");
        }
        let running = store.running().await.expect("reads");
        let ids: Vec<_> = running.iter().map(|(session, _)| session.id).collect();
        assert_eq!(ids, [sound.id], "neither broken JSON nor the state of another cartridge");
        assert_eq!(running[0].1.kept(), &kept);
        assert_eq!(store.running().await.expect("reads").len(), 1, "the damaged ones were put aside");
    }

    #[tokio::test]
    async fn a_session_ends_once_and_whole() {
        let store = store().await;
        let session = begun(&store, "01:01").await;
        let live = Live::new(session.clone(), Running::new(session.id, session.new.cartridge), 5, None);
        let mut ended = live.end(Status::Completed, 9).expect("may end");
        let value = Value {
            code: "glucose".to_owned(),
            loinc: "2345-7".to_owned(),
            value: 0.1 + 0.2,
            unit: "mg/dL".to_owned(),
            low: Some(f64::MIN_POSITIVE),
            high: None,
            coverage: Some(0.9),
            model: "m".to_owned(),
            version: "v".to_owned(),
        };
        ended.values = vec![value.clone(), value.clone()];
        let twice = store.end(session.id, &ended, event(&ended)).await.expect_err("the same value twice");
        assert!(matches!(twice, ServiceError::Store(::store::StoreError::Unique { .. })), "{twice}");
        assert_eq!(store.find(session.id).await.expect("reads"), Some(Found::Running), "nothing was written");
        assert_eq!(events(&store).await, 0, "no event either");
        ended.values = vec![value];
        store.end(session.id, &ended, event(&ended)).await.expect("ends");
        let again = store.end(session.id, &ended, event(&ended)).await.expect_err("ended already");
        assert!(matches!(again, ServiceError::Conflict { .. }));
        assert_eq!(events(&store).await, 1, "told once");
        assert_eq!(store.fingerprint(session.id).await.expect("reads"), None);
        store.mark(session.id, FingerprintState::None).await.expect("marks");
        assert_eq!(store.fingerprint(session.id).await.expect("reads"), Some(FingerprintState::None));
        let measurement = Box::new(Measurement { session, ended });
        assert_eq!(store.find(measurement.session.id).await.expect("reads"), Some(Found::Ended(measurement)));
    }
}
