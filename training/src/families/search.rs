//! Other settings of a recipe, judged on its validation rows. The test rows are not looked at.

use anyhow::{Context as _, Result};
use models::bundle::NetworkConfig;

use super::make::check;
use super::recipe::{Context, Prepared, Recipe};
use super::trainee::Trainee;
use crate::data::Provenance;
use crate::optimise::{Outcome, Plan, Tuning};

/// A search over the settings of one model; its data is read once.
pub struct Search<'a> {
    recipe: &'static dyn Recipe,
    context: &'a Context,
    prepared: Prepared,
}

/// What came of one trial.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// Factors on the recipe's own settings.
    pub tuning: Tuning,
    /// The network that was trained.
    pub network: NetworkConfig,
    /// How it was trained, where it was by the shared loop.
    pub plan: Option<Plan>,
    /// How it went; the best validation figure judges the trial, lower is better.
    pub outcome: Outcome,
}

impl<'a> Search<'a> {
    pub(super) fn new(recipe: &'static dyn Recipe, context: &'a Context) -> Result<Self> {
        let name = recipe.spec().name;
        let prepared = recipe.prepare(context, context.seed);
        let prepared = prepared.with_context(|| format!("cannot prepare the data of `{name}`"))?;
        check(&prepared)?;
        Ok(Self { recipe, context, prepared })
    }

    /// The recipe's own network.
    #[must_use]
    pub fn network(&self) -> NetworkConfig {
        self.recipe.network()
    }

    /// Where the data comes from.
    #[must_use]
    pub fn provenance(&self) -> &[Provenance] {
        &self.prepared.provenance
    }

    /// Trains with `tuning`, with the seed of the context.
    ///
    /// # Errors
    /// Training that diverges.
    pub fn run(&self, tuning: Tuning) -> Result<Trial> {
        let network = tuning.network(self.recipe.network());
        let trainee = Trainee::new(&network)?;
        let progress = &self.context.progress;
        drop(progress.journal().take_plans());
        progress.tune(tuning);
        let outcome = self.recipe.train(&self.prepared, &trainee, self.context);
        progress.tune(Tuning::default());
        let plan = progress.journal().take_plans().first().map(|(_, plan)| *plan);
        Ok(Trial { tuning, network, plan, outcome: outcome? })
    }
}
