//! Work off the handlers' thread.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use synod_core::Envelope;

use crate::counters::DropReason;
use crate::failure::text_of;
use crate::gate::locked;
use crate::host::Host;
use crate::queue::Batch;
use crate::sequence::Source;

/// The jobs that run, and those that wait for a thread. A job runs until its result is handled,
/// so results are bounded as well.
#[derive(Debug, Default)]
pub(crate) struct Jobs(Mutex<Load>);

#[derive(Debug, Default)]
struct Load {
    running: usize,
    waiting: VecDeque<(u64, Envelope)>,
}

impl Jobs {
    /// How many run, and how many wait.
    pub(crate) fn load(&self) -> (usize, usize) {
        let load = locked(&self.0);
        (load.running, load.waiting.len())
    }

    /// Forgets what waits, and says how many that were.
    pub(crate) fn forget(&self) -> usize {
        std::mem::take(&mut locked(&self.0).waiting).len()
    }
}

impl Host {
    /// Runs the job, or lets it wait, or drops it. `life` is the life of the node that asks.
    pub(crate) fn submit(self: &Arc<Self>, life: u64, job: Envelope) {
        let mut load = locked(&self.jobs.0);
        if load.running < self.limits.jobs_running {
            load.running += 1;
            drop(load);
            self.run_job(life, job);
        } else if load.waiting.len() < self.limits.jobs_waiting {
            load.waiting.push_back((life, job));
        } else {
            drop(load);
            self.count_drop(DropReason::JobsFull, None, job.event());
        }
    }

    fn run_job(self: &Arc<Self>, life: u64, job: Envelope) {
        let host = Arc::clone(self);
        self.runtime.spawn_blocking(move || match host.compute(&job) {
            Ok(result) => {
                let slot = host.results_slot();
                let (source, events) = (Source::Job { life }, result.into());
                host.push(slot, Batch { slot, source, events, receipt: None });
            }
            Err(error) => {
                tracing::error!(node = %host.id, job = host.catalogue.name(job.event()), error);
                host.count_drop(DropReason::JobFailed, None, job.event());
                host.job_done();
            }
        });
    }

    fn compute(&self, job: &Envelope) -> Result<Envelope, String> {
        let run = self.catalogue.job(job.event()).ok_or("no function for this job")?;
        match catch_unwind(AssertUnwindSafe(|| run(job))) {
            Ok(result) => result.map_err(|error| error.to_string()),
            Err(panic) => Err(text_of(panic.as_ref())),
        }
    }

    /// A job is over and its result handled; the next one may run.
    pub(crate) fn job_done(self: &Arc<Self>) {
        let mut load = locked(&self.jobs.0);
        match load.waiting.pop_front() {
            Some((life, job)) => {
                drop(load);
                self.run_job(life, job);
            }
            None => load.running -= 1,
        }
    }
}
