//! Answers of one model version that are given again for the same inputs.
//!
//! An entry is found by 128 bits of a hash with secret keys, so that nobody can make two inputs meet, and holds no
//! input. It belongs to one loaded version and goes with it. Beyond the bound of bytes those go that were not
//! asked for since the last round (second chance).

use std::{
    collections::{HashMap, VecDeque, hash_map::RandomState},
    hash::{BuildHasher, Hash, Hasher},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use models::Tensor;

/// What an entry costs beside its tensors.
const ENTRY_BYTES: usize = 256;

/// Stands for the inputs of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key([u64; 2]);

/// See the module.
#[derive(Debug)]
pub(crate) struct Cache {
    secrets: [RandomState; 2],
    bytes_max: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    answers: HashMap<Key, Answer>,
    /// Every key once, the next to go first.
    order: VecDeque<Key>,
    bytes: usize,
}

#[derive(Debug)]
struct Answer {
    tensors: Vec<Tensor>,
    bytes: usize,
    used: bool,
}

impl Cache {
    /// An empty cache of up to `bytes_max`.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { secrets: [RandomState::new(), RandomState::new()], bytes_max, kept: Mutex::default() }
    }

    /// The key of `inputs`, which were checked against the signature.
    pub(crate) fn key(&self, inputs: &[Tensor]) -> Key {
        Key([0, 1].map(|half: usize| {
            let mut hasher = self.secrets[half].build_hasher();
            for input in inputs {
                input.shape().hash(&mut hasher);
                hasher.write(input.data());
            }
            hasher.finish()
        }))
    }

    /// The answer that is kept for `key`.
    pub(crate) fn get(&self, key: Key) -> Option<Vec<Tensor>> {
        let mut kept = self.lock();
        let answer = kept.answers.get_mut(&key)?;
        answer.used = true;
        Some(answer.tensors.clone())
    }

    /// Keeps a copy of `outputs`: they may be a few rows of a batch that should not live on with them.
    pub(crate) fn put(&self, key: Key, outputs: &[Tensor]) {
        let bytes = ENTRY_BYTES + outputs.iter().map(|output| output.data().len()).sum::<usize>();
        if bytes > self.bytes_max {
            return;
        }
        let copy = |output: &Tensor| {
            Tensor::new(output.dtype(), output.shape().to_vec(), Bytes::copy_from_slice(output.data()))
        };
        let Ok(tensors) = outputs.iter().map(copy).collect::<Result<_, _>>() else { return };
        let mut kept = self.lock();
        if kept.answers.contains_key(&key) {
            return;
        }
        kept.shrink(self.bytes_max - bytes);
        kept.bytes += bytes;
        kept.order.push_back(key);
        kept.answers.insert(key, Answer { tensors, bytes, used: false });
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Lets entries go until `bytes` are left at most.
    fn shrink(&mut self, bytes: usize) {
        while self.bytes > bytes {
            let Some(key) = self.order.pop_front() else { return };
            match self.answers.get_mut(&key) {
                Some(answer) if answer.used => {
                    answer.used = false;
                    self.order.push_back(key);
                }
                Some(_) | None => {
                    self.bytes -= self.answers.remove(&key).map_or(0, |answer| answer.bytes);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tensor(values: &[f32]) -> Tensor {
        Tensor::from_f32(vec![1, values.len()], values).expect("shape")
    }

    #[test]
    fn inputs_that_differ_in_anything_have_their_own_key() {
        let cache = Cache::new(1 << 20);
        let shaped = |shape: &[usize]| Tensor::from_f32(shape.to_vec(), &[1.0; 4]).expect("shape");
        let keys = [
            cache.key(&[shaped(&[1, 4])]),
            cache.key(&[shaped(&[2, 2])]),
            cache.key(&[shaped(&[4, 1])]),
            cache.key(&[tensor(&[1.0, 1.0]), tensor(&[1.0, 1.0])]),
            cache.key(&[tensor(&[1.0, 1.0, 1.0, 1.0, 1.0])]),
        ];
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[..at].contains(key), "{at}");
        }
        assert_eq!(keys[0], cache.key(&[shaped(&[1, 4])]));
        assert_ne!(keys[0], Cache::new(1).key(&[shaped(&[1, 4])]), "another cache has another secret");
    }

    #[test]
    fn what_is_asked_for_outlives_what_is_not() {
        let cache = Cache::new(3 * (ENTRY_BYTES + 4));
        let key = |value: f32| cache.key(&[tensor(&[value])]);
        for value in [1.0, 2.0, 3.0] {
            cache.put(key(value), &[tensor(&[value])]);
        }
        assert!(cache.get(key(1.0)).is_some());
        cache.put(key(4.0), &[tensor(&[4.0])]);
        let kept = [1.0, 2.0, 3.0, 4.0].map(|value| cache.get(key(value)).is_some());
        assert_eq!(kept, [true, false, true, true]);
    }

    proptest! {
        #[test]
        fn an_answer_is_the_one_that_was_kept_and_the_bytes_are_bounded(
            bytes_max in 0usize..4000, steps in prop::collection::vec((0u8..12, 1usize..200, any::<bool>()), 0..80),
        ) {
            let cache = Cache::new(bytes_max);
            for (input, size, puts) in steps {
                let inputs = [tensor(&[f32::from(input)])];
                let key = cache.key(&inputs);
                let known = cache.get(key);
                if let Some(outputs) = &known {
                    prop_assert_eq!(outputs[0].as_f32().expect("numbers")[0], f32::from(input));
                }
                if puts && known.is_none() {
                    cache.put(key, &[tensor(&vec![f32::from(input); size])]);
                    prop_assert_eq!(cache.get(key).is_some(), ENTRY_BYTES + size * 4 <= bytes_max);
                }
                let kept = cache.lock();
                let bytes: usize = kept.answers.values().map(|answer| answer.bytes).sum();
                prop_assert_eq!((kept.bytes, kept.order.len()), (bytes, kept.answers.len()));
                prop_assert!(bytes <= bytes_max);
            }
        }
    }
}
