//! Which version serves: the catalogue of bundles and their aliases.
