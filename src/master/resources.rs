//! The external resources of an instance: sockets, pidfiles, FIFOs, the control socket, and the channels to the emperor
//! and the service manager. The start creates them, and the exit removes them.

use std::path::PathBuf;
use std::rc::Rc;

use crate::exit;
use crate::ipc::LoadFailure;
use crate::net::{self, BoundSocket};
use crate::process::Pidfiles;
use crate::sys::daemon;
use crate::sys::file_lock::FileLock;
use crate::sys::notify::Notify;

use super::control_socket::ControlSocket;
use super::emperor_link::EmperorLink;
use super::fifo::Fifos;
use super::observer::Observer;

/// The external resources of an instance.
#[derive(Default)]
pub(super) struct Resources {
    pub(super) notify: Notify,
    pub(super) emperor: EmperorLink,
    /// The process that the user started. It waits for the result of the start (`daemonize2`).
    pub(super) parent: Option<daemon::Parent>,
    /// The locked files (`flock` and related options).
    pub(super) locks: Vec<FileLock>,
    pub(super) pidfiles: Pidfiles,
    /// The absolute path of the log file; `None` if the instance has no log file that it can reopen.
    pub(super) log: Option<PathBuf>,
    /// The sockets of the running generation.
    pub(super) sockets: Vec<Rc<BoundSocket>>,
    /// Sockets lent by the emperor. The emperor keeps them until this instance has started.
    pub(super) lent: Vec<Rc<BoundSocket>>,
    /// Whether the exit removes the FIFOs, and the files of all sockets that the emperor has not lent (`vacuum`).
    pub(super) vacuum: bool,
    /// The command FIFOs (`master-fifo`).
    pub(super) fifos: Option<Fifos>,
    pub(super) control: Option<ControlSocket>,
    /// `None` if no option needs the observer.
    pub(super) observer: Option<Observer>,
}

impl Resources {
    /// Closes the sockets, removes the pidfiles, releases the locks, and removes files as configured by `vacuum`.
    /// Reports `failure` to the waiting parent process, and to the emperor unless `status` is success.
    pub(super) fn release(&mut self, status: i32, failure: &LoadFailure) {
        if self.vacuum {
            net::vacuum_dropped(&self.sockets, &self.lent);
            self.fifos.iter().for_each(Fifos::remove);
        }
        self.observer.iter().for_each(Observer::remove_files);
        self.sockets.clear();
        self.pidfiles.remove();
        if status != exit::OK {
            self.emperor.failed_as_logged(failure);
        }
        if let Some(parent) = self.parent.take() {
            parent.failed(u8::try_from(status).unwrap_or(1), &failure.sentence);
        }
        self.locks.clear();
        // clients take the end of the control socket as the end of the instance, so the control socket is closed last
        self.control = None;
    }
}
