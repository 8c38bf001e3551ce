//! The cgroups of the vassals: one for each, beside one for the emperor itself.
//!
//! There are none unless the emperor's own configuration speaks of limits: they need a group that was left to it, and a
//! group that is to limit its children can hold no process itself.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};

use crate::config::Config;
use crate::process::cgroup_limits;
use crate::sys::cgroup::{self, Group, Limits, Subtree};
use crate::sys::user;

use super::source::{Found, Source};

/// The emperor's own group.
const OWN: &str = "emperor";
/// What the names of the vassals' groups begin with: none is called like a file of the kernel's then.
const PREFIX: &str = "vassal-";
/// What a name of a file has at most.
const LONGEST: usize = 255;

/// The groups of all vassals.
pub(super) struct Groups {
    subtree: Subtree,
    /// What holds for each vassal.
    own: Limits,
    /// All vassals are of one directory: their files' names tell them apart.
    by_name: bool,
}

impl Groups {
    /// Takes the group that the emperor is in, for the vassals too, if the configuration asks for that.
    ///
    /// # Errors
    /// When it is not the emperor's to take.
    pub(super) fn prepare(config: &Config, sources: &[Source]) -> Result<Option<Self>> {
        let Some(own) = cgroup_limits(config) else {
            return Ok(None);
        };
        let settings = own.settings();
        let limiting = settings.iter().filter(|setting| setting.limits());
        let needed: Vec<&str> = limiting.map(|setting| setting.controller).collect();
        let useful: Vec<&str> = settings.iter().map(|setting| setting.controller).collect();
        let subtree = cgroup::own()
            .and_then(|here| Subtree::take(&here, OWN, &needed, &useful))
            .context("the vassals cannot have cgroups (cgroup-memory-max, cgroup-cpu-max, cgroup-pids-max)")?;
        if let Some((uid, gid)) = future_owner(config)? {
            subtree.delegate_to(uid, gid)?;
        }
        Ok(Some(Self {
            subtree,
            own,
            by_name: matches!(sources, [source] if source.names_files()),
        }))
    }

    /// Removes what an earlier emperor has left, and says where the groups are.
    pub(super) fn begin(&self) {
        self.sweep();
        self.tell_left("of an earlier emperor");
        tracing::info!(
            "each vassal runs in a cgroup of its own below {}",
            self.subtree.directory().display()
        );
    }

    /// The group of a vassal that is about to be started, with the emperor's limits but for that of the CPU: what lives on
    /// in there could else take all of it, and the emperor would wait long for the vassal's program to begin.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub(super) fn of(&self, found: &Found) -> std::io::Result<Group> {
        let group = self.subtree.child(&self.name(found))?;
        let limits = Limits {
            cpu: None,
            ..self.own
        };
        self.set(&group, limits).map_err(std::io::Error::other)?;
        Ok(group)
    }

    /// Limits the group of a vassal that was started to what the emperor allows.
    ///
    /// # Errors
    /// A sentence about what the kernel refuses.
    pub(super) fn started(&self, group: &Group) -> Result<(), String> {
        self.set(group, self.own)
    }

    /// Limits a group to what is asked, and to what the emperor allows.
    ///
    /// # Errors
    /// A sentence about what the kernel does not limit, or refuses.
    pub(super) fn limit(&self, group: &Group, asked: Limits) -> Result<(), String> {
        self.set(group, self.own.narrowed(asked))
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
                    "{option} cannot be kept: the groups below {directory} have no {controller} controller; set Delegate=yes in the emperor's systemd unit"
                ));
            }
        }
        Ok(())
    }

    /// Removes all groups in which nobody is.
    pub(super) fn sweep(&self) {
        for group in self.subtree.children(PREFIX) {
            // those that cannot be removed are told of at the end
            let _ = group.remove();
        }
    }

    /// Says which groups are left.
    pub(super) fn tell_left(&self, whose: &str) {
        for group in self.subtree.children(PREFIX) {
            tracing::info!(
                "the cgroup {} {whose} stays: {}",
                group.directory().display(),
                living(&group)
            );
        }
    }

    fn name(&self, found: &Found) -> String {
        name(&found.path, self.by_name)
    }
}

/// Who lives in a group that cannot be removed.
pub(super) fn living(group: &Group) -> String {
    match group.processes().as_slice() {
        [] => "something in it has not ended yet".to_owned(),
        [pid] => format!("pid {pid} lives on in it"),
        pids => format!(
            "{} processes live on in it: pid {}",
            pids.len(),
            pids.join(", ")
        ),
    }
}

/// Who the emperor will be, if he is root and somebody else later.
fn future_owner(config: &Config) -> Result<Option<(u32, u32)>> {
    if !user::is_root() || (config.uid().is_none() && config.gid().is_none()) {
        return Ok(None);
    }
    let user = config.uid().map(user::find_user).transpose()?;
    let usual = user.as_ref().and_then(|user| user.entry.as_ref());
    let group = match config.gid() {
        Some(group) => user::find_group(group)?,
        None => usual.map_or(0, |(_, group)| *group),
    };
    Ok(Some((user.map_or(0, |user| user.uid), group)))
}

/// The name of a vassal's group. No two paths have the same one, and none leads anywhere else.
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
    if name.len() > LONGEST {
        shorten(&mut name);
    }
    name
}

/// Cuts a name that is too long. What is cut off counts by a hash whose key nobody can know: who chooses names cannot
/// choose two that become the same.
fn shorten(name: &mut String) {
    use std::hash::{BuildHasher, RandomState};
    use std::sync::LazyLock;
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    let hash = KEY.hash_one(name.as_str());
    name.truncate(LONGEST - 17);
    // no other name has this sign
    name.push_str(&format!("~{hash:016x}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_groups_name_is_the_files_where_that_is_enough() {
        let blog = Path::new("/etc/uwsgi/vassals/blog.ini");
        assert_eq!(name(blog, true), "vassal-blog.ini");
        assert_eq!(name(blog, false), "vassal-etc+uwsgi+vassals+blog.ini");
    }

    #[test]
    fn no_name_leads_elsewhere_and_no_two_are_the_same() {
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
            assert!(one.len() <= LONGEST && one.starts_with(PREFIX), "{one}");
            assert!(!one.contains(['/', '\n', ' ', ':']), "{one}");
            assert!(!names[index + 1..].contains(one), "{one}");
        }
        assert_eq!(name(Path::new(paths[11]), false), names[11]);
    }
}
