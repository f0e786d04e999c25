//! From the steps that were declared to what runs: every tensor has a place, every step knows its places, and what is
//! wrong is said before anybody asks.

use std::collections::BTreeMap;

use models::{Signature, TensorSpec};

use super::{Ensemble, EnsembleStep, PLATFORM};
use crate::{Served, router::Router};

/// Most steps of an ensemble.
const STEPS_MAX: usize = 64;

/// A tensor of the ensemble by its place.
pub(super) type Slot = usize;

/// One step with its places.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) model: String,
    pub(super) version: Option<String>,
    pub(super) inputs: BTreeMap<String, Slot>,
    pub(super) outputs: BTreeMap<String, Slot>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Plan {
    ensemble: Ensemble,
    pub(super) steps: Vec<Step>,
    /// Name of the tensor at each place.
    names: Vec<String>,
    /// Places of what the caller sends.
    pub(super) inputs: Vec<Slot>,
    /// Places of what the caller gets.
    pub(super) outputs: Vec<Slot>,
    /// How often the tensor at each place is taken.
    pub(super) uses: Vec<usize>,
}

/// What an ensemble is with the models that serve now.
pub(super) struct Bound {
    pub(super) signature: Signature,
    /// Rows that all of its models take.
    pub(super) rows_max: usize,
}

impl Plan {
    /// Gives every tensor its place; the error says what is wrong and where.
    pub(super) fn of(ensemble: Ensemble) -> Result<Self, String> {
        if !(1..=STEPS_MAX).contains(&ensemble.steps.len()) {
            return Err(format!("has {} steps, expected 1 to {STEPS_MAX}", ensemble.steps.len()));
        }
        let mut names: Vec<String> = Vec::new();
        let mut slot = |name: &String| {
            let at = names.iter().position(|known| known == name);
            at.unwrap_or_else(|| {
                names.push(name.clone());
                names.len() - 1
            })
        };
        let mut places = |side: &BTreeMap<String, String>| -> BTreeMap<String, Slot> {
            side.iter().map(|(own, tensor)| (own.clone(), slot(tensor))).collect()
        };
        let mut step = |step: &EnsembleStep| Step {
            model: step.model.clone(),
            version: step.version.clone(),
            inputs: places(&step.inputs),
            outputs: places(&step.outputs),
        };
        let steps: Vec<Step> = ensemble.steps.iter().map(&mut step).collect();
        let mut made = vec![false; names.len()];
        for (slot, step) in steps.iter().flat_map(|step| step.outputs.values().map(move |slot| (*slot, step)))
        {
            if std::mem::replace(&mut made[slot], true) {
                return Err(format!("`{}` comes from two steps, one of them `{}`", names[slot], step.model));
            }
        }
        let wanted = |name: &String| {
            let slot = names.iter().position(|known| known == name).filter(|slot| made[*slot]);
            slot.ok_or_else(|| format!("the output `{name}` comes from no step"))
        };
        let outputs = ensemble.outputs.iter().map(wanted).collect::<Result<Vec<Slot>, _>>()?;
        if outputs.is_empty() || (1..outputs.len()).any(|at| outputs[..at].contains(&outputs[at])) {
            return Err("needs outputs, each named once".to_owned());
        }
        let mut uses = vec![0; names.len()];
        let taken = steps.iter().flat_map(|step| step.inputs.values()).chain(&outputs);
        taken.for_each(|slot| uses[*slot] += 1);
        let inputs = (0..names.len()).filter(|slot| !made[*slot]).collect();
        let plan = Self { ensemble, steps, names, inputs, outputs, uses };
        plan.check_order()?;
        Ok(plan)
    }

    /// What it was made of.
    pub(crate) fn ensemble(&self) -> &Ensemble {
        &self.ensemble
    }

    /// Fails where steps wait for each other.
    fn check_order(&self) -> Result<(), String> {
        let mut there = vec![false; self.names.len()];
        self.inputs.iter().for_each(|slot| there[*slot] = true);
        let mut left: Vec<&Step> = self.steps.iter().collect();
        while !left.is_empty() {
            let (ready, rest): (Vec<&Step>, Vec<&Step>) =
                left.into_iter().partition(|step| step.inputs.values().all(|slot| there[*slot]));
            if ready.is_empty() {
                let names: Vec<&str> = rest.iter().map(|step| step.model.as_str()).collect();
                return Err(format!("the steps {names:?} wait for each other"));
            }
            ready.iter().flat_map(|step| step.outputs.values()).for_each(|slot| there[*slot] = true);
            left = rest;
        }
        Ok(())
    }

