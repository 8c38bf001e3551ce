//! The loaded applications, and the selection of the application for a request.
//!
//! With `manage-script-name`, the mount point that PATH_INFO begins with selects the application. The match must end
//! before a `/` or at the end of PATH_INFO, and the longest match counts. The mount point is moved from PATH_INFO to
//! SCRIPT_NAME. A SCRIPT_NAME of the web server stays in front of the mount point. It is a prefix that a proxy has
//! removed from PATH_INFO, or that is still in PATH_INFO. Without `manage-script-name`, or if no mount point matches
//! PATH_INFO, the mount point that equals the web server's SCRIPT_NAME selects the application.
//!
//! A request that matches no mount point goes to the application without a mount point (`module`, `wsgi-file`) or at
//! `/`. If there is no such application, the first mounted application serves the request, as in uWSGI; with
//! `no-default-app` the response is 404.
//!
//! With `vhost` or `vhost-host` an application may be mounted at a host (`HOST|/point`). The applications of the
//! request's host are searched first, by the same rules. A request for another host never reaches them. A request that
//! matches no mount point may name an application of the configuration by UWSGI_SCRIPT, UWSGI_FILE or UWSGI_MODULE.
//! Only loaded applications can be named; nothing is loaded for a request.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use pyo3::prelude::*;
use ruwsgi::http::request::Request;
use ruwsgi::ipc::{AppSpec, LoadFailure};

/// The applications of an instance.
pub struct Apps {
    table: Table,
    /// The applications by host; `None` without `vhost` and `vhost-host`.
    hosts: Option<Hosts>,
    manage_script_name: bool,
    /// Whether the first mounted application serves requests that match no mount point.
    has_default: bool,
    warnings: Vec<LoadFailure>,
}

/// Applications by mount point.
#[derive(Default)]
struct Table {
    /// Mounted applications, sorted by the length of the mount point, the longest first.
    mounts: Vec<Mount>,
    /// The application without a mount point, or at `/`.
    root: Option<Root>,
    /// Index in `mounts` of the application that was mounted first.
    first: usize,
}

/// Applications by host, and by the name that the configuration gives them.
struct Hosts {
    /// Whether only the Host header names the host (`vhost-host`). With `vhost`, SERVER_NAME names the host if there is
    /// no Host header.
    by_header: bool,
    /// Hosts in lower case, with their applications.
    tables: Vec<(Vec<u8>, Table)>,
    /// Modules and files as the configuration names them, with their applications.
    names: Vec<(Vec<u8>, Py<PyAny>)>,
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
    /// Whether the application is mounted at `/` (`mount = /=app`). With `manage-script-name`, SCRIPT_NAME is then only
    /// the web server's prefix, which is usually empty, and PATH_INFO is the rest of the path.
    mounted: bool,
}

/// The application for a request.
#[derive(Clone, Copy)]
pub struct Choice<'a> {
    /// The WSGI callable.
    pub app: &'a Py<PyAny>,
    /// With `Some(n)`, SCRIPT_NAME becomes the first `n` bytes of PATH_INFO, and PATH_INFO becomes the rest. With
    /// `None`, both stay as the web server sent them.
    pub script_name: Option<usize>,
    /// Whether the web server's SCRIPT_NAME stays in front of the first `n` bytes of PATH_INFO.
    pub keeps_prefix: bool,
}

impl<'a> Choice<'a> {
    /// The choice of an application for which SCRIPT_NAME and PATH_INFO stay as they are.
    fn unchanged(app: &'a Py<PyAny>) -> Self {
        Self {
            app,
            script_name: None,
            keeps_prefix: false,
        }
    }
}

impl Apps {
    /// Creates an empty set of applications.
    pub fn new(spec: &AppSpec) -> Self {
        let by_header = spec.worker.vhost_host;
        Self {
            table: Table::default(),
            hosts: (by_header || spec.worker.vhost).then(|| Hosts {
                by_header,
                tables: Vec::new(),
                names: Vec::new(),
            }),
            manage_script_name: spec.manage_script_name,
            has_default: !spec.no_default_app,
            warnings: Vec::new(),
        }
    }

    /// Whether no application is loaded (`need-app = false`): every response is 500.
    pub fn is_empty(&self) -> bool {
        let of_hosts = self.hosts.as_ref().is_none_or(|it| it.tables.is_empty());
        self.table.is_empty() && of_hosts
    }

