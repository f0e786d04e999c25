//! Who asks: a name and what it may do.

use std::{collections::BTreeSet, fmt};

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

/// The models that somebody has to do with: all, or those whose names are on a list. A name on the list may end in `*`,
/// which stands for any end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope(Vec<String>);

impl Scope {
    /// Those on `list`; an empty one stands for all.
    ///
    /// # Errors
    /// The entry that cannot be part of the name of a model.
    pub fn of<T: AsRef<str>>(list: impl IntoIterator<Item = T>) -> Result<Self, String> {
        let entry = |entry: T| {
            let entry = entry.as_ref().trim();
            let name = entry.strip_suffix('*').unwrap_or(entry);
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ' ');
            if entry.is_empty() || entry.len() > 256 || !name.chars().all(fits) {
                return Err(format!(
                    "`{entry}` is no name of a model, nor the beginning of one with `*` behind it"
                ));
            }
            Ok(entry.to_owned())
        };
        list.into_iter().map(entry).collect::<Result<_, _>>().map(Self)
    }

    /// Whether it is all of them.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the model of that name is among them.
    #[must_use]
    pub fn has(&self, model: &str) -> bool {
        let is = |entry: &String| match entry.strip_suffix('*') {
            Some(start) => model.starts_with(start),
            None => entry == model,
        };
        self.is_all() || self.0.iter().any(is)
    }

    /// What it was made of.
    pub fn entries(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

/// A caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Unique name, as it stands in the audit.
    pub name: String,
    /// What it may do.
    pub roles: BTreeSet<Role>,
    /// Which models that holds for.
    pub models: Scope,
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
            models: Scope::default(),
            authenticated: false,
        }
    }

    /// The holder of a token for every model.
    #[must_use]
    pub fn of_token(name: &str, roles: BTreeSet<Role>) -> Self {
        Self { name: name.to_owned(), roles, models: Scope::default(), authenticated: true }
    }

    /// The same for these models only.
    #[must_use]
    pub fn within(self, models: Scope) -> Self {
        Self { models, ..self }
    }

    /// Whether it has one of `roles`.
    #[must_use]
    pub fn is_any(&self, roles: &[Role]) -> bool {
        roles.iter().any(|role| self.roles.contains(role))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_models_or_the_beginnings_of_their_names() {
        let scope = Scope::of(["thyroid", " glucose-* "]).expect("names");
        for (model, has) in [
            ("thyroid", true),
            ("thyroid-anomaly", false),
            ("glucose-trend", true),
            ("glucose", false),
            ("", false),
        ] {
            assert_eq!(scope.has(model), has, "{model}");
        }
        assert_eq!(scope.to_string(), "thyroid,glucose-*");
        let all = Scope::of::<&str>([]).expect("all");
        assert!(all.is_all() && all.has("anything") && Scope::of(["*"]).is_ok_and(|any| any.has("anything")));
        for bad in ["", "a,b", "*a", "a*b"] {
            assert!(Scope::of([bad]).is_err(), "{bad}");
        }
    }
}
