//! The food model's parts: network conversion and the nutrition table.
