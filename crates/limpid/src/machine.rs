//! What this machine lets the process have: cores and memory. Linux tells it in files; elsewhere what is not known is
//! left out.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

/// Physical cores that the process may use: two hyper-threads of one core share its vector units and gain nothing.
pub(crate) fn n_cores() -> usize {
    // Follows the affinity mask and the quota of a control group.
    let n_allowed = available_parallelism().map_or(1, |n| n.get());
    physical_cores().map_or(n_allowed, |n| n.min(n_allowed)).max(1)
}

fn physical_cores() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let cpus = parse_cpu_list(field(&status, "Cpus_allowed_list:")?)?;
    let siblings = |cpu: &usize| {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
        fs::read_to_string(path).map_or_else(|_| cpu.to_string(), |list| list.trim().to_owned())
    };
    Some(cpus.iter().map(siblings).collect::<BTreeSet<_>>().len())
}

/// `0-2,8` to 0, 1, 2, 8.
fn parse_cpu_list(list: &str) -> Option<Vec<usize>> {
    /// More than any kernel is built for: a list is never expanded beyond it.
    const MAX_CPUS: usize = 8192;
    let mut cpus = Vec::new();
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if last >= MAX_CPUS {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

/// Memory that the process can still take, beside what it holds already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct AvailableMemory {
    pub(crate) bytes: usize,
    /// What limits it, for messages.
    pub(crate) limit: &'static str,
}

/// The least of what the machine has free, what each control group above the process leaves, and what the process's own
/// limits leave. `None` where none of it is known.
pub(crate) fn available_memory() -> Option<AvailableMemory> {
    let free = fs::read_to_string("/proc/meminfo").ok().and_then(|text| kib(&text, "MemAvailable:"));
    let machine = free.map(|bytes| AvailableMemory { bytes, limit: "the machine's free memory" });
    let groups = fs::read_to_string("/proc/self/cgroup").ok().and_then(|text| {
        let folders = text.lines().filter_map(control_group).flat_map(|(folder, names)| {
            let root = names.root;
            let above = folder.ancestors().map(Path::to_owned).take_while(|dir| dir.starts_with(root));
            above.map(move |dir| (dir, names)).collect::<Vec<_>>()
        });
        folders.filter_map(|(folder, names)| room_in_group(&folder, names)).min()
    });
    let groups = groups.map(|bytes| AvailableMemory { bytes, limit: "the control group's memory limit" });
    machine.into_iter().chain(groups).chain(room_in_process()).min_by_key(|available| available.bytes)
}

/// What `ulimit -v` and `ulimit -d` leave to the process.
fn room_in_process() -> impl Iterator<Item = AvailableMemory> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let (limits, status) = (read("/proc/self/limits"), read("/proc/self/status"));
    let kinds = [
        ("Max address space", "VmSize:", "the limit of the process's address space, ulimit -v"),
        ("Max data size", "VmData:", "the limit of the process's data, ulimit -d"),
    ];
    kinds.into_iter().filter_map(move |(name, used, limit)| {
        let bytes = soft_limit(&limits, name)?.saturating_sub(kib(&status, used)?);
        Some(AvailableMemory { bytes, limit })
    })
}

/// From a line of /proc/self/limits, such as `Max data size    1048576    unlimited    bytes`; `None` if unlimited.
fn soft_limit(limits: &str, name: &str) -> Option<usize> {
    field(limits, name)?.split_whitespace().next()?.parse().ok()
}

/// The files in which a control group keeps its memory, by version.
#[derive(Clone, Copy)]
struct GroupFiles {
    root: &'static str,
    limit: &'static str,
    used: &'static str,
    /// In memory.stat: cache that the kernel drops when memory is short.
    droppable: &'static str,
}

const VERSION_1: GroupFiles = GroupFiles {
    root: "/sys/fs/cgroup/memory",
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    droppable: "total_inactive_file",
};
const VERSION_2: GroupFiles = GroupFiles {
    root: "/sys/fs/cgroup",
    limit: "memory.max",
    used: "memory.current",
    droppable: "inactive_file",
};

/// A line of /proc/self/cgroup, `number:controllers:/path`, to the group's folder; `None` if it is not about memory.
fn control_group(line: &str) -> Option<(PathBuf, GroupFiles)> {
    let mut parts = line.splitn(3, ':');
    let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let files = match controllers {
        "" => VERSION_2,
        _ if controllers.split(',').any(|name| name == "memory") => VERSION_1,
        _ => return None,
    };
    Some((Path::new(files.root).join(path.trim_start_matches('/')), files))
}

/// Bytes below the limit of one group; `None` where it has none.
fn room_in_group(folder: &Path, files: GroupFiles) -> Option<usize> {
    let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
    // "max" is no number: no limit.
    let limit: usize = read(files.limit)?.trim().parse().ok()?;
    let used: usize = read(files.used)?.trim().parse().ok()?;
    let droppable = read("memory.stat").and_then(|text| field(&text, files.droppable)?.trim().parse().ok());
    Some(limit.saturating_sub(used.saturating_sub(droppable.unwrap_or(0))))
}

