//! How we keep things: SQL pools, pragmas, migrations.