    /// Failures that did not prevent the start, to be logged once.
    pub fn warnings(&self) -> &[LoadFailure] {
        &self.warnings
    }

    /// Adds a warning.
    pub fn warn(&mut self, warning: LoadFailure) {
        self.warnings.push(warning);
    }

    /// Mounts an application at `point`: empty, `/path`, or `HOST|/path` with `vhost`. Returns false if another
    /// application is already mounted there, or if `point` has a host and the instance has no hosts. An earlier
    /// application stays.
    pub fn mount(&mut self, point: &str, app: Py<PyAny>) -> bool {
        let Some((host, below)) = point.split_once('|') else {
            return self.table.mount(point, app);
        };
        let Some(hosts) = &mut self.hosts else {
            return false;
        };
        let host = host.to_ascii_lowercase().into_bytes();
        let known = hosts.tables.iter().position(|(name, _)| *name == host);
        let index = known.unwrap_or_else(|| {
            hosts.tables.push((host, Table::default()));
            hosts.tables.len() - 1
        });
        let mounted = hosts.tables.get_mut(index);
        mounted.is_some_and(|(_, table)| table.mount(below, app))
    }

    /// Records the module or file by which a request may name the application (`vhost`).
    pub fn name(&mut self, py: Python<'_>, name: &str, app: &Py<PyAny>) {
        if let Some(hosts) = &mut self.hosts {
            let name = without_usual_callable(name.as_bytes()).to_vec();
            hosts.names.push((name, app.clone_ref(py)));
        }
    }

    /// Returns the application for a request with this SCRIPT_NAME and PATH_INFO. `None` in these cases: no mount point
    /// matches and there is no default application; the request names an unknown application; or no application is
    /// loaded.
    #[inline]
    pub fn choose(
        &self,
        request: &Request,
        script_name: &[u8],
        path_info: &[u8],
    ) -> Option<Choice<'_>> {
        match &self.hosts {
            None => self.resolve(script_name, path_info),
            Some(hosts) => self.choose_by_host(hosts, request, script_name, path_info),
        }
    }

    /// Returns the application as [`Apps::choose`] does, for an instance without hosts.
    pub fn resolve(&self, script_name: &[u8], path_info: &[u8]) -> Option<Choice<'_>> {
        let manages = self.manage_script_name;
        let mounted = self.table.mounted_for(manages, script_name, path_info);
        mounted.or_else(|| self.default_for(script_name, path_info))
    }

    fn choose_by_host<'a>(
        &'a self,
        hosts: &'a Hosts,
        request: &Request,
        script_name: &[u8],
        path_info: &[u8],
    ) -> Option<Choice<'a>> {
        let manages = self.manage_script_name;
        if let Some(table) = hosts.table(request) {
            let mounted = table.mounted_for(manages, script_name, path_info);
            let found = mounted.or_else(|| table.root_for(manages, script_name, path_info));
            if found.is_some() {
                return found;
            }
        }
        if let Some(choice) = self.table.mounted_for(manages, script_name, path_info) {
            return Some(choice);
        }
        match hosts.named_by(request) {
            Named::Nothing => self.default_for(script_name, path_info),
            Named::Known(app) => Some(Choice::unchanged(app)),
            Named::Unknown(name) => {
                warn_unknown(&name);
                None
            }
        }
    }

    /// The application for a request that matches no mount point.
    fn default_for(&self, script_name: &[u8], path_info: &[u8]) -> Option<Choice<'_>> {
        let table = &self.table;
        let root = table.root_for(self.manage_script_name, script_name, path_info);
        root.or_else(|| {
            let first = table.mounts.get(table.first).filter(|_| self.has_default)?;
            Some(Choice::unchanged(&first.app))
        })
    }
}

impl Table {
    fn is_empty(&self) -> bool {
        self.root.is_none() && self.mounts.is_empty()
    }

    /// Mounts an application at `point`, which is empty or begins with `/`. Returns false if another application is
    /// mounted there; the other application stays.
    fn mount(&mut self, point: &str, app: Py<PyAny>) -> bool {
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

    /// The application without a mount point, or at `/`.
    fn root_for(&self, manages: bool, script_name: &[u8], path_info: &[u8]) -> Option<Choice<'_>> {
        let root = self.root.as_ref()?;
        let prefix = Prefix::new(script_name, path_info);
        Some(match root.mounted && manages {
            true => prefix.choose(&root.app, 0),
            false => Choice::unchanged(&root.app),
        })
    }

