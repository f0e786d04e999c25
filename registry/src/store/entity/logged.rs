//! Rows of logged models and artifacts.
#![allow(unreachable_pub, missing_docs, reason = "the derives make public items of private rows")]

pub(crate) mod logged_model {
    //! A model that a run logged.
    use sea_orm::entity::prelude::*;
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize, Deserialize)]
    #[sea_orm(table_name = "logged_model")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub experiment_id: i64,
        pub name: String,
        pub model_type: String,
        pub run_id: Option<String>,
        pub status: String,
        pub status_message: String,
        pub created_ms: i64,
        pub updated_ms: i64,
        pub deleted_ms: Option<i64>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(crate) mod logged_figure {
    //! A figure measured on a logged model.
    use sea_orm::entity::prelude::*;
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize, Deserialize)]
    #[sea_orm(table_name = "logged_figure")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub logged_id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub run_id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub key: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub step: i64,
        /// The database has no number that is none; it is kept as absent.
        #[serde(with = "super::super::exact")]
        pub value: Option<f64>,
        pub at_ms: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(crate) mod artifact {
    //! What a path holds.
    use sea_orm::entity::prelude::*;
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize, Deserialize)]
    #[sea_orm(table_name = "artifact")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub path: String,
        /// Of a run, a logged model or a version: what is asked for together.
        pub root: String,
        pub blob: String,
        pub size: i64,
        pub sha256: String,
        pub created_ms: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
