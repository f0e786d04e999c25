//! The wire: protocol buffers and the generated types and services.
