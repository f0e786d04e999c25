//! The wish to stop: Ctrl-C or a termination signal. A second one ends the program at once.

use tokio::signal::unix::{Signal, SignalKind, signal as listen};

/// Exit code of a program that was interrupted.
const INTERRUPTED: i32 = 130;

/// Ends at the first signal, and arms the second.
pub(crate) async fn signal() {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (listen(SignalKind::interrupt()), listen(SignalKind::terminate()))
    else {
        tracing::error!("cannot listen for signals: only a kill ends this process");
        return std::future::pending().await;
    };
    either(&mut interrupt, &mut terminate).await;
    tokio::spawn(async move {
        either(&mut interrupt, &mut terminate).await;
        tracing::warn!("second signal: ending at once");
        #[allow(clippy::disallowed_methods, reason = "the second signal means now")]
        std::process::exit(INTERRUPTED);
    });
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
