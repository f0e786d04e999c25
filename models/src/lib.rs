//! What a model is: tensors, signature, bundle, engines and the model families.
