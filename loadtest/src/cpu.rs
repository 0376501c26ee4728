//! CPU time of processes, in nanoseconds, from the scheduler's own counters: the ten-millisecond ticks of `stat` are too
//! coarse for microseconds per message.

use std::{collections::HashMap, fs, path::Path};

/// CPU nanoseconds that the threads of a process have run so far; 0 when it is gone.
#[must_use]
pub fn of_process(pid: u32) -> u64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    tasks.flatten().map(|task| of_task(&task.path())).sum()
}

/// As [`of_process`], with every descendant that lives now: a Postgres is its postmaster and all its children.
#[must_use]
pub fn of_family(pid: u32) -> u64 {
    let children = children_by_parent();
    let mut sum = 0;
    let mut open = vec![pid];
    while let Some(pid) = open.pop() {
        sum += of_process(pid);
        open.extend(children.get(&pid).into_iter().flatten());
    }
    sum
}

/// Busy nanoseconds of the whole machine since it started, all processors together.
#[must_use]
pub fn of_machine() -> u64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks: Vec<u64> = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    // user, nice, system, idle, iowait, irq, softirq, steal: busy is all but idle and iowait; a tick is 10 ms.
    let busy: u64 =
        ticks.iter().take(8).enumerate().filter(|(at, _)| !(3..=4).contains(at)).map(|(_, ticks)| ticks).sum();
    busy * 10_000_000
}

/// `schedstat`: nanoseconds on a processor, nanoseconds waiting, time slices.
fn of_task(task: &Path) -> u64 {
    let text = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
    text.split(' ').next().and_then(|field| field.parse().ok()).unwrap_or(0)
}

fn children_by_parent() -> HashMap<u32, Vec<u32>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        // The program's name stands in brackets and may hold anything; the fields after it do not.
        let parent =
            stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)).and_then(|ppid| ppid.parse().ok());
        if let Some(parent) = parent {
            children.entry(parent).or_default().push(pid);
        }
    }
    children
}

#[cfg(test)]
mod tests {
    use super::{of_family, of_process};

    #[test]
    fn our_own_time_grows_with_work_and_counts_towards_the_family() {
        let pid = std::process::id();
        let before = of_process(pid);
        let sum: u64 = (0..5_000_000_u64).fold(0, |sum, value| sum ^ value.wrapping_mul(sum | 1));
        assert!(sum != 1);
        assert!(of_process(pid) > before);
        assert!(of_family(pid) >= of_process(pid) / 2);
    }
}
