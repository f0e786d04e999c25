//! Rows of the two tables, as the database sees them.
#![allow(unreachable_pub, missing_docs, reason = "the derives make public items of private rows")]

use serde::{Deserialize, Serialize};

pub(super) mod session {
    //! A measurement session.
    use sea_orm::entity::prelude::*;

    use super::{EnvironmentRow, GateRows, StateRow};

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "measurement_session")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub user_id: String,
        pub device_id: String,
        pub cartridge_code: String,
        pub age_years: Option<f64>,
        pub sex: Option<String>,
        pub status: StatusRow,
        pub started_ms: i64,
        pub ended_ms: Option<i64>,
        pub packets: i64,
        pub state: Option<StateRow>,
        pub quality: Option<String>,
        pub gates: Option<GateRows>,
        pub environment: Option<EnvironmentRow>,
        pub channels: Option<Vec<u8>>,
        pub digest: Option<String>,
        pub analysis: Option<Vec<u8>>,
    }

    #[derive(Copy, Clone, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
    #[sea_orm(rs_type = "String", db_type = "Text")]
    pub enum StatusRow {
        #[sea_orm(string_value = "active")]
        Active,
        #[sea_orm(string_value = "completed")]
        Completed,
        #[sea_orm(string_value = "aborted")]
        Aborted,
        #[sea_orm(string_value = "timed_out")]
        TimedOut,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {
        #[sea_orm(has_many = "super::value::Entity")]
        Value,
    }

    impl Related<super::value::Entity> for Entity {
        fn to() -> RelationDef {
            Relation::Value.def()
        }
    }

    impl ActiveModelBehavior for ActiveModel {}
}

pub(super) mod value {
    //! A value a session gave.
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "measurement_value")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub session_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub code: String,
        pub loinc: String,
        pub value: f64,
        pub unit: String,
        pub low: Option<f64>,
        pub high: Option<f64>,
        pub coverage: Option<f64>,
        pub model: String,
        pub version: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {
        #[sea_orm(
            belongs_to = "super::session::Entity",
            from = "Column::SessionId",
            to = "super::session::Column::Id"
        )]
        Session,
    }

    impl Related<super::session::Entity> for Entity {
        fn to() -> RelationDef {
            Relation::Session.def()
        }
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// What a running session resumes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, sea_orm::FromJsonQueryResult)]
pub struct StateRow {
    pub first: u64,
    pub highest: u64,
    pub seen: u64,
    pub received: u64,
    pub time_ms: u64,
    pub digest: String,
    pub sums: Vec<f64>,
    pub noise_power: f64,
    pub noise_steps: u64,
    pub last_sequence: u64,
    pub last: Vec<f32>,
    pub level_width: u64,
    pub level_groups: Vec<f64>,
    pub level_open: f64,
    pub level_filled: u64,
    pub reports: u64,
    pub environment_sums: [f64; 4],
    pub temperature_worst: Option<f64>,
    pub battery_lowest: Option<f64>,
    pub self_test_passed: Option<bool>,
    pub reference_z: Option<f64>,
}

/// The gates of an ended session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, sea_orm::FromJsonQueryResult)]
pub struct GateRows(pub Vec<GateRow>);

/// One gate of an ended session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GateRow {
    pub gate: String,
    pub passed: bool,
    pub value: Option<f64>,
    pub limit: f64,
    pub unit: String,
    pub message: String,
}

/// Mean surroundings of an ended session.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, sea_orm::FromJsonQueryResult)]
pub struct EnvironmentRow {
    pub temperature_celsius: f64,
    pub humidity_percent: f64,
    pub pressure_kilopascal: f64,
    pub battery_percent: f64,
}