    /// The signature of the ensemble, by those of the models that serve now.
    pub(super) fn bind(&self, router: &Router) -> Result<Bound, String> {
        let mut specs: Vec<Option<TensorSpec>> = vec![None; self.names.len()];
        let mut rows_max = usize::MAX;
        for step in &self.steps {
            let served =
                router.find(&step.model, step.version.as_deref()).map_err(|error| error.to_string())?;
            check_member(step, &served)?;
            rows_max = rows_max.min(served.rows_max());
            let signature = served.signature();
            for (side, own) in [(&signature.inputs, &step.inputs), (&signature.outputs, &step.outputs)] {
                for (name, slot) in own {
                    let spec = side.iter().find(|spec| spec.name == *name);
                    let spec =
                        spec.ok_or_else(|| format!("model `{}` has no tensor `{name}` there", step.model))?;
                    self.agree(&mut specs, *slot, spec, &step.model)?;
                }
            }
        }
        let take = |slots: &[Slot]| slots.iter().filter_map(|slot| specs[*slot].clone()).collect();
        Ok(Bound {
            signature: Signature { inputs: take(&self.inputs), outputs: take(&self.outputs) },
            rows_max,
        })
    }

    /// Notes what is known of a tensor; one model may leave open what another fixes.
    fn agree(
        &self,
        specs: &mut [Option<TensorSpec>],
        slot: Slot,
        spec: &TensorSpec,
        model: &str,
    ) -> Result<(), String> {
        let name = &self.names[slot];
        let Some(known) = &mut specs[slot] else {
            specs[slot] = Some(TensorSpec { name: name.clone(), ..spec.clone() });
            return Ok(());
        };
        let fits = |(one, other): (&i64, &i64)| *one < 0 || *other < 0 || one == other;
        let alike = known.dims.len() == spec.dims.len() && known.dims.iter().zip(&spec.dims).all(fits);
        if known.dtype != spec.dtype || !alike {
            return Err(format!(
                "tensor `{name}` is {} {:?}, but model `{model}` has {} {:?} as `{}`",
                known.dtype.oip(),
                known.dims,
                spec.dtype.oip(),
                spec.dims,
                spec.name
            ));
        }
        known.dims.iter_mut().zip(&spec.dims).for_each(|(known, own)| *known = (*known).max(*own));
        Ok(())
    }
}

fn check_member(step: &Step, served: &Served) -> Result<(), String> {
    if served.platform() == PLATFORM {
        return Err(format!("`{}` is an ensemble itself: name its models", step.model));
    }
    let missing = served.signature().inputs.iter().find(|spec| !step.inputs.contains_key(&spec.name));
    match missing {
        Some(spec) => Err(format!("says nothing of the input `{}` of model `{}`", spec.name, step.model)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(model: &str, inputs: &[(&str, &str)], outputs: &[(&str, &str)]) -> EnsembleStep {
        let map = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(own, tensor)| ((*own).to_owned(), (*tensor).to_owned())).collect()
        };
        EnsembleStep { model: model.into(), version: None, inputs: map(inputs), outputs: map(outputs) }
    }

    fn plan(steps: Vec<EnsembleStep>, outputs: &[&str]) -> Result<Plan, String> {
        let outputs = outputs.iter().map(|name| (*name).to_owned()).collect();
        Plan::of(Ensemble { name: "e".into(), version: "1".into(), steps, outputs })
    }

    #[test]
    fn what_no_step_makes_comes_from_the_caller_whatever_the_order() {
        let second = step("b", &[("x", "h"), ("z", "raw")], &[("y", "out")]);
        let first = step("a", &[("x", "raw")], &[("y", "h")]);
        let plan = plan(vec![second, first], &["out"]).expect("a plan");
        let names = |slots: &[Slot]| slots.iter().map(|slot| plan.names[*slot].clone()).collect::<Vec<_>>();
        assert_eq!((names(&plan.inputs), names(&plan.outputs)), (vec!["raw".into()], vec!["out".to_owned()]));
        let raw = plan.inputs[0];
        assert_eq!(plan.uses[raw], 2, "both steps take it");
    }

    #[test]
    fn what_cannot_run_is_told_why() {
        let a = || step("a", &[("x", "raw")], &[("y", "h")]);
        for (steps, outputs, word) in [
            (vec![], &["h"][..], "0 steps"),
            (vec![a(), a()], &["h"], "two steps"),
            (vec![a()], &["raw"], "`raw` comes from no step"),
            (vec![a()], &["z"], "`z` comes from no step"),
            (vec![a()], &[], "needs outputs"),
            (vec![a()], &["h", "h"], "each named once"),
            (
                vec![step("a", &[("x", "b")], &[("y", "a")]), step("c", &[("x", "a")], &[("y", "b")])],
                &["a"],
                "wait",
            ),
            (vec![step("a", &[("x", "h")], &[("y", "h")])], &["h"], "wait"),
        ] {
            let reason = plan(steps, outputs).expect_err(word);
            assert!(reason.contains(word), "{reason}");
        }
    }
}
