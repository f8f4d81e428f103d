//! Where a trace comes from: what its first line says besides the algorithm and the nodes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use synod_core::{Catalogue, Registration};

use crate::schedule::{Recorded, Schedule};

/// Where a trace comes from. What is not known is left out. Nothing of it is part of the trace's
/// [hash](crate::Trace::hash), since a line of source moves without a change of the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Header {
    /// The seed that the run was found with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The text of the [`Schedule`] of which this is the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// The names of the properties that the run was judged by.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub properties: Vec<String>,
    /// The functions that handle each event, by its wire name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub handlers: BTreeMap<String, Vec<Source>>,
    /// The [schema](synod_core::Schema) of each event, by its wire name, in hexadecimal digits.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub schemas: BTreeMap<String, String>,
}

/// A function that handles an event, and where the source registers it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Its path.
    pub function: String,
    /// The file, as the compiler was told it.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
}

impl Header {
    /// That of a run of `schedule`, which was judged by `properties`.
    pub(crate) fn of(
        schedule: &Schedule,
        properties: impl IntoIterator<Item = &'static str>,
        catalogue: &Catalogue,
    ) -> Self {
        let seed = match schedule.run {
            Recorded::Simulated { seed, .. } => Some(seed),
            Recorded::Explored { .. } => None,
        };
        Self {
            seed,
            schedule: Some(schedule.text(catalogue)),
            properties: properties.into_iter().map(String::from).collect(),
            ..Self::of_program(catalogue)
        }
    }

    /// That of a run of which nothing but its program is known.
    pub(crate) fn of_program(catalogue: &Catalogue) -> Self {
        let schemas = catalogue.schemas().into_iter();
        Self {
            handlers: handlers(catalogue),
            schemas: schemas
                .map(|(name, schema)| (String::from(name), schema.to_string()))
                .collect(),
            ..Self::default()
        }
    }

    /// Whether it can be that of a run of `nodes` nodes of `algorithm`.
    pub(super) fn check(&self, algorithm: &str, nodes: u32) -> Result<(), String> {
        let Some(text) = &self.schedule else { return Ok(()) };
        let schedule: Schedule = text.parse().map_err(|error| format!("`schedule`: {error}"))?;
        if schedule.algorithm != algorithm {
            let other = schedule.algorithm;
            return Err(format!("a run of {algorithm}, but its schedule is one of {other}"));
        }
        let (told, seed) = match schedule.run {
            Recorded::Simulated { settings, seed, .. } => (settings.nodes, Some(seed)),
            Recorded::Explored { bounds, .. } => (bounds.nodes, None),
        };
        if told != nodes {
            return Err(format!("a run of {nodes} nodes, but its schedule has {told}"));
        }
        match (self.seed, seed) {
            (Some(one), other) if other != Some(one) => {
                Err(format!("`seed` is {one}, but not the one of the schedule"))
            }
            _ => Ok(()),
        }
    }
}

fn handlers(catalogue: &Catalogue) -> BTreeMap<String, Vec<Source>> {
    let sources = |name| catalogue.registered(name).map(Source::of).collect();
    let all = catalogue.names().into_iter().map(|name| (String::from(name), sources(name)));
    all.filter(|(_, sources): &(_, Vec<Source>)| !sources.is_empty()).collect()
}

impl Source {
    fn of(registered: &Registration) -> Self {
        let Registration { function, place } = registered;
        let (function, file) = (String::from(*function), String::from(place.file()));
        Self { function, file, line: place.line() }
    }
}
