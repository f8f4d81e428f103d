//! The barrier before the first step: enough peers must be there.

use std::sync::Arc;
use std::time::Duration;

use synod_core::{Input, LinkStatus};

use crate::cell::Stepped;
use crate::failure::EndReason;
use crate::host::Host;

/// Waits until `peers` are linked at the same time, and starts the algorithms. One that has come and gone so
/// often that it is let in no more, before the algorithms have been told of it, counts as well: it would wait
/// for them, and they for it.
pub(crate) async fn wait(host: Arc<Host>, peers: usize) {
    let is_there = |link: &&LinkStatus| link.incarnation.is_some() || !host.admits(link.peer);
    let linked = || host.transport.links().iter().filter(is_there).count();
    while !host.has_ended() && linked() < peers {
        tokio::time::sleep(POLL).await;
    }
    if host.has_ended() {
        return;
    }
    match host.begin(Input::Start).await {
        Stepped::Handled => tracing::info!(node = %host.id, peers, "enough peers are linked"),
        Stepped::Refused(error) => host.end(EndReason::Recovery(error.to_string())),
        Stepped::Died(panic) => {
            let letter = host.cell.lock().await.engine.letter(&host, "start", None, &[], panic);
            host.died(letter);
            // The next life, if there is one, does not wait.
            host.set_begun();
        }
    }
}

/// How often the links are counted.
const POLL: Duration = Duration::from_millis(10);
