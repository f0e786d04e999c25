//! The AiInference service: the model families over gRPC and REST.