/// Memory of this process that is resident, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ResidentMemory {
    pub(crate) now: usize,
    /// The most so far.
    pub(crate) peak: usize,
}

impl ResidentMemory {
    /// After `bytes` more.
    pub(crate) fn plus(self, bytes: usize) -> Self {
        let now = self.now.saturating_add(bytes);
        Self { now, peak: self.peak.max(now) }
    }
}

/// `None` where the system does not tell.
pub(crate) fn resident_memory() -> Option<ResidentMemory> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    Some(ResidentMemory { now: kib(&status, "VmRSS:")?, peak: kib(&status, "VmHWM:")? })
}

/// Time since the start of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessClock {
    /// What the process had lived before `start`.
    before: Duration,
    start: Instant,
}

impl ProcessClock {
    /// What lies before this call is known on Linux only, in steps of 10 ms; elsewhere the clock starts here.
    pub(crate) fn new() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let before = process_age(&read("/proc/self/stat"), &read("/proc/uptime")).unwrap_or_default();
        Self { before, start: Instant::now() }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.before + self.start.elapsed()
    }
}

/// From the texts of /proc/self/stat and /proc/uptime: both count from the start of the system.
fn process_age(stat: &str, uptime: &str) -> Option<Duration> {
    /// Of the times in /proc: the same on all of Linux's usual platforms.
    const TICKS_PER_S: u64 = 100;
    // The second field is a name in parentheses, which may hold anything; the start is field 22.
    let (_, after_name) = stat.rsplit_once(')')?;
    let start: u64 = after_name.split_whitespace().nth(22 - 3)?.parse().ok()?;
    let now: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    let now = (now * TICKS_PER_S as f64).round() as u64;
    Some(Duration::from_millis(now.checked_sub(start)? * (1000 / TICKS_PER_S)))
}

/// What follows `name` on its line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

/// A field such as `VmHWM:     1234 kB`, in bytes.
fn kib(text: &str, name: &str) -> Option<usize> {
    let kib: usize = field(text, name)?.strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists() {
        assert_eq!(parse_cpu_list("0-2,8\n"), Some(vec![0, 1, 2, 8]));
        assert_eq!(parse_cpu_list("5"), Some(vec![5]));
        assert_eq!(parse_cpu_list(""), None);
        assert_eq!(parse_cpu_list("0-999999999"), None);
    }

    #[test]
    fn fields_in_kib() {
        let status = "VmHWM:\t    2048 kB\nVmRSS:\t     512 kB\nThreads:\t3\n";
        assert_eq!(kib(status, "VmHWM:"), Some(2048 * 1024));
        assert_eq!(kib(status, "VmSwap:"), None);
        assert_eq!(kib(status, "Threads:"), None, "no unit");
    }

    #[test]
    fn limits_of_the_process() {
        let limits = "Max data size      unlimited   unlimited   bytes\nMax address space  1048576  unlimited  bytes\n";
        assert_eq!(soft_limit(limits, "Max address space"), Some(1 << 20));
        assert_eq!(soft_limit(limits, "Max data size"), None);
    }

    #[test]
    fn the_age_of_a_process() {
        let stat = "71 (a) b (c) S 1 71 71 0 -1 4194304 99 0 0 0 1 2 0 0 20 0 1 0 123450 99 9";
        let age = |uptime| process_age(stat, uptime);
        assert_eq!(age("1234.73 99.0\n"), Some(Duration::from_millis(230)));
        assert_eq!(age("1234.50 99.0\n"), Some(Duration::ZERO));
        assert_eq!(age("1234.00 99.0\n"), None, "a clock of another kind");
        assert_eq!(age(""), None);
        let clock = ProcessClock::new();
        assert!(clock.elapsed() < Duration::from_secs(3600), "{clock:?}");
    }

    #[test]
    fn control_groups_of_both_versions() {
        let folder = |line| control_group(line).map(|(folder, files)| (folder, files.limit));
        assert_eq!(folder("0::/user/a"), Some((PathBuf::from("/sys/fs/cgroup/user/a"), "memory.max")));
        let version_1 = Some((PathBuf::from("/sys/fs/cgroup/memory/x"), "memory.limit_in_bytes"));
        assert_eq!(folder("9:memory:/x"), version_1);
        assert_eq!(folder("3:cpu,cpuacct:/x"), None);
    }

    #[test]
    fn room_is_the_limit_without_what_cannot_be_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("memory.current", "700\n");
        write("memory.stat", "anon 600\ninactive_file 200\n");
        write("memory.max", "1000\n");
        assert_eq!(room_in_group(folder.path(), VERSION_2), Some(500));
        write("memory.max", "max\n");
        assert_eq!(room_in_group(folder.path(), VERSION_2), None);
    }
}
