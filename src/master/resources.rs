//! What a start creates outside of the process, and the exit removes: sockets, pidfiles, FIFOs, the control socket, and the
//! channels to the emperor and the service manager.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::Result;

use crate::exit;
use crate::ipc::LoadFailure;
use crate::net::{self, BoundSocket};
use crate::process::pidfile;
use crate::sys::daemon;
use crate::sys::notify::Notify;
use crate::sys::process::Pid;

use super::control_socket::ControlSocket;
use super::emperor_link::EmperorLink;
use super::fifo::Fifos;

/// The external resources of an instance.
#[derive(Default)]
pub(super) struct Resources {
    pub(super) notify: Notify,
    pub(super) emperor: EmperorLink,
    /// The process that the user started, which waits for the result of the start (`daemonize2`).
    pub(super) parent: Option<daemon::Parent>,
    /// Absolute paths.
    pub(super) pidfiles: Vec<PathBuf>,
    /// The absolute path of the log, if it is a file of this instance.
    pub(super) log: Option<PathBuf>,
    /// The sockets of the running generation.
    pub(super) sockets: Vec<Rc<BoundSocket>>,
    /// Sockets lent by the emperor, which keeps them until this instance has started.
    pub(super) lent: Vec<Rc<BoundSocket>>,
    /// Whether the exit removes the files of the sockets, except lent ones.
    pub(super) vacuum: bool,
    /// `master-fifo`.
    pub(super) fifos: Option<Fifos>,
    pub(super) control: Option<ControlSocket>,
}

impl Resources {
    /// Removes everything. Reports the failure to the waiting parent process and the emperor.
    pub(super) fn release(&mut self, status: i32, failure: &LoadFailure) {
        if self.vacuum {
            net::vacuum_dropped(&self.sockets, &self.lent);
            self.fifos.iter().for_each(Fifos::remove);
        }
        self.sockets.clear();
        for path in self.pidfiles.drain(..) {
            remove_pidfile(&path);
        }
        if status != exit::OK {
            self.emperor.failed_as_logged(failure);
        }
        if let Some(parent) = self.parent.take() {
            parent.failed(u8::try_from(status).unwrap_or(1), &failure.sentence);
        }
        // last, because its end tells clients that the instance has stopped
        self.control = None;
    }

    /// Writes a pidfile, if a path is configured.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn write_pidfile(&mut self, path: Option<&str>) -> Result<()> {
        let Some(path) = path else { return Ok(()) };
        let path = std::path::absolute(path)?;
        pidfile::write(&path, Pid::own())?;
        self.pidfiles.push(path);
        Ok(())
    }

    /// Writes all pidfiles again.
    ///
    /// # Errors
    /// When one cannot be written.
    pub(super) fn rewrite_pidfiles(&self) -> Result<()> {
        for path in &self.pidfiles {
            pidfile::write(path, Pid::own())?;
        }
        Ok(())
    }
}

fn remove_pidfile(path: &Path) {
    match pidfile::remove(path, Pid::own()) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            // expected where root owns the directory and the instance has dropped its privileges
            tracing::info!("pidfile {} not removed: {error}", path.display());
        }
        Err(error) => {
            tracing::warn!("pidfile {} not removed: {error}", path.display());
        }
        Ok(_) => {}
    }
}
