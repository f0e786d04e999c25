//! A database as a module uses it: opened, migrated, written in transactions, opened again.

mod outbox;

use sea_orm::{ConnectionTrait, DbErr};
use sea_orm_migration::prelude::*;
use store::{Database, Limits, StoreError, Url};

struct Shelf;

impl MigratorTrait for Shelf {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(Books)]
    }
}

struct Books;

impl MigrationName for Books {
    fn name(&self) -> &str {
        "m0001_books"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Books {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let database = manager.get_connection();
        database.execute_unprepared("CREATE TABLE author (id INTEGER PRIMARY KEY)").await?;
        let book = "CREATE TABLE book (title TEXT PRIMARY KEY, author INTEGER REFERENCES author (id))";
        database.execute_unprepared(book).await.map(|_| ())
    }

    async fn down(&self, _: &SchemaManager) -> Result<(), DbErr> {
        Ok(())
    }
}

async fn add(database: &impl ConnectionTrait, title: &str) -> Result<(), DbErr> {
    let row = format!("INSERT INTO book (title) VALUES ('{title}')");
    database.execute_unprepared(&row).await.map(|_| ())
}

async fn count(database: &Database) -> i64 {
    let sql = "SELECT count(*) AS n FROM book";
    let row =
        database.call(|c| c.query_one_raw(sea_orm::Statement::from_string(c.get_database_backend(), sql)));
    row.await.expect("counts").expect("one row").try_get("", "n").expect("a number")
}

async fn memory() -> Database {
    Database::open::<Shelf>(&Url::SqliteMemory, Limits::default()).await.expect("opens")
}

#[tokio::test]
async fn what_was_committed_is_there_after_reopening() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = Url::file(&folder.path().join("new folder/shelf 1%.db"));
    let database = Database::open::<Shelf>(&url, Limits::default()).await.expect("opens");
    database.call(|c| add(c, "a")).await.expect("adds");
    database.close().await.expect("closes");
    let database = Database::open::<Shelf>(&url, Limits::default()).await.expect("opens twice");
    assert_eq!(count(&database).await, 1);
}

#[tokio::test]
async fn a_failed_transaction_leaves_nothing() {
    let database = memory().await;
    let failed: Result<(), StoreError> = database
        .transaction(|open| {
            Box::pin(async move {
                add(open, "a").await?;
                Err(StoreError::NotFound)
            })
        })
        .await;
    assert!(matches!(failed, Err(StoreError::NotFound)));
    assert_eq!(count(&database).await, 0);
    let done: Result<(), StoreError> =
        database.transaction(|open| Box::pin(async move { Ok(add(open, "a").await?) })).await;
    assert!(done.is_ok());
    assert_eq!(count(&database).await, 1);
}

#[tokio::test]
async fn a_second_row_with_the_same_key_is_a_unique_violation() {
    let database = memory().await;
    database.call(|c| add(c, "a")).await.expect("adds");
    let error = database.call(|c| add(c, "a")).await.expect_err("twice");
    assert!(matches!(&error, StoreError::Unique { constraint } if constraint == "book.title"), "{error:?}");
    assert!(!error.is_transient());
}

#[tokio::test]
async fn foreign_keys_are_enforced() {
    let database = memory().await;
    let sql = "INSERT INTO book (title, author) VALUES ('a', 7)";
    let error = database.call(|c| c.execute_unprepared(sql)).await.expect_err("no such author");
    assert!(matches!(error, StoreError::Database(_)), "{error:?}");
}

#[tokio::test]
async fn a_writer_that_waits_too_long_is_told_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = Url::file(&folder.path().join("shelf.db"));
    let limits = Limits { busy_ms_max: 20, ..Limits::default() };
    let database = Database::open::<Shelf>(&url, limits).await.expect("opens");
    let other = database.clone();
    let outer: Result<(), StoreError> = database
        .transaction(|open| {
            Box::pin(async move {
                add(open, "a").await?;
                let error = other.call(|c| add(c, "b")).await.expect_err("locked");
                assert!(matches!(error, StoreError::Busy) && error.is_transient(), "{error:?}");
                Ok(())
            })
        })
        .await;
    assert!(outer.is_ok());
    assert_eq!(count(&database).await, 1);
}

#[tokio::test]
async fn every_call_has_a_deadline() {
    let limits = Limits { call_ms_max: 20, ..Limits::default() };
    let database = Database::open::<Shelf>(&Url::SqliteMemory, limits).await.expect("opens");
    let never = database.call(|_| std::future::pending::<Result<(), DbErr>>()).await;
    assert!(matches!(never, Err(StoreError::Deadline { deadline_ms: 20 })));
    let never: Result<(), StoreError> = database.transaction(|_| Box::pin(std::future::pending())).await;
    assert!(matches!(never, Err(StoreError::Deadline { .. })));
    assert_eq!(count(&database).await, 0, "the connection came back to the pool");
}

#[tokio::test]
async fn a_place_that_cannot_be_opened_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let blocked = folder.path().join("file");
    std::fs::write(&blocked, "not a folder").expect("writes");
    let url = Url::file(&blocked.join("shelf.db"));
    assert!(Database::open::<Shelf>(&url, Limits::default()).await.is_err());
    let damaged = folder.path().join("damaged.db");
    std::fs::write(&damaged, [0xA5; 4096]).expect("writes");
    assert!(Database::open::<Shelf>(&Url::file(&damaged), Limits::default()).await.is_err());
}

/// A table, and its key in a statement of its own, as SQLite runs them.
struct Keyed;

impl MigratorTrait for Keyed {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(Self)]
    }
}

impl MigrationName for Keyed {
    fn name(&self) -> &str {
        "m0001_keyed"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Keyed {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let database = manager.get_connection();
        database.execute_unprepared("CREATE TABLE keyed (word TEXT)").await?;
        database.execute_unprepared("CREATE UNIQUE INDEX keyed_word ON keyed (word)").await?;
        Ok(())
    }

    async fn down(&self, _: &SchemaManager) -> Result<(), DbErr> {
        unreachable!("tests only go up")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_connection_knows_the_tables_as_they_are_after_the_migrations() {
    for _ in 0..50 {
        let folder = tempfile::tempdir().expect("a folder");
        let url = Url::file(&folder.path().join("keyed.db"));
        let database = Database::open::<Keyed>(&url, Limits::default()).await.expect("opens");
        let put = "INSERT INTO keyed (word) VALUES ('a') ON CONFLICT (word) DO NOTHING";
        let at_once = (0..4).map(|_| database.call(|connection| connection.execute_unprepared(put)));
        for written in futures::future::join_all(at_once).await {
            written.expect("writes");
        }
        database.close().await.expect("closes");
    }
}
