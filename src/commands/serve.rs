//! `manpasik serve`: everything on, until a signal.

use crate::{
    app::{self, App},
    commands::{print, runtime},
    config::Config,
};

/// Serves until Ctrl-C or a termination signal; a second signal ends at once.
pub(crate) fn run(config: &Config) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let app = App::build(config).await?;
        print(&format!("listening grpc={} http={}", app.grpc_address(), app.http_address()))?;
        app.run(app::signal()).await
    })
}
