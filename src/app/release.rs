//! Releases under way: what the registry says of them becomes how this process splits its callers, and what it sees of
//! a version on trial decides whether that goes on or back. Every replica does so by itself; what one has moved, the
//! others find moved.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use inference::{Figures, Handle, Stage, Trial};
use registry::{
    Act, Principal, Registry, RegistryError, Release, State,
    policy::{Next, Policy, Seen},
};

use super::recorder::now_ms;

/// Name that the audit gives whoever moves releases.
const RELEASE: &str = "release";
/// Figures kept of the latest answers.
const LATEST_MAX: u32 = 60;

/// What this process does about releases.
#[derive(Default)]
pub(super) struct Releases {
    watched: BTreeMap<String, Watch>,
    pinned: BTreeSet<String>,
}

/// Figures of one release as they were, the oldest first.
struct Watch {
    release: Release,
    latest: VecDeque<(Instant, Figures)>,
}

impl Releases {
    /// Looks at the registry and at the figures, once.
    pub(super) async fn look(&mut self, registry: &Registry, handle: &Handle) -> anyhow::Result<()> {
        self.pin(registry, handle).await?;
        let releases = registry.releases().await?;
        let gone = |model: &&String| !releases.iter().any(|release| release.model == **model);
        let gone: Vec<String> = self.watched.keys().filter(gone).cloned().collect();
        for model in gone {
            self.end(registry, handle, &model).await?;
        }
        for release in releases {
            let is_loaded = handle.versions(&release.model).contains(&release.number.to_string());
            if is_loaded {
                self.follow(registry, handle, release).await?;
            }
        }
        Ok(())
    }

    async fn pin(&mut self, registry: &Registry, handle: &Handle) -> anyhow::Result<()> {
        let mut pins: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for model in &self.pinned {
            pins.entry(model.clone()).or_default();
        }
        for pin in registry.pins().await? {
            pins.entry(pin.model).or_default().insert(pin.cartridge, pin.number.to_string());
        }
        for (model, pins) in pins {
            if pins.is_empty() {
                self.pinned.remove(&model);
            } else if handle.versions(&model).is_empty() {
                continue;
            } else {
                self.pinned.insert(model.clone());
            }
            handle.set_pins(&model, pins);
        }
        Ok(())
    }

    /// A release that is over. One that went well answers everybody before its trial ends: whoever has met the new
    /// version is not sent back to the old one in between.
    async fn end(&mut self, registry: &Registry, handle: &Handle, model: &str) -> anyhow::Result<()> {
        if let Some(watch) = self.watched.remove(model) {
            match registry.version(model, watch.release.number).await {
                Ok(version) if version.state == State::Live => {
                    handle.flip(model, &version.number.to_string());
                }
                Ok(_) | Err(RegistryError::NotFound(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        handle.set_trial(model, None);
        Ok(())
    }

    async fn follow(&mut self, registry: &Registry, handle: &Handle, release: Release) -> anyhow::Result<()> {
        let policy = registry.policy(&release.model).await?;
        let state = registry.version(&release.model, release.number).await?.state;
        let Some(stage) = stage(state) else { return Ok(()) };
        handle.set_trial(&release.model, Some(trial(&policy, &release, stage)));
        let Some((_, now)) = handle.trial(&release.model) else { return Ok(()) };
        let watch = self.watched.entry(release.model.clone());
        let watch = watch.or_insert_with(|| Watch { release: release.clone(), latest: VecDeque::new() });
        if watch.release != release {
            *watch = Watch { release: release.clone(), latest: VecDeque::new() };
        }
        let latest = watch.latest(&now, Duration::from_secs_f64(policy.rollback.window_s));
        let next = policy.next(&release, state, now_ms(), &seen(&now), &seen(&latest));
        let back = matches!(next, Next::Back(_));
        match act(registry, &release, next).await {
            // Another replica was first.
            Err(RegistryError::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
            Ok(()) if back => handle.set_trial(&release.model, None),
            Ok(()) => {}
        }
        Ok(())
    }
}

impl Watch {
    /// What was counted within `window` before now; remembers `now`.
    fn latest(&mut self, now: &Figures, window: Duration) -> Figures {
        let at = Instant::now();
        let is_due = |(last, _): &(Instant, Figures)| at - *last >= window / LATEST_MAX;
        if self.latest.back().is_none_or(is_due) {
            self.latest.push_back((at, now.clone()));
        }
        // The oldest that is kept is the youngest that is older than the window.
        while self.latest.get(1).is_some_and(|(second, _)| at - *second >= window) {
            self.latest.pop_front();
        }
        match self.latest.front() {
            Some((first, figures)) if at - *first >= window => now.since(figures),
            Some(_) | None => now.clone(),
        }
    }
}

fn stage(state: State) -> Option<Stage> {
    match state {
        State::Shadow => Some(Stage::Shadow),
        State::Canary => Some(Stage::Canary),
        State::Draft
        | State::Validating
        | State::Rejected
        | State::Staged
        | State::Live
        | State::Deprecated
        | State::RolledBack
        | State::Archived => None,
    }
}

fn trial(policy: &Policy, release: &Release, stage: Stage) -> Trial {
    Trial {
        version: release.number.to_string(),
        stage,
        share: release.share,
        compared: policy.canary.compared,
        tolerance: policy.rollback.tolerance,
    }
}

fn seen(figures: &Figures) -> Seen {
    Seen {
        answered: figures.answered,
        failed: figures.failed,
        agreed: figures.agreed,
        differed: figures.differed,
        p95_us: figures.p95_us(),
        live_p95_us: figures.live_p95_us(),
        drift: figures.drift.clone(),
    }
}

async fn act(registry: &Registry, release: &Release, next: Next) -> Result<(), RegistryError> {
    let who = Principal { name: RELEASE.to_owned(), ..Principal::local() };
    let act = |why| Act { by: &who, at_ms: now_ms(), why };
    let Release { model, number, share, .. } = release;
    let held = "held its bounds";
    match next {
        Next::Wait => return Ok(()),
        Next::Canary => registry.step(act(held), model, *number, State::Canary, held).await?,
        Next::Share(wider) => registry.release_widen(act(held), release, wider).await?,
        Next::Live => registry.step(act(held), model, *number, State::Live, held).await?,
        Next::Back(reason) => {
            registry.release_back(act(&reason), release).await?;
            tracing::warn!(model, version = number, share, reason, "rolled back");
            return Ok(());
        }
    }
    tracing::info!(model, version = number, share, "release goes on");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_figures_are_those_within_the_window() {
        // How figures are subtracted is tested with them; here it matters which are.
        let window = Duration::from_secs(15);
        let mut watch = Watch {
            release: Release { model: "m".into(), number: 1, share: 5, since_ms: 0 },
            latest: VecDeque::new(),
        };
        let counted = |answered| {
            let mut figures = Figures::default();
            figures.answered = answered;
            figures
        };
        assert_eq!(watch.latest(&counted(7), window).answered, 7, "nothing is older than the window");
        let Some(before) = Instant::now().checked_sub(Duration::from_secs(40)) else { return };
        watch.latest = [(before, counted(10)), (before + Duration::from_secs(20), counted(100))].into();
        assert_eq!(watch.latest(&counted(130), window).answered, 30);
        assert_eq!(watch.latest.front().map(|(_, figures)| figures.answered), Some(100));
        (0..200).for_each(|more| drop(watch.latest(&counted(130 + more), window)));
        assert!(watch.latest.len() <= 3, "a look more often than a sixtieth of the window is not kept");
    }
}
