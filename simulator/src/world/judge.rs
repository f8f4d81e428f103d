//! What the result of a step means for the run.

use std::any::Any;

use synod_core::{Catalogue, Envelope, JobFn, NodeId, Stack, StepError};

use super::upon::Upon;
use super::{World, Wrong};
use crate::quiet::{place_of_panic, words_of};

/// The property that a handler violates which panics.
pub(crate) const PANICS: &str = "no handler panics";

/// Why a step of a node came to nothing.
pub(super) enum Halted {
    Refused(Box<StepError>),
    Panicked(Box<dyn Any + Send>),
}

impl<T: Stack> World<'_, T> {
    /// What it means for the run that a step did not go well.
    #[cold]
    pub(super) fn judge(
        &mut self,
        node: NodeId,
        upon: Upon<'_>,
        halted: Halted,
    ) -> Result<(), Wrong> {
        let stepped = match halted {
            Halted::Refused(_) if self.is_of_traitor(upon) => return Ok(()),
            Halted::Refused(error) => Ok(Err(*error)),
            Halted::Panicked(panic) => {
                self.panicked_at = place_of_panic();
                Err(panic)
            }
        };
        judge(node, stepped, self.catalogue())
    }
}

/// What a step's result means for the run: what the network may bring is no violation, anything
/// else is.
#[inline]
pub(crate) fn judge(
    node: NodeId,
    stepped: std::thread::Result<Result<(), StepError>>,
    catalogue: &Catalogue,
) -> Result<(), Wrong> {
    match stepped {
        Ok(Ok(()) | Err(StepError::Stale { .. })) => Ok(()),
        Ok(Err(StepError::Unhandled(event))) => {
            let reason = format!("{node} has no handler for `{}`", catalogue.name(event));
            Err((String::from("every event has a handler"), reason))
        }
        Ok(Err(error)) => {
            Err((String::from("every event is accepted"), format!("{node}: {error}")))
        }
        Err(panic) => {
            let reason =
                format!("{node}: {}", words_of(&*panic).unwrap_or("a panic without words"));
            Err((String::from(PANICS), reason))
        }
    }
}

/// A deployed link would refuse an event that is larger than it declares, and nobody would learn of it but
/// the operator.
#[inline]
pub(crate) fn weigh(node: NodeId, envelope: &Envelope, catalogue: &Catalogue) -> Result<(), Wrong> {
    catalogue.fits(envelope).map_err(|error| {
        let name = catalogue.name(envelope.event());
        let reason = format!("{node} sends `{name}`: {error}");
        (String::from("every event fits into its frame"), reason)
    })
}

/// The function of a job. A deployed node that has none goes on without a result, and nobody would learn of
/// it but the operator.
pub(crate) fn employed<'c>(
    node: NodeId,
    job: &Envelope,
    catalogue: &'c Catalogue,
) -> Result<&'c JobFn, Wrong> {
    catalogue.job(job.event()).ok_or_else(|| {
        let name = catalogue.name(job.event());
        let reason = format!(
            "{node} asks for the job `{name}`, and nothing computes it: register a function by `Handlers::job`"
        );
        (String::from("every job has a function"), reason)
    })
}
