//! CPU time by part of the centre, before and after.

use std::{collections::BTreeMap, time::Instant};

use crate::{
    cpu,
    load::count,
    topology::{SERVICES, Topology},
};

/// Names of the parts that are no service.
pub const POSTGRES: &str = "Postgres";
pub const REDIS: &str = "Redis";
pub const LOAD: &str = "load (SMSC and cards)";

/// CPU nanoseconds of every part at one moment.
pub struct Snapshot {
    at: Instant,
    parts: BTreeMap<&'static str, u64>,
    machine: u64,
}

/// What the parts used between two moments.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// CPU nanoseconds by part.
    pub parts: BTreeMap<&'static str, u64>,
    /// Of both processors' time, what somebody else used, 0 to 1.
    pub strangers: f64,
}

impl Snapshot {
    #[must_use]
    pub fn take(topology: &Topology) -> Self {
        let mut parts: BTreeMap<&'static str, u64> = SERVICES.into_iter().map(|service| (service, 0)).collect();
        for (name, pid) in topology.keeper().running() {
            let service = SERVICES.into_iter().find(|service| name.starts_with(service));
            if let Some(sum) = service.and_then(|service| parts.get_mut(service)) {
                *sum += cpu::of_process(pid);
            }
        }
        parts.insert(POSTGRES, cpu::of_family(topology.postgres().pid()));
        parts.insert(REDIS, cpu::of_process(topology.redis().pid()));
        parts.insert(LOAD, cpu::of_process(std::process::id()));
        Self { at: Instant::now(), parts, machine: cpu::of_machine() }
    }

    /// What was used since.
    #[must_use]
    pub fn until(&self, later: &Self) -> Usage {
        let parts: BTreeMap<&'static str, u64> = later
            .parts
            .iter()
            .map(|(part, used)| (*part, used.saturating_sub(self.parts.get(part).copied().unwrap_or(0))))
            .collect();
        let ours: u64 = parts.values().sum();
        let processors = std::thread::available_parallelism().map_or(1, |number| number.get());
        let capacity =
            later.at.duration_since(self.at).as_secs_f64() * 1e9 * count(u64::try_from(processors).unwrap_or(1));
        let machine = later.machine.saturating_sub(self.machine);
        Usage { parts, strangers: count(machine.saturating_sub(ours)) / capacity.max(1.0) }
    }
}

impl Usage {
    /// CPU microseconds of a part per message.
    #[must_use]
    pub fn micros(&self, part: &str, messages: u64) -> f64 {
        count(self.parts.get(part).copied().unwrap_or(0)) / 1000.0 / count(messages.max(1))
    }

    /// CPU microseconds of all parts per message, the load included.
    #[must_use]
    pub fn total_micros(&self, messages: u64) -> f64 {
        count(self.parts.values().sum()) / 1000.0 / count(messages.max(1))
    }
}
