//! Who calls: the platform services over a shared kernel.
