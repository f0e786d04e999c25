//! Where the tensors of one request lie between the steps of an ensemble: each until its last step has taken it.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use models::Tensor;

use super::plan::{Plan, Slot};

/// See the module.
#[derive(Debug)]
pub(super) struct Board<'a> {
    /// Bytes of every board of the server.
    held: &'a AtomicUsize,
    tensors: Vec<Option<Tensor>>,
    /// How often each is still to be taken.
    uses: Vec<usize>,
    /// Whether it has ever lain here.
    there: Vec<bool>,
}

impl<'a> Board<'a> {
    /// An empty board for a request to `plan`.
    pub(super) fn new(plan: &Plan, held: &'a AtomicUsize) -> Self {
        let places = plan.uses.len();
        Self { held, tensors: vec![None; places], uses: plan.uses.clone(), there: vec![false; places] }
    }

    /// Puts a tensor down; false when all boards would then hold more than so many bytes.
    pub(super) fn put(&mut self, slot: Slot, tensor: Tensor, bytes_max: usize) -> bool {
        self.there[slot] = true;
        if self.uses[slot] == 0 {
            return true;
        }
        let bytes = tensor.data().len();
        let held = self.held.fetch_add(bytes, Relaxed) + bytes;
        self.tensors[slot] = Some(tensor);
        held <= bytes_max
    }

    /// Whether every one of these has come.
    pub(super) fn has<'b>(&self, mut slots: impl Iterator<Item = &'b Slot>) -> bool {
        slots.all(|slot| self.there[*slot])
    }

    /// Takes a tensor, for the last time when nobody else is to take it.
    pub(super) fn take(&mut self, slot: Slot) -> Option<Tensor> {
        self.uses[slot] = self.uses[slot].saturating_sub(1);
        if self.uses[slot] > 0 {
            return self.tensors[slot].clone();
        }
        let tensor = self.tensors[slot].take()?;
        self.held.fetch_sub(tensor.data().len(), Relaxed);
        Some(tensor)
    }
}

impl Drop for Board<'_> {
    /// A request that ends early leaves nothing behind.
    fn drop(&mut self) {
        let left: usize = self.tensors.iter().flatten().map(|tensor| tensor.data().len()).sum();
        self.held.fetch_sub(left, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Ensemble, EnsembleStep},
        *,
    };

    fn tensor(values: usize) -> Tensor {
        Tensor::from_f32(vec![1, values], &vec![0.0; values]).expect("shape")
    }

    fn plan() -> Plan {
        let pair = |own: &str, tensor: &str| [(own.to_owned(), tensor.to_owned())].into();
        let step = EnsembleStep {
            model: "m".into(),
            version: None,
            inputs: pair("x", "raw"),
            outputs: pair("y", "out"),
        };
        let ensemble = Ensemble {
            name: "e".into(),
            version: "1".into(),
            steps: vec![step],
            outputs: vec!["out".into()],
        };
        Plan::of(ensemble).expect("a plan")
    }

    #[test]
    fn bytes_count_until_the_last_step_has_them_or_the_request_ends() {
        let (plan, held) = (plan(), AtomicUsize::new(0));
        let mut board = Board::new(&plan, &held);
        let (raw, out) = (plan.inputs[0], plan.outputs[0]);
        assert!(board.put(raw, tensor(4), 16) && board.has([raw].iter()) && !board.has([out].iter()));
        assert!(!board.put(out, tensor(1), 16), "20 bytes are more than 16");
        assert_eq!(board.take(raw).map(|tensor| tensor.data().len()), Some(16));
        assert_eq!((board.take(raw), held.load(Relaxed)), (None, 4));
        drop(board);
        assert_eq!(held.load(Relaxed), 0);
    }
}
