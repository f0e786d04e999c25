//! Rows of predictions, their payloads, and windows of drift.
#![allow(unreachable_pub, missing_docs, reason = "the derives make public items of private rows")]

pub(crate) mod prediction {
    //! What one model answered.
    use sea_orm::entity::prelude::*;
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize, Deserialize)]
    #[sea_orm(table_name = "prediction")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub part: i32,
        pub rpc: String,
        pub model: String,
        pub version: String,
        pub input_sha256: String,
        pub output: String,
        pub low: Option<f64>,
        pub high: Option<f64>,
        pub probability: Option<f64>,
        /// JSON list.
        pub classes: String,
        pub cohort: String,
        pub tenant: String,
        pub at_ms: i64,
        pub outcome: Option<String>,
        pub labelled_ms: Option<i64>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(crate) mod payload {
    //! Request and answer behind a prediction, encrypted.
    use sea_orm::entity::prelude::*;
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize, Deserialize)]
    #[sea_orm(table_name = "payload")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub request: Vec<u8>,
        pub answer: Vec<u8>,
        pub at_ms: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(crate) mod drift_window {
    //! How one window of a version compares with training.
    use sea_orm::entity::prelude::*;
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize, Deserialize)]
    #[sea_orm(table_name = "drift_window")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub model: String,
        pub version: String,
        pub cohort: String,
        pub rows: i64,
        /// JSON list.
        pub figures: String,
        pub closed_ms: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
