//! The loaded applications, and the selection of the application for a request.
//!
//! With `manage-script-name`, the longest mount point that is a prefix of PATH_INFO and ends before a `/` or at the end
//! selects the application. The mount point is moved from PATH_INFO to SCRIPT_NAME. A SCRIPT_NAME that the web server
//! sent stays in front of the mount point: it is the prefix that a proxy has removed from PATH_INFO, or with which
//! PATH_INFO still begins. If no mount point is a prefix of PATH_INFO, and without `manage-script-name`, the mount
//! point that equals the web server's SCRIPT_NAME selects the application.
//!
//! A request that matches no mount point goes to the application without a mount point (`module`, `wsgi-file`) or at
//! `/`. If there is no such application, the first mounted application serves the request, as in uWSGI; with
//! `no-default-app` the response is 404.

use pyo3::prelude::*;
use ruwsgi::ipc::LoadFailure;

/// The applications of an instance.
pub struct Apps {
    /// Mounted applications, sorted by the length of the mount point, the longest first.
    mounts: Vec<Mount>,
    /// The application without a mount point, or at `/`.
    root: Option<Root>,
    /// Index in `mounts` of the application that was mounted first.
    first: usize,
    manage_script_name: bool,
    /// Whether the first mounted application serves requests that match no mount point.
    has_default: bool,
    warnings: Vec<LoadFailure>,
}

struct Mount {
    /// The mount point, such as `/one`: it begins with a slash, does not end with a slash, and is not empty.
    point: Vec<u8>,
    /// Position in the order of loading.
    order: usize,
    app: Py<PyAny>,
}

struct Root {
    app: Py<PyAny>,
    /// Whether the application is mounted at `/` (`mount = /=app`). If so, with `manage-script-name`, SCRIPT_NAME is
    /// only the web server's prefix, which is usually empty, and PATH_INFO is the rest of the path.
    mounted: bool,
}

/// The application for a request.
#[derive(Clone, Copy)]
pub struct Choice<'a> {
    /// The WSGI callable.
    pub app: &'a Py<PyAny>,
    /// `Some(n)`: SCRIPT_NAME becomes the first `n` bytes of PATH_INFO, and PATH_INFO the rest. `None` if both stay as
    /// the web server sent them.
    pub script_name: Option<usize>,
    /// Whether the web server's SCRIPT_NAME stays in front of the first `n` bytes of PATH_INFO.
    pub keeps_prefix: bool,
}

impl Apps {
    /// Creates an empty set of applications.
    pub fn new(manage_script_name: bool, has_default: bool) -> Self {
        Self {
            mounts: Vec::new(),
            root: None,
            first: 0,
            manage_script_name,
            has_default,
            warnings: Vec::new(),
        }
    }

    /// Whether no application is loaded (`need-app = false`): every response is 500.
    pub fn is_empty(&self) -> bool {
        self.root.is_none() && self.mounts.is_empty()
    }

    /// Failures that did not prevent the start, to be logged once.
    pub fn warnings(&self) -> &[LoadFailure] {
        &self.warnings
    }

    /// Adds a warning.
    pub fn warn(&mut self, warning: LoadFailure) {
        self.warnings.push(warning);
    }

    /// Mounts an application at `point`, which is empty or begins with `/`. Returns false if another application is
    /// mounted there; the other application stays.
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

    /// Returns the application for a request. `None` if no mount point matches and there is no default application, or
    /// if [`Apps::is_empty`].
    pub fn resolve(&self, script_name: &[u8], path_info: &[u8]) -> Option<Choice<'_>> {
        if !self.mounts.is_empty()
            && let Some(choice) = self.mounted_for(script_name, path_info)
        {
            return Some(choice);
        }
        if let Some(root) = &self.root {
            let prefix = Prefix::new(script_name, path_info);
            let choice = Choice {
                app: &root.app,
                script_name: None,
                keeps_prefix: false,
            };
            return Some(if root.mounted && self.manage_script_name {
                prefix.choose(&root.app, 0)
            } else {
                choice
            });
        }
        let first = self.mounts.get(self.first).filter(|_| self.has_default)?;
        Some(Choice {
            app: &first.app,
            script_name: None,
            keeps_prefix: false,
        })
    }

    fn mounted_for(&self, script_name: &[u8], path_info: &[u8]) -> Option<Choice<'_>> {
        if self.manage_script_name {
            let prefix = Prefix::new(script_name, path_info);
            let mount_for = |path: &[u8]| self.mounts.iter().find(|mount| mount.holds(path));
            if let Some(mount) = mount_for(prefix.rest) {
                return Some(prefix.choose(&mount.app, mount.point.len()));
            }
            if let Some(mount) = mount_for(path_info) {
                // the mount point itself begins with the web server's SCRIPT_NAME
                return Some(Choice {
                    app: &mount.app,
                    script_name: Some(mount.point.len()),
                    keeps_prefix: false,
                });
            }
        }
        let sent = script_name.strip_suffix(b"/").unwrap_or(script_name);
        let mount = self.mounts.iter().find(|mount| mount.point == sent)?;
        Some(Choice {
            app: &mount.app,
            script_name: None,
            keeps_prefix: false,
        })
    }
}

/// PATH_INFO, split after the web server's SCRIPT_NAME (the prefix) if PATH_INFO begins with it.
struct Prefix<'a> {
    /// PATH_INFO without the prefix.
    rest: &'a [u8],
    /// Length of the prefix in PATH_INFO, bytes; 0 if PATH_INFO does not begin with the prefix.
    len: usize,
    /// Whether PATH_INFO does not begin with the prefix, because the web server has removed it.
    removed: bool,
}

impl<'a> Prefix<'a> {
    fn new(script_name: &[u8], path_info: &'a [u8]) -> Self {
        let prefix = script_name.strip_suffix(b"/").unwrap_or(script_name);
        let rest = path_info
            .strip_prefix(prefix)
            .filter(|rest| rest.is_empty() || rest.starts_with(b"/"));
        match rest {
            Some(rest) => Self {
                rest,
                len: prefix.len(),
                removed: false,
            },
            None => Self {
                rest: path_info,
                len: 0,
                removed: true,
            },
        }
    }

    /// Returns the choice of `app`, whose mount point is the first `point` bytes of `rest`.
    fn choose<'p>(&self, app: &'p Py<PyAny>, point: usize) -> Choice<'p> {
        Choice {
            app,
            script_name: Some(self.len + point),
            keeps_prefix: self.removed,
        }
    }
}

impl Mount {
    fn holds(&self, path: &[u8]) -> bool {
        path.strip_prefix(self.point.as_slice())
            .is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
    }
}