    /// The application whose mount point matches. `manages` is true with `manage-script-name`.
    #[inline]
    fn mounted_for(
        &self,
        manages: bool,
        script_name: &[u8],
        path_info: &[u8],
    ) -> Option<Choice<'_>> {
        if self.mounts.is_empty() {
            return None;
        }
        if manages {
            let prefix = Prefix::new(script_name, path_info);
            let mount_for = |path: &[u8]| self.mounts.iter().find(|mount| mount.holds(path));
            if let Some(mount) = mount_for(prefix.rest) {
                return Some(prefix.choose(&mount.app, mount.point.len()));
            }
            if let Some(mount) = mount_for(path_info) {
                // the web server's SCRIPT_NAME is the beginning of the mount point
                return Some(Choice {
                    app: &mount.app,
                    script_name: Some(mount.point.len()),
                    keeps_prefix: false,
                });
            }
        }
        let sent = script_name.strip_suffix(b"/").unwrap_or(script_name);
        let mount = self.mounts.iter().find(|mount| mount.point == sent)?;
        Some(Choice::unchanged(&mount.app))
    }
}

/// The application that a request names by its variables.
enum Named<'a> {
    /// The request names no application.
    Nothing,
    Known(&'a Py<PyAny>),
    /// The request names an application that the configuration does not name.
    Unknown(Vec<u8>),
}

impl Hosts {
    /// The applications of the host that a request is for.
    fn table(&self, request: &Request) -> Option<&Table> {
        let variables: &[&[u8]] = match self.by_header {
            true => &[b"HTTP_HOST"],
            false => &[b"HTTP_HOST", b"SERVER_NAME"],
        };
        let hosts = variables.iter().filter_map(|name| request.variable(name));
        let mut tables = hosts.filter_map(|host| self.table_of(without_port(host)));
        tables.next()
    }

    fn table_of(&self, host: &[u8]) -> Option<&Table> {
        let mut tables = self.tables.iter();
        let found = tables.find(|(name, _)| name.eq_ignore_ascii_case(host));
        found.map(|(_, table)| table)
    }

    fn named_by(&self, request: &Request) -> Named<'_> {
        let value = |name: &[u8]| request.variable(name).filter(|value| !value.is_empty());
        let script = value(b"UWSGI_SCRIPT").or_else(|| value(b"UWSGI_FILE"));
        let name = match (script, value(b"UWSGI_MODULE"), value(b"UWSGI_CALLABLE")) {
            (Some(script), ..) => script.to_vec(),
            (None, Some(module), Some(callable)) => [module, b":", callable].concat(),
            (None, Some(module), None) => module.to_vec(),
            (None, None, _) => return Named::Nothing,
        };
        let name = without_usual_callable(&name);
        match self.names.iter().find(|(known, _)| known == name) {
            Some((_, app)) => Named::Known(app),
            None => Named::Unknown(name.to_vec()),
        }
    }
}

/// Removes `:application` from the name of an application. `application` is the callable that is used if a name has
/// none.
fn without_usual_callable(name: &[u8]) -> &[u8] {
    name.strip_suffix(b":application").unwrap_or(name)
}

fn without_port(host: &[u8]) -> &[u8] {
    match host.iter().rposition(|&byte| byte == b':') {
        Some(at) if !host.ends_with(b"]") => &host[..at],
        _ => host,
    }
}

/// Logs that a request names an unknown application. Only the first requests are logged, because the names come from
/// the web server.
#[cold]
fn warn_unknown(name: &[u8]) {
    const WARNINGS: u32 = 20;
    static COUNT: AtomicU32 = AtomicU32::new(0);
    if COUNT.fetch_add(1, Relaxed) < WARNINGS {
        let name = ruwsgi::log::escape(name);
        tracing::error!(
            "a request names the application {name}, which the configuration does not load: add mount = HOST|={name}"
        );
    }
}

/// PATH_INFO in two parts: the web server's SCRIPT_NAME (the prefix), if PATH_INFO begins with it, and the rest.
struct Prefix<'a> {
    /// PATH_INFO without the prefix.
    rest: &'a [u8],
    /// Length of the prefix in PATH_INFO, bytes; 0 if PATH_INFO does not begin with the prefix.
    len: usize,
    /// Whether PATH_INFO does not begin with the prefix. The web server has then removed the prefix.
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
