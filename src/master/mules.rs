//! The settings of mules, from the options.

use std::time::Duration;

use crate::config::Config;
use crate::ipc::Farm;

/// Maximum number of mules and farms together.
const MOST: usize = 128;

/// The settings of mules that only the master uses.
#[derive(Debug, Clone)]
pub(super) struct MuleSettings {
    /// Time limit of a message or a signal (`mule-harakiri`).
    pub(super) harakiri: Option<Duration>,
    /// Time that a mule has to stop (`mule-reload-mercy`).
    pub(super) mercy: Duration,
}

impl MuleSettings {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            harakiri: config.mule_harakiri().filter(|limit| !limit.is_zero()),
            mercy: config.mule_reload_mercy(),
        }
    }
}

/// The programs of the mules, in the order of the options. A mule without a program has an empty text.
pub(super) fn programs(config: &Config) -> Vec<String> {
    let (mut given, mut programs) = (config.mule().iter(), Vec::new());
    let count = config.mules().unwrap_or(0) as usize;
    for (name, ..) in config.entries() {
        match name.as_str() {
            "mule" => programs.extend(given.next().cloned()),
            "mules" => programs.extend((0..count.min(MOST)).map(|_| String::new())),
            _ => {}
        }
    }
    if programs.len() > MOST {
        tracing::warn!(
            "{} mules are configured; {MOST} are started",
            programs.len()
        );
        programs.truncate(MOST);
    }
    programs
}

/// The farms. If an option names the id of a mule that does not exist, the id is left out with a warning.
pub(super) fn farms(config: &Config, mules: usize) -> Vec<Farm> {
    let farms = config.farm().iter().map(|(name, ids)| {
        for id in ids.iter().filter(|id| **id as usize > mules) {
            tracing::warn!("farm {name}: there is no mule {id}");
        }
        let known = ids.iter().copied().filter(|id| *id as usize <= mules);
        Farm {
            name: name.clone(),
            mules: known.collect(),
        }
    });
    farms.take(MOST).collect()
}
