//! Run it: scheduler, router, monitors and the wire servers.
