//! The audit: what was done to a model, by whom, when, to which bytes and why; appended, never changed.
//!
//! Each link carries the hash of the one before it and of its own fields, so a link that is changed, taken out or
//! moved breaks the chain at its place. Where the chain ends is kept apart, so links missing at its end are missed
//! too. Who can write the whole database can forge the whole chain: keep the head that `manpasik models audit
//! --verify` prints elsewhere, and compare.

use sha2::{Digest, Sha256};

/// The hash before the first link.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What happened, before it has its place in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// ms since the Unix epoch.
    pub at_ms: i64,
    /// Name of the principal.
    pub who: String,
    /// What was done, such as `version.approve`.
    pub action: String,
    /// To what, such as `thyroid/3`.
    pub subject: String,
    /// Digest of the bytes it was about; may be empty.
    pub digest: String,
    /// Why, or with which values.
    pub why: String,
}

/// A link of the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// 1 for the first.
    pub position: i64,
    /// What happened.
    pub event: Event,
    /// Hash of the link before.
    pub previous: String,
    /// Hash of this one.
    pub hash: String,
}

/// Where a chain is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Break {
    /// A link is missing, or stands where another belongs.
    #[error("at position {expected} stands link {found}: a link was removed, added or moved")]
    Position {
        /// What belongs there.
        expected: i64,
        /// What is there.
        found: i64,
    },
    /// A link does not follow the one before it.
    #[error("link {0} does not carry the hash of the link before it: one of them was changed or moved")]
    Previous(i64),
    /// A link is not what was written.
    #[error("link {0} was changed: its fields do not give its hash")]
    Changed(i64),
    /// The chain ends before or after its noted end.
    #[error(
        "the chain ends at link {found}, and was written to link {expected}: links were removed at its end"
    )]
    End {
        /// Noted end.
        expected: i64,
        /// Last link there is.
        found: i64,
    },
}

impl Event {
    /// The link of this event at `position` after the link with hash `previous`.
    #[must_use]
    pub fn link(self, position: i64, previous: &str) -> Link {
        let hash = hash(position, &self, previous);
        Link { position, event: self, previous: previous.to_owned(), hash }
    }

    /// The link of this event after the one at `head`.
    pub(crate) fn link_after(self, (position, hash): (i64, String)) -> Link {
        self.link(position + 1, &hash)
    }
}

/// Walks along a chain link by link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walk {
    position: i64,
    hash: String,
}

impl Default for Walk {
    fn default() -> Self {
        Self { position: 0, hash: GENESIS.to_owned() }
    }
}

impl Walk {
    /// Takes the next link.
    ///
    /// # Errors
    /// Where it does not fit.
    pub fn take(&mut self, link: &Link) -> Result<(), Break> {
        let expected = self.position + 1;
        if link.position != expected {
            return Err(Break::Position { expected, found: link.position });
        }
        if link.previous != self.hash {
            return Err(Break::Previous(link.position));
        }
        if hash(link.position, &link.event, &link.previous) != link.hash {
            return Err(Break::Changed(link.position));
        }
        self.position = link.position;
        self.hash.clone_from(&link.hash);
        Ok(())
    }

    /// Position and hash of the last link taken.
    #[must_use]
    pub fn head(&self) -> (i64, &str) {
        (self.position, &self.hash)
    }

    /// Compares with the noted end.
    ///
    /// # Errors
    /// A chain that ends elsewhere.
    pub fn ends_at(&self, position: i64, hash: &str) -> Result<(), Break> {
        if self.position != position {
            return Err(Break::End { expected: position, found: self.position });
        }
        if self.hash == hash { Ok(()) } else { Err(Break::Changed(position)) }
    }
}

/// SHA-256 over every field with its length before it, so that no two events are written alike.
fn hash(position: i64, event: &Event, previous: &str) -> String {
    let Event { at_ms, who, action, subject, digest, why } = event;
    let mut hasher = Sha256::new();
    hasher.update(position.to_le_bytes());
    hasher.update(at_ms.to_le_bytes());
    for text in [previous, who, action, subject, digest, why] {
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hex::encode(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chain(length: usize) -> Vec<Link> {
        let mut links: Vec<Link> = Vec::new();
        for at in 0..length {
            let event = Event {
                at_ms: 1_000 + i64::try_from(at).expect("short"),
                who: format!("p{at}"),
                action: "version.approve".into(),
                subject: format!("thyroid/{at}"),
                digest: String::new(),
                why: "reviewed".into(),
            };
            let previous = links.last().map_or(GENESIS, |link| &link.hash).to_owned();
            links.push(event.link(i64::try_from(at).expect("short") + 1, &previous));
        }
        links
    }

    fn verify(links: &[Link], head: (i64, &str)) -> Result<(), Break> {
        let mut walk = Walk::default();
        links.iter().try_for_each(|link| walk.take(link))?;
        walk.ends_at(head.0, head.1)
    }

    fn head(links: &[Link]) -> (i64, String) {
        links.last().map_or((0, GENESIS.to_owned()), |link| (link.position, link.hash.clone()))
    }

    proptest! {
        #[test]
        fn any_change_is_found(length in 1_usize..8, at in 0_usize..8, what in 0_u8..7) {
            let honest = chain(length);
            let (end, end_hash) = head(&honest);
            prop_assert_eq!(verify(&honest, (end, &end_hash)), Ok(()));
            let (mut links, at) = (honest.clone(), at % length);
            match what {
                0 => links[at].event.who.push('x'),
                1 => links[at].event.why = "because".into(),
                2 => links[at].event.at_ms += 1,
                3 => { links.remove(at); }
                4 => { let copy = links[at].clone(); links.insert(at, copy); }
                5 => links.swap(at, (at + 1) % length),
                _ => {
                    // A link forged with a hash of its own breaks the one after it, or the noted end.
                    let mut event = links[at].event.clone();
                    event.subject.push('9');
                    let (position, previous) = (links[at].position, links[at].previous.clone());
                    links[at] = event.link(position, &previous);
                }
            }
            prop_assert_eq!(verify(&links, (end, &end_hash)).is_err(), links != honest);
        }
    }

    #[test]
    fn fields_do_not_run_into_each_other() {
        let mut one = chain(1).remove(0).event;
        let other = Event { who: format!("{}v", one.who), action: "ersion.approve".into(), ..one.clone() };
        one.action = "version.approve".into();
        assert_ne!(one.link(1, GENESIS).hash, other.link(1, GENESIS).hash);
    }
}
