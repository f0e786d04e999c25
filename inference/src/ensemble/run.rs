//! One request through the steps of an ensemble.

use futures::{StreamExt, stream::FuturesUnordered};
use models::Tensor;

use super::{
    board::Board,
    plan::{Plan, Slot, Step},
};
use crate::{InferError, Terms, handle::Shared};

/// When to come back where too much is on the way between steps.
const RETRY_AFTER_MS: u64 = 100;

impl Plan {
    /// The outputs for the caller's `tensors`, which were checked. Each step has the deadline and the urgency of the
    /// whole.
    pub(crate) async fn run(
        &self,
        shared: &Shared,
        tensors: Vec<Tensor>,
        terms: &Terms,
    ) -> Result<Vec<Tensor>, InferError> {
        let mut board = Board::new(self, &shared.ensembles.held);
        let given = self.inputs.iter().copied().zip(tensors);
        self.put(&mut board, shared, given)?;
        let mut waiting: Vec<&Step> = self.steps.iter().collect();
        let mut running = FuturesUnordered::new();
        loop {
            let ready = waiting.extract_if(.., |step| board.has(step.inputs.values()));
            for step in ready.collect::<Vec<_>>() {
                running.push(self.begin(shared, step, &mut board, terms)?);
            }
            let Some(outputs) = running.next().await else { break };
            self.put(&mut board, shared, outputs?)?;
        }
        let outputs: Option<Vec<Tensor>> = self.outputs.iter().map(|slot| board.take(*slot)).collect();
        outputs.ok_or_else(|| self.failed("an output was not made"))
    }

    fn put(
        &self,
        board: &mut Board<'_>,
        shared: &Shared,
        tensors: impl IntoIterator<Item = (Slot, Tensor)>,
    ) -> Result<(), InferError> {
        for (slot, tensor) in tensors {
            if !board.put(slot, tensor, shared.limits.ensemble_bytes_max) {
                return Err(InferError::Overloaded {
                    model: self.ensemble().name.clone(),
                    retry_after_ms: RETRY_AFTER_MS,
                });
            }
        }
        Ok(())
    }

    /// Takes the inputs of `step` and begins it; what it gives comes with the places it goes to.
    fn begin<'a>(
        &'a self,
        shared: &'a Shared,
        step: &'a Step,
        board: &mut Board<'_>,
        terms: &Terms,
    ) -> Result<impl Future<Output = Result<Vec<(Slot, Tensor)>, InferError>> + 'a, InferError> {
        let served = shared.router.find(&step.model, step.version.as_deref())?;
        let input = |name: &String| step.inputs.get(name).and_then(|slot| board.take(*slot));
        let tensors: Option<Vec<Tensor>> =
            served.signature().inputs.iter().map(|spec| &spec.name).map(input).collect();
        let tensors = tensors.ok_or_else(|| self.failed("a model has other inputs than it had"))?;
        let rows = served.signature().check_inputs(&tensors)?;
        let terms = terms.clone();
        Ok(async move {
            let answer = shared.ask(&served, tensors, rows, terms).await?;
            let named = served.signature().outputs.iter().map(|spec| &spec.name).zip(answer.tensors);
            let wanted = named.filter_map(|(name, tensor)| Some((*step.outputs.get(name)?, tensor)));
            let outputs: Vec<(Slot, Tensor)> = wanted.collect();
            if outputs.len() == step.outputs.len() {
                Ok(outputs)
            } else {
                Err(self.failed("a model has other outputs than it had"))
            }
        })
    }

    fn failed(&self, reason: &str) -> InferError {
        tracing::error!(ensemble = self.ensemble().name, reason, "an ensemble failed");
        InferError::Failed { model: self.ensemble().name.clone() }
    }
}
