//! A release under way, and what is pinned, as the registry tells of them.

/// Where the release of a version is. A model has at most one under way; its version is in shadow or canary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The model's name.
    pub model: String,
    /// The version's number.
    pub number: i64,
    /// Percent: of the callers in canary, of the requests that are mirrored in shadow.
    pub share: u8,
    /// Since when, ms since the Unix epoch.
    pub since_ms: i64,
}

/// The version that answers for one type of cartridge, whatever is live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The model's name.
    pub model: String,
    /// Category and type of the cartridge as hexadecimal bytes, such as `01:01`.
    pub cartridge: String,
    /// The version's number.
    pub number: i64,
}
