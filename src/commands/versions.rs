//! Registered versions beside bundles in folders: listed, shown, verified, and beside each other.

use anyhow::bail;
use registry::{
    Registry,
    artifacts::Artifact,
    diff::{Part, Row},
    versions::{Approval, Query, Version},
};

use super::registered::with;
use crate::{
    commands::{print, print_json, table},
    config::Config,
    registrar::{self, told},
};

/// Characters of a value in a table.
const SHOWN_MAX: usize = 72;

/// Every registered version. Where nothing was registered yet, or a token is asked for and none was given, there is none
/// to be told of.
pub(super) fn all(config: &Config, token: Option<&str>) -> anyhow::Result<Vec<Version>> {
    if !config.has_registry() || (token.is_none() && config.asks_for_tokens()) {
        return Ok(Vec::new());
    }
    let query = Query { limit: registrar::ROWS_MAX, ..Query::default() };
    with(config, token, async |session| Ok(session.registry.versions(&query).await?))
}

/// Everything known of a version.
pub(super) fn show(
    config: &Config,
    token: Option<&str>,
    (name, number): (&str, i64),
    json: bool,
) -> anyhow::Result<()> {
    with(config, token, async |session| {
        let registry = &session.registry;
        let version = registry.version(name, number).await?;
        let side = registry.side(&version).await?;
        if json {
            let mut whole = told::whole(registry, &version).await?;
            whole["config"] = serde_json::to_value(&side.config)?;
            return print_json(&whole);
        }
        let approvals = registry.approvals(name, number).await?;
        print(&head(&version, &approvals))?;
        let file = |file: Artifact| {
            let path = file.path.get(version.folder().len() + 1..).unwrap_or(&file.path).to_owned();
            vec![path, file.size.to_string(), file.sha256]
        };
        let files = registry.artifacts().below(&version.folder()).await?;
        print(&table(&["file", "bytes", "sha256"], files.into_iter().map(file)))?;
        match &side.config {
            Some(config) => print(&toml::to_string_pretty(config)?),
            None => Ok(()),
        }
    })
}

fn head(version: &Version, approvals: &[Approval]) -> String {
    let yes = approvals.iter().map(|yes| format!("{} ({})", yes.who, yes.why));
    let tags = version.tags.iter().map(|(key, value)| format!("{key} = {value}"));
    let join = |texts: Vec<String>| if texts.is_empty() { "-".to_owned() } else { texts.join("; ") };
    let lines = [
        ("version", version.subject()),
        ("state", format!("{}: {}", version.state.code(), version.reason)),
        ("bundle", version.version_id.clone().unwrap_or_else(|| "-".into())),
        ("maker", version.user.clone()),
        ("approved by", join(yes.collect())),
        ("source", version.source.clone()),
        ("digest", version.digest.clone()),
        ("aliases", join(version.aliases.clone())),
        ("tags", join(tags.collect())),
    ];
    lines.map(|(name, value)| format!("{name:12} {value}")).join("\n")
}

/// Reads the files of a version again.
pub(super) fn verify(
    config: &Config,
    token: Option<&str>,
    (name, number): (&str, i64),
    json: bool,
) -> anyhow::Result<()> {
    with(config, token, async |session| {
        let registry = &session.registry;
        let faults = registry.version_verify(name, number).await?;
        if json {
            print_json(&serde_json::json!({ "checked": 1, "faults": faults }))?;
        } else if faults.is_empty() {
            print(&format!("ok     {name}/{number}"))?;
        }
        if faults.is_empty() { Ok(()) } else { bail!("{name}/{number}: {}", faults.join("; ")) }
    })
}

/// A version beside another, or beside what is live.
pub(super) async fn diff(
    config: &Config,
    registry: &Registry,
    version: (&str, i64),
    beside: Option<i64>,
    json: bool,
) -> anyhow::Result<()> {
    let diff = registrar::diff(config, registry, version, beside).await?;
    if json {
        return print_json(&told::diff(&diff));
    }
    let row = |row: &Row| {
        let Row { part, name, from, to, difference } = row;
        let short = |text: &Option<String>| match part {
            Part::Gate => text.clone().unwrap_or_default(),
            Part::Config | Part::Tensor | Part::Weights | Part::File | Part::Metric => {
                text.iter().flat_map(|text| text.chars()).take(SHOWN_MAX).collect()
            }
        };
        let rose = match difference {
            Some(difference) => format!("{difference:+.4}"),
            None if from == to => "same".to_owned(),
            None => String::new(),
        };
        vec![part.code().to_owned(), name.clone(), short(from), short(to), rose]
    };
    if let Some(change) = &diff.change {
        print(&format!("change: {change}"))?;
    }
    print(&table(&["of", "what", &diff.from, &diff.to, "difference"], diff.rows.iter().map(row)))
}
