//! The loaded applications, and which of them answers a request.
//!
//! With `manage-script-name` the longest mount point that PATH_INFO equals or continues with a `/`
//! decides, and is moved from PATH_INFO to SCRIPT_NAME. Where none does, and without that option,
//! the SCRIPT_NAME which the web server sent decides.
//!
//! A request that names no mount point goes to the application that has none (`module`,
//! `wsgi-file`) or is mounted at `/`. Where everything is mounted elsewhere it is answered 404,
//! but for one case: without `manage-script-name` and without a SCRIPT_NAME nobody has chosen, and
//! the first mounted application serves, as sites rely on that send all of a server to one mount.

use pyo3::prelude::*;
use ruwsgi::ipc::LoadFailure;

/// The applications of an instance.
pub struct Apps {
    /// Longest mount point first.
    mounts: Vec<Mount>,
    /// The application without a mount point, or at `/`.
    root: Option<Root>,
    /// The first mounted application, an index into `mounts`.
    first: usize,
    manage_script_name: bool,
    warnings: Vec<LoadFailure>,
}

struct Mount {
    /// `/one`: begins with a slash, does not end with one, is not empty.
    point: Vec<u8>,
    /// Place in the order of loading.
    order: usize,
    app: Py<PyAny>,
}

struct Root {
    app: Py<PyAny>,
    /// By `mount = /=app`: it is there for every path, with an empty SCRIPT_NAME.
    mounted: bool,
}

/// The application for a request.
#[derive(Clone, Copy)]
pub struct Choice<'a> {
    /// The WSGI callable.
    pub app: &'a Py<PyAny>,
    /// `Some(n)`: SCRIPT_NAME becomes the first `n` bytes of PATH_INFO, PATH_INFO the rest.
    /// `None`: both stay as they were sent.
    pub script_name: Option<usize>,
}

impl Apps {
    /// No applications yet.
    pub fn new(manage_script_name: bool) -> Self {
        Self {
            mounts: Vec::new(),
            root: None,
            first: 0,
            manage_script_name,
            warnings: Vec::new(),
        }
    }

    /// Whether no application is loaded (`need-app = false`): the answer to everything is 500.
    pub fn is_empty(&self) -> bool {
        self.root.is_none() && self.mounts.is_empty()
    }

    /// What did not go as configured and yet did not prevent the start; each is to be logged once.
    pub fn warnings(&self) -> &[LoadFailure] {
        &self.warnings
    }

    /// Adds a warning.
    pub fn warn(&mut self, warning: LoadFailure) {
        self.warnings.push(warning);
    }

    /// Puts an application at a mount point: empty, or beginning with `/`. The first one there
    /// stays; `false`: there was one.
    pub fn mount(&mut self, point: &str, app: Py<PyAny>) -> bool {
        let trimmed = point.trim_end_matches('/').as_bytes();
        if trimmed.is_empty() {
            let free = self.root.is_none();
            if free {
                self.root = Some(Root {
                    app,
                    mounted: !point.is_empty(),
                });
            }
            return free;
        }
        if self.mounts.iter().any(|mount| mount.point == trimmed) {
            return false;
        }
        self.mounts.push(Mount {
            point: trimmed.to_vec(),
            order: self.mounts.len(),
            app,
        });
        self.mounts
            .sort_by_key(|mount| (std::cmp::Reverse(mount.point.len()), mount.order));
        self.first = self
            .mounts
            .iter()
            .position(|mount| mount.order == 0)
            .unwrap_or(0);
        true
    }

    /// The application for a request. `None`: not found, or (see [`Apps::is_empty`]) there is none.
    pub fn resolve(&self, script_name: &[u8], path_info: &[u8]) -> Option<Choice<'_>> {
        if !self.mounts.is_empty()
            && let Some(choice) = self.mounted_for(script_name, path_info)
        {
            return Some(choice);
        }
        if let Some(root) = &self.root {
            let script_name = (root.mounted && self.manage_script_name).then_some(0);
            return Some(Choice {
                app: &root.app,
                script_name,
            });
        }
        let nobody_chose = script_name.is_empty() && !self.manage_script_name;
        let first = self.mounts.get(self.first).filter(|_| nobody_chose)?;
        Some(Choice {
            app: &first.app,
            script_name: None,
        })
    }

    fn mounted_for(&self, script_name: &[u8], path_info: &[u8]) -> Option<Choice<'_>> {
        if self.manage_script_name
            && let Some(mount) = self.mounts.iter().find(|mount| mount.holds(path_info))
        {
            return Some(Choice {
                app: &mount.app,
                script_name: Some(mount.point.len()),
            });
        }
        let sent = script_name.strip_suffix(b"/").unwrap_or(script_name);
        let mount = self.mounts.iter().find(|mount| mount.point == sent)?;
        Some(Choice {
            app: &mount.app,
            script_name: None,
        })
    }
}

impl Mount {
    fn holds(&self, path: &[u8]) -> bool {
        path.strip_prefix(self.point.as_slice())
            .is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
    }
}
