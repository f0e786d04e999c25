//! `manpasik serve`: everything on, until a signal.

use crate::{
    app::{App, Signals},
    commands::{print, runtime},
    config::Config,
};

/// Serves until Ctrl-C or a termination signal; a second signal ends at once.
pub(crate) fn run(config: &Config) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let mut signals = Signals::listen()?;
        let app = tokio::select! {
            app = App::build(config) => app?,
            () = signals.next() => return Ok(()),
        };
        let admin = app.admin_addresses();
        let admin =
            admin.map(|(grpc, http)| format!(" admin-grpc={grpc} admin-http={http}")).unwrap_or_default();
        print(&format!("listening grpc={} http={}{admin}", app.grpc_address(), app.http_address()))?;
        app.run(signals.first()).await
    })
}
