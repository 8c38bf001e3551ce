//! The cgroups: one for each vassal, and one for the emperor itself.
//!
//! The emperor creates cgroups only if its own configuration sets limits. The emperor must be allowed to change the
//! cgroup that it starts in (delegation). A cgroup that limits its children cannot contain processes, so the emperor
//! moves into a cgroup of its own, beside the vassals' cgroups.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};

use crate::config::Config;
use crate::process::cgroup_limits;
use crate::sys::cgroup::{self, CpuQuota, Group, Limits, Subtree};
use crate::sys::user;

use super::source::{Definition, Source};

/// The name of the emperor's own cgroup.
const OWN: &str = "emperor";
/// The prefix of the names of the vassals' cgroups. It prevents conflicts with the names of the kernel's files.
const PREFIX: &str = "vassal-";
/// Maximum length of a directory name in bytes (NAME_MAX).
const MAX_NAME: usize = 255;

/// The cgroups of all vassals.
pub(super) struct Cgroups {
    subtree: Subtree,
    /// The limits that the emperor sets for each vassal.
    limits: Limits,
    /// Whether all vassals are files of one directory. The name of the file is then enough to name the cgroup.
    by_name: bool,
}

impl Cgroups {
    /// Takes over the cgroup that the emperor runs in, if the configuration sets limits.
    ///
    /// # Errors
    /// Fails if the emperor is not allowed to change the cgroup.
    pub(super) fn prepare(config: &Config, sources: &[Source]) -> Result<Option<Self>> {
        let Some(limits) = cgroup_limits(config) else {
            return Ok(None);
        };
        let settings = limits.settings();
        let limiting = settings.iter().filter(|setting| setting.limits());
        let needed: Vec<&str> = limiting.map(|setting| setting.controller).collect();
        let useful: Vec<&str> = settings.iter().map(|setting| setting.controller).collect();
        let subtree = cgroup::own()
            .and_then(|here| Subtree::take(&here, OWN, &needed, &useful))
            .context("the vassals cannot have cgroups (cgroup-memory-max, cgroup-cpu-max, cgroup-pids-max)")?;
        if let Some((uid, gid)) = configured_user(config)? {
            subtree.delegate_to(uid, gid)?;
        }
        Ok(Some(Self {
            subtree,
            limits,
            by_name: matches!(sources, [source] if source.has_unique_file_names()),
        }))
    }

    /// Removes the empty cgroups of an earlier emperor. Logs the cgroups that cannot be removed, and the directory of
    /// all cgroups.
    pub(super) fn log_start(&self) {
        self.remove_empty();
        self.log_remaining("of an earlier emperor");
        tracing::info!(
            "each vassal runs in its own cgroup below {}",
            self.subtree.directory().display()
        );
    }

    /// Creates the cgroup of a vassal that is about to start, and sets the emperor's limits except the CPU limit. The
    /// CPU limit is set later, because the emperor waits for the exec of the vassal's program, and old processes in the
    /// cgroup could use all of its CPU time.
    ///
    /// # Errors
    /// Returns the errors of mkdir(2) and of writes to the kernel's files.
    pub(super) fn create(&self, definition: &Definition) -> std::io::Result<Group> {
        let group = self.subtree.child(&name(&definition.path, self.by_name))?;
        let limits = Limits {
            cpu: None,
            ..self.limits
        };
        self.set(&group, limits).map_err(std::io::Error::other)?;
        Ok(group)
    }

    /// Applies all limits of the emperor to the cgroup of a started vassal.
    ///
    /// # Errors
    /// Returns a sentence about the limit that cannot be set.
    pub(super) fn limit_started(&self, group: &Group) -> Result<(), String> {
        self.set(group, self.limits)
    }

    /// Applies the limits that a vassal requests. A limit of the emperor stays if it is tighter.
    ///
    /// # Errors
    /// Returns a sentence about the limit that cannot be set.
    pub(super) fn narrow(&self, group: &Group, requested: Limits) -> Result<(), String> {
        self.set(group, self.limits.narrowed(requested))
    }

    fn set(&self, group: &Group, limits: Limits) -> Result<(), String> {
        for setting in limits.settings() {
            let option = setting.option;
            if self.subtree.has(setting.controller) {
                group
                    .set(setting.file, &setting.text)
                    .map_err(|error| format!("{option} = {}: {error}", setting.text))?;
            } else if setting.limits() {
                let directory = self.subtree.directory().display();
                let controller = setting.controller;
                return Err(format!(
                    "{option} cannot be applied: the cgroups below {directory} have no {controller} controller; set Delegate=yes in the emperor's systemd unit"
                ));
            }
        }
        Ok(())
    }

    /// Removes all vassals' cgroups that contain no process.
    pub(super) fn remove_empty(&self) {
        for group in self.subtree.children(PREFIX) {
            // a cgroup that cannot be removed is logged by `log_remaining`
            let _ = group.remove();
        }
    }

