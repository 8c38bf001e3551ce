//! How often the kernel has killed for want of memory: by which such a kill can be told from others.

use std::fs;

/// Kills until now. `None` where the kernel does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kills {
    /// In this process's cgroup: `memory.events`, or `memory.oom_control` of cgroup v1.
    cgroup: Option<u64>,
    /// On the machine: /proc/vmstat.
    machine: Option<u64>,
}

/// Whose memory was used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// The cgroup's.
    Cgroup,
    /// The machine's, or that of another cgroup.
    Machine,
    /// Nobody's.
    None,
    /// The kernel does not say.
    Unknown,
}

impl Kills {
    /// Reads the numbers.
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

    /// What has happened since.
    pub fn until(self, later: Self) -> Want {
        let rose = |before: Option<u64>, after: Option<u64>| Some(after? > before?);
        let machine = rose(self.machine, later.machine);
        match (rose(self.cgroup, later.cgroup), machine) {
            (Some(true), _) => Want::Cgroup,
            (_, Some(true)) => Want::Machine,
            (None, None) => Want::Unknown,
            _ => Want::None,
        }
    }
}

/// Where the number may stand, by the lines of /proc/self/cgroup. In a container the path is that of the host, and the
/// container's own group is mounted at the root.
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

    fn kills(cgroup: Option<u64>, machine: Option<u64>) -> Kills {
        Kills { cgroup, machine }
    }

    #[test]
    fn the_group_is_found_in_both_versions_of_cgroups() {
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
    fn what_rose_tells_whose_memory_was_used_up() {
        let before = kills(Some(1), Some(5));
        assert_eq!(before.until(kills(Some(2), Some(6))), Want::Cgroup);
        assert_eq!(before.until(kills(Some(1), Some(6))), Want::Machine);
        assert_eq!(before.until(before), Want::None);
        let silent = kills(None, None);
        assert_eq!(silent.until(silent), Want::Unknown);
    }
}
