//! Who asks: a name and what it may do.

use std::collections::BTreeSet;

/// What a caller may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Measures and reads what is their own.
    User,
    /// Reads what a user has shared with them.
    FamilyMember,
    /// Reads what a patient has shared, and writes findings.
    MedicalStaff,
    /// Reads what is no longer about a person.
    Researcher,
    /// Uploads models, and approves those of others.
    DataScientist,
    /// Everything, but not their own approval.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 6] = [
        Self::User,
        Self::FamilyMember,
        Self::MedicalStaff,
        Self::Researcher,
        Self::DataScientist,
        Self::Admin,
    ];

    /// The word in tokens, policies and the audit.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::FamilyMember => "family_member",
            Self::MedicalStaff => "medical_staff",
            Self::Researcher => "researcher",
            Self::DataScientist => "data_scientist",
            Self::Admin => "admin",
        }
    }

    /// The role of that word.
    #[must_use]
    pub fn read(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.code() == code)
    }
}

/// Name of the one principal there is while nobody has to show a token.
pub const LOCAL: &str = "local";

/// A caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Unique name, as it stands in the audit.
    pub name: String,
    /// What it may do.
    pub roles: BTreeSet<Role>,
    /// Whether it showed a token. Without tokens maker and checker cannot be told apart.
    pub authenticated: bool,
}

impl Principal {
    /// Whoever sits at this machine, while no token is asked for.
    #[must_use]
    pub fn local() -> Self {
        Self {
            name: LOCAL.to_owned(),
            roles: BTreeSet::from([Role::DataScientist, Role::Admin]),
            authenticated: false,
        }
    }

    /// The holder of a token.
    #[must_use]
    pub fn of_token(name: &str, roles: BTreeSet<Role>) -> Self {
        Self { name: name.to_owned(), roles, authenticated: true }
    }

    /// Whether it has one of `roles`.
    #[must_use]
    pub fn is_any(&self, roles: &[Role]) -> bool {
        roles.iter().any(|role| self.roles.contains(role))
    }
}