    /// Logs the cgroups that still exist, and the processes in them.
    pub(super) fn log_remaining(&self, whose: &str) {
        for group in self.subtree.children(PREFIX) {
            tracing::info!(
                "the cgroup {} {whose} stays: {}",
                group.directory().display(),
                remaining_processes(&group)
            );
        }
    }
}

/// Describes the processes in a cgroup that cannot be removed, for the log.
pub(super) fn remaining_processes(group: &Group) -> String {
    match group.processes().as_slice() {
        [] => "a process in it has not ended yet".to_owned(),
        [pid] => format!("pid {pid} lives on in it"),
        pids => format!(
            "{} processes live on in it: pid {}",
            pids.len(),
            pids.join(", ")
        ),
    }
}

/// The usage and the limits of a cgroup, for `ruwsgi status`; `None` if the kernel neither limits nor counts a resource
/// of the cgroup.
pub(super) fn usage(group: &Group) -> Option<String> {
    let number = |file: &str| group.get(file)?.parse::<u64>().ok();
    let mut parts = Vec::new();
    if let Some(used) = number("memory.current") {
        let limit = number("memory.max").map(|limit| format!(" of {} MiB", limit >> 20));
        parts.push(format!(
            "memory {} MiB{}",
            used >> 20,
            limit.unwrap_or_default()
        ));
    }
    let cpu = group.get("cpu.max");
    if let Some((quota, period)) = cpu.as_deref().and_then(|text| text.split_once(' '))
        && let (Ok(quota), Ok(period)) = (quota.parse(), period.parse())
    {
        parts.push(format!("cpu {}%", CpuQuota { quota, period }.percent()));
    }
    if let Some(used) = number("pids.current") {
        let limit = number("pids.max").map(|limit| format!(" of {limit}"));
        parts.push(format!("tasks {used}{}", limit.unwrap_or_default()));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// The user id and group id to which an emperor changes that runs as root; `None` if the emperor keeps its user.
fn configured_user(config: &Config) -> Result<Option<(u32, u32)>> {
    if !user::is_root() || (config.uid().is_none() && config.gid().is_none()) {
        return Ok(None);
    }
    let user = config
        .uid()
        .map(|name| user::find_user_of("uid", name))
        .transpose()?;
    let usual = user.as_ref().and_then(|user| user.entry.as_ref());
    let group = match config.gid() {
        Some(group) => user::find_group_of("gid", group)?,
        None => usual.map_or(0, |(_, group)| *group),
    };
    Ok(Some((user.map_or(0, |user| user.uid), group)))
}

/// The name of a vassal's cgroup: unique for each path, and always a single path component.
fn name(path: &Path, by_name: bool) -> String {
    let last = path.file_name().filter(|_| by_name);
    let bytes = last.unwrap_or(path.as_os_str()).as_bytes();
    let mut name = PREFIX.to_owned();
    for byte in bytes.strip_prefix(b"/").unwrap_or(bytes) {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => {
                name.push(char::from(*byte));
            }
            b'/' => name.push('+'),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    if name.len() > MAX_NAME {
        shorten(&mut name);
    }
    name
}

/// Shortens a name that is too long, and appends a hash of the whole name. The key of the hash is random. Users choose
/// the names of files, and must not be able to choose two names with the same hash.
fn shorten(name: &mut String) {
    use std::hash::{BuildHasher, RandomState};
    use std::sync::LazyLock;
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    let hash = KEY.hash_one(name.as_str());
    name.truncate(MAX_NAME - 17);
    // only shortened names contain this character
    name.push_str(&format!("~{hash:016x}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_is_named_after_the_file_where_that_is_unique() {
        let blog = Path::new("/etc/uwsgi/vassals/blog.ini");
        assert_eq!(name(blog, true), "vassal-blog.ini");
        assert_eq!(name(blog, false), "vassal-etc+uwsgi+vassals+blog.ini");
    }

    #[test]
    fn names_are_unique_and_single_path_components() {
        let long = "x".repeat(300);
        let paths = [
            "/a/b",
            "/a+b",
            "/a%2Fb",
            "/a%2B",
            "/a b",
            "/a\nb",
            "/a/b/c",
            "/..",
            "/.",
            "/a:b",
            "/ä",
            &format!("/{long}1"),
            &format!("/{long}2"),
        ];
        let names: Vec<String> = paths
            .iter()
            .map(|path| name(Path::new(path), false))
            .collect();
        for (index, one) in names.iter().enumerate() {
            assert!(one.len() <= MAX_NAME && one.starts_with(PREFIX), "{one}");
            assert!(!one.contains(['/', '\n', ' ', ':']), "{one}");
            assert!(!names[index + 1..].contains(one), "{one}");
        }
        assert_eq!(name(Path::new(paths[11]), false), names[11]);
    }
}
