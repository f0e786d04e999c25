//! Releases under way, and pins.
#![allow(unreachable_pub, missing_docs, reason = "the derives make public items of private rows")]

pub(crate) mod release {
    //! The one release of a model that is under way.
    use sea_orm::entity::prelude::*;
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize, Deserialize)]
    #[sea_orm(table_name = "release")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub model: String,
        pub number: i64,
        /// Percent of the callers, or of the requests that are mirrored.
        pub share: i32,
        pub since_ms: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(crate) mod pin {
    //! The version that answers for one type of cartridge.
    use sea_orm::entity::prelude::*;
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize, Deserialize)]
    #[sea_orm(table_name = "pin")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub model: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub cartridge: String,
        pub number: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
