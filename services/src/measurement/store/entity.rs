//! Rows of the two tables, as the database sees them.
#![allow(unreachable_pub, missing_docs, reason = "the derives make public items of private rows")]

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(super) mod session {
    //! A measurement session.
    use sea_orm::entity::prelude::*;

    use super::{EnvironmentRow, GateRows};

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
        /// JSON of a [`super::StateRow`], read row by row so that a damaged one does not hide the others.
        pub state: Option<String>,
        pub quality: Option<String>,
        pub gates: Option<GateRows>,
        pub environment: Option<EnvironmentRow>,
        pub channels: Option<Vec<u8>>,
        pub digest: Option<String>,
        pub analysis: Option<Vec<u8>>,
        /// Null until somebody has tried to keep it.
        pub fingerprint: Option<FingerprintRow>,
    }

    #[derive(Copy, Clone, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
    #[sea_orm(rs_type = "String", db_type = "Text")]
    pub enum FingerprintRow {
        #[sea_orm(string_value = "kept")]
        Kept,
        #[sea_orm(string_value = "none")]
        None,
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
    pub enum Relation {}

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

    impl ActiveModelBehavior for ActiveModel {}
}

/// A number that reads back as the very same: the fast reader of JSON numbers may be off by the last bit, and an
/// answer read again must not differ from the one given. Written as a decimal text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exact(pub f64);

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&self.0)
    }
}

impl<'d> Deserialize<'d> for Exact {
    fn deserialize<D: Deserializer<'d>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// What a running session resumes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StateRow {
    pub first: u64,
    pub highest: u64,
    pub seen: u64,
    pub received: u64,
    pub time_ms: u64,
    pub digest: String,
    pub sums: Vec<Exact>,
    pub noise_power: Exact,
    pub noise_steps: u64,
    pub last_sequence: u64,
    pub last: Vec<f32>,
    pub level_width: u64,
    pub level_groups: Vec<Exact>,
    pub level_open: Exact,
    pub level_filled: u64,
    pub reports: u64,
    pub environment_sums: [Exact; 4],
    pub temperature_worst: Option<Exact>,
    pub battery_lowest: Option<Exact>,
    pub self_test_passed: Option<bool>,
    pub reference_z: Option<Exact>,
}

/// The gates of an ended session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, sea_orm::FromJsonQueryResult)]
pub struct GateRows(pub Vec<GateRow>);

/// One gate of an ended session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GateRow {
    pub gate: String,
    pub passed: bool,
    pub value: Option<Exact>,
    pub limit: Exact,
    pub unit: String,
    pub message: String,
}

/// Mean surroundings of an ended session.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, sea_orm::FromJsonQueryResult)]
pub struct EnvironmentRow {
    pub temperature_celsius: Exact,
    pub humidity_percent: Exact,
    pub pressure_kilopascal: Exact,
    pub battery_percent: Exact,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_number_reads_back_to_the_last_bit(bits: u64) {
            let number = f64::from_bits(bits);
            prop_assume!(!number.is_nan());
            let text = serde_json::to_string(&Exact(number)).expect("writes");
            let Exact(read) = serde_json::from_str(&text).expect("reads");
            prop_assert_eq!(read.to_bits(), bits);
        }
    }
}
