//! What leaves training beside the weights: the card that people read.

pub(crate) mod card;
