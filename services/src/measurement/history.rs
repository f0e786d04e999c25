//! Reading stored measurements: what may be asked for, and how one page follows another.

use clinical::Biomarker;
use uuid::Uuid;

use super::rules::identifier;
use crate::kernel::{Limits, ServiceError};

/// What a page of a user's measurements is asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct HistoryQuery {
    pub(super) user_id: String,
    pub(super) page_size: u32,
    pub(super) after: Option<Cursor>,
    pub(super) biomarker: Option<Biomarker>,
}

impl HistoryQuery {
    /// Checks what was asked for; an empty token starts at the newest, an empty code takes all.
    pub(super) fn check(
        user_id: String,
        page_size: u32,
        page_token: &str,
        biomarker_code: &str,
        limits: &Limits,
    ) -> Result<Self, ServiceError> {
        identifier("user_id", &user_id, limits)?;
        if page_size > limits.page_size_max {
            let reason = format!("{page_size} is too many: at most {}", limits.page_size_max);
            return Err(ServiceError::invalid("page_size", reason));
        }
        let page_size = if page_size == 0 { limits.page_size_default } else { page_size };
        let after = if page_token.is_empty() { None } else { Some(Cursor::parse(page_token)?) };
        let known = |code| Biomarker::from_code(code).or_else(|| Biomarker::from_loinc(code));
        let biomarker = match (biomarker_code.is_empty(), known(biomarker_code)) {
            (true, _) => None,
            (false, Some(biomarker)) => Some(biomarker),
            (false, None) => {
                let reason = "is not known: expected a code such as glucose, or a LOINC code";
                return Err(ServiceError::invalid("biomarker_code", reason));
            }
        };
        Ok(Self { user_id, page_size, after, biomarker })
    }
}

/// Last measurement of a page: what comes after it stays the same when newer ones are added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) ended_ms: i64,
    pub(super) id: Uuid,
}

impl Cursor {
    /// Reads a page token.
    pub(super) fn parse(token: &str) -> Result<Self, ServiceError> {
        let refused =
            || ServiceError::invalid("page_token", "is not one of ours: send the one last answered");
        let bytes: [u8; 24] =
            hex::decode(token).ok().and_then(|bytes| bytes.try_into().ok()).ok_or_else(refused)?;
        let (ended_ms, id) = bytes.split_at(8);
        Ok(Self {
            ended_ms: i64::from_be_bytes(ended_ms.try_into().map_err(|_| refused())?),
            id: Uuid::from_slice(id).map_err(|_| refused())?,
        })
    }

    /// Writes a page token.
    pub(super) fn token(self) -> String {
        hex::encode([self.ended_ms.to_be_bytes().as_slice(), self.id.as_bytes()].concat())
    }
}

/// An earlier value of a user.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Earlier {
    pub(super) code: String,
    pub(super) unit: String,
    pub(super) ended_ms: i64,
    pub(super) value: f64,
}

/// A series of earlier values of one quantity in one unit, oldest first, each at its own time.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Series {
    pub(super) code: String,
    pub(super) unit: String,
    pub(super) points: Vec<(i64, f64)>,
}

/// Sorts earlier values, given newest first, into series. A value no living person can have is left out: it would
/// spoil the forecast, and the service that makes it refuses it. So is one in another unit than the newest.
pub(super) fn series(earlier: Vec<Earlier>) -> Vec<Series> {
    let mut all: Vec<Series> = Vec::new();
    for Earlier { code, unit, ended_ms, value } in earlier {
        if Biomarker::from_code(&code).is_none_or(|biomarker| biomarker.check_value(value).is_err()) {
            continue;
        }
        match all.iter_mut().find(|series| series.code == code) {
            None => all.push(Series { code, unit, points: vec![(ended_ms, value)] }),
            Some(series) => {
                let older = series.points.last().is_some_and(|&(newer_ms, _)| ended_ms < newer_ms);
                if older && series.unit == unit {
                    series.points.push((ended_ms, value));
                }
            }
        }
    }
    all.iter_mut().for_each(|series| series.points.reverse());
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn field(error: ServiceError) -> String {
        let ServiceError::Invalid { field, .. } = error else {
            panic!("expected a wrong field, got {error}")
        };
        field
    }

    #[test]
    fn earlier_values_become_one_series_a_quantity() {
        let earlier = |code: &str, ended_ms, value| Earlier {
            code: code.to_owned(),
            unit: "mg/dL".to_owned(),
            ended_ms,
            value,
        };
        let mut other_unit = earlier("glucose", 3, 5.0);
        other_unit.unit = "mmol/L".to_owned();
        let given = vec![
            earlier("glucose", 9, 95.0),
            earlier("ldl_cholesterol", 9, 120.0),
            earlier("glucose", 9, 96.0),
            earlier("glucose", 7, -5.0),
            earlier("mood", 6, 1.0),
            earlier("glucose", 5, 90.0),
            other_unit,
        ];
        let series = series(given);
        let points: Vec<_> = series.into_iter().map(|series| (series.code, series.points)).collect();
        assert_eq!(
            points,
            [
                ("glucose".to_owned(), vec![(5, 90.0), (9, 95.0)]),
                ("ldl_cholesterol".to_owned(), vec![(9, 120.0)]),
            ]
        );
    }

    #[test]
    fn a_page_is_bounded_and_a_biomarker_known() {
        let limits = Limits::default();
        let ask = |size, token: &str, code: &str| {
            HistoryQuery::check("u".to_owned(), size, token, code, &limits).map_err(field)
        };
        assert_eq!(ask(0, "", "").map(|query| query.page_size), Ok(50));
        assert_eq!(ask(200, "", "2345-7").map(|query| query.biomarker), Ok(Some(Biomarker::Glucose)));
        assert_eq!(ask(201, "", ""), Err("page_size".to_owned()));
        assert_eq!(ask(1, "zz", ""), Err("page_token".to_owned()));
        assert_eq!(ask(1, "00", ""), Err("page_token".to_owned()));
        assert_eq!(ask(1, "", "mood"), Err("biomarker_code".to_owned()));
    }

    proptest! {
        #[test]
        fn a_page_token_reads_back(ended_ms: i64, id: u128) {
            let cursor = Cursor { ended_ms, id: Uuid::from_u128(id) };
            prop_assert_eq!(Cursor::parse(&cursor.token()).ok(), Some(cursor));
        }

        #[test]
        fn any_token_is_read_or_refused(token in ".{0,64}") {
            let _ = Cursor::parse(&token);
        }
    }
}
