//! Reads the counters of the kernel's OOM killer. The counters show whether a child that got SIGKILL was killed for
//! lack of memory.

use std::fs;

/// A reading of the OOM kill counters. A field is `None` if the kernel has no such counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OomKills {
    /// Kills in this process's cgroup: `memory.events`, or `memory.oom_control` of cgroup v1.
    cgroup: Option<u64>,
    /// Kills on the whole machine: /proc/vmstat.
    machine: Option<u64>,
}

/// The scope of an OOM kill: whose memory was exhausted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OomScope {
    /// The cgroup of this process reached its limit.
    Cgroup,
    /// The machine, or another cgroup, ran out of memory.
    Machine,
    /// There was no OOM kill.
    None,
    /// The kernel has no counters.
    Unknown,
}

impl OomKills {
    /// Reads the counters from the cgroup's files and /proc.
    pub fn now() -> Self {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let cgroup = files(&groups)
            .iter()
            .find_map(|path| number(&fs::read_to_string(path).ok()?));
        let machine = fs::read_to_string("/proc/vmstat").ok();
        Self {
            cgroup,
            machine: machine.and_then(|text| number(&text)),
        }
    }

    /// Returns the scope of the OOM kills between this reading and a later reading.
    pub fn until(self, later: Self) -> OomScope {
        let rose = |before: Option<u64>, after: Option<u64>| Some(after? > before?);
        let machine = rose(self.machine, later.machine);
        match (rose(self.cgroup, later.cgroup), machine) {
            (Some(true), _) => OomScope::Cgroup,
            (_, Some(true)) => OomScope::Machine,
            (None, None) => OomScope::Unknown,
            _ => OomScope::None,
        }
    }
}

/// The files that may hold the counter of this process's cgroup. `groups` is the text of /proc/self/cgroup. For each
/// cgroup the list also has the file at the root of the mount, because in a container /proc may show the path on the
/// host while the container's cgroup is mounted at the root.
fn files(groups: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let path = path.trim_end_matches('/');
        if controllers.is_empty() {
            files.push(format!("/sys/fs/cgroup{path}/memory.events"));
            files.push("/sys/fs/cgroup/memory.events".to_owned());
        } else if controllers.split(',').any(|name| name == "memory") {
            files.push(format!("/sys/fs/cgroup/memory{path}/memory.oom_control"));
            files.push("/sys/fs/cgroup/memory/memory.oom_control".to_owned());
        }
    }
    files
}

fn number(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    line?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kills(cgroup: Option<u64>, machine: Option<u64>) -> OomKills {
        OomKills { cgroup, machine }
    }

    #[test]
    fn the_files_are_found_in_both_versions_of_cgroups() {
        assert_eq!(
            files("0::/system.slice/blog.service\n"),
            [
                "/sys/fs/cgroup/system.slice/blog.service/memory.events",
                "/sys/fs/cgroup/memory.events"
            ]
        );
        assert_eq!(
            files("9:name=systemd:/\n4:memory:/a/b\n3:cpu,cpuacct:/\n"),
            [
                "/sys/fs/cgroup/memory/a/b/memory.oom_control",
                "/sys/fs/cgroup/memory/memory.oom_control"
            ]
        );
        assert!(files("nonsense\n\n1:\n").is_empty());
    }

    #[test]
    fn the_number_is_read_from_each_kind_of_file() {
        assert_eq!(
            number("low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 1\n"),
            Some(2)
        );
        assert_eq!(
            number("oom_kill_disable 0\nunder_oom 0\noom_kill 4\n"),
            Some(4)
        );
        assert_eq!(number("oom_kill_disable 0\n"), None);
    }

    #[test]
    fn the_counter_that_rose_is_the_scope() {
        let before = kills(Some(1), Some(5));
        assert_eq!(before.until(kills(Some(2), Some(6))), OomScope::Cgroup);
        assert_eq!(before.until(kills(Some(1), Some(6))), OomScope::Machine);
        assert_eq!(before.until(before), OomScope::None);
        let silent = kills(None, None);
        assert_eq!(silent.until(silent), OomScope::Unknown);
    }
}
