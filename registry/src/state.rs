//! The life of a version, from upload to archive, and which step may follow which.
//!
//! ```text
//! draft -> validating -> rejected
//!                     -> staged -> shadow -> canary -> live -> deprecated -> archived
//!                                         -> canary -> rolled_back -> staged
//! ```
//! A staged version answers when it is asked for by its number; only a live one answers for the model's name.

/// Where a version stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Its files may still be coming.
    Draft,
    /// The gates are looking at it.
    Validating,
    /// A gate refused it; its report says why.
    Rejected,
    /// It passed the gates and answers by its number.
    Staged,
    /// It gets a copy of the traffic and answers nobody.
    Shadow,
    /// It answers a part of the callers.
    Canary,
    /// It answers everybody.
    Live,
    /// Another took its place; it still answers by its number, and can be rolled back to.
    Deprecated,
    /// It was taken back from canary or live, by hand or by itself.
    RolledBack,
    /// It answers nobody; its record stays.
    Archived,
}

impl State {
    /// Every state, in the order of a life.
    pub const ALL: [Self; 10] = [
        Self::Draft,
        Self::Validating,
        Self::Rejected,
        Self::Staged,
        Self::Shadow,
        Self::Canary,
        Self::Live,
        Self::Deprecated,
        Self::RolledBack,
        Self::Archived,
    ];

    /// The word in the table and on the wire.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Validating => "validating",
            Self::Rejected => "rejected",
            Self::Staged => "staged",
            Self::Shadow => "shadow",
            Self::Canary => "canary",
            Self::Live => "live",
            Self::Deprecated => "deprecated",
            Self::RolledBack => "rolled_back",
            Self::Archived => "archived",
        }
    }

    /// The state of that word.
    #[must_use]
    pub fn read(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }

    /// Whether `next` may follow.
    #[must_use]
    pub fn allows(self, next: Self) -> bool {
        self.followers().contains(&next)
    }

    /// What may follow.
    #[must_use]
    pub const fn followers(self) -> &'static [Self] {
        match self {
            Self::Draft => &[Self::Validating, Self::Archived],
            Self::Validating => &[Self::Rejected, Self::Staged, Self::Draft],
            Self::Rejected => &[Self::Validating, Self::Archived],
            Self::Staged => &[Self::Validating, Self::Shadow, Self::Canary, Self::Live, Self::Archived],
            Self::Shadow => &[Self::Staged, Self::Canary, Self::Live, Self::RolledBack],
            Self::Canary => &[Self::Live, Self::RolledBack],
            Self::Live => &[Self::Deprecated, Self::RolledBack],
            Self::Deprecated => &[Self::Live, Self::Archived],
            Self::RolledBack => &[Self::Staged, Self::Live, Self::Archived],
            Self::Archived => &[Self::Deprecated],
        }
    }

    /// Whether a server keeps it loaded.
    #[must_use]
    pub const fn is_served(self) -> bool {
        match self {
            Self::Staged | Self::Shadow | Self::Canary | Self::Live | Self::Deprecated | Self::RolledBack => {
                true
            }
            Self::Draft | Self::Validating | Self::Rejected | Self::Archived => false,
        }
    }

    /// The stage that MLflow's clients of old know.
    #[must_use]
    pub const fn stage(self) -> &'static str {
        match self {
            Self::Live => "Production",
            Self::Shadow | Self::Canary => "Staging",
            Self::Deprecated | Self::Archived | Self::RolledBack => "Archived",
            Self::Draft | Self::Validating | Self::Rejected | Self::Staged => "None",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back() {
        for state in State::ALL {
            assert_eq!(State::read(state.code()), Some(state));
        }
        assert_eq!(State::read("gone"), None);
    }

    #[test]
    fn nothing_becomes_live_that_did_not_pass_the_gates() {
        let before_gates = [State::Draft, State::Validating, State::Rejected, State::Archived];
        for state in before_gates {
            assert!(!state.allows(State::Live) && !state.allows(State::Canary), "{state:?}");
        }
    }

    #[test]
    fn every_state_can_be_reached_and_what_answers_is_never_archived_at_once() {
        for state in State::ALL.into_iter().filter(|state| *state != State::Draft) {
            assert!(State::ALL.into_iter().any(|before| before.allows(state)), "{state:?}");
        }
        assert!(!State::Live.allows(State::Archived) && !State::Canary.allows(State::Archived));
    }
}
