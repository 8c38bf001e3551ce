//! The extension module `_ruwsgi`: the part of ruwsgi that the application's interpreter loads.
//!
//! The master starts that interpreter with a line of Python that calls `_ruwsgi.main`, which turns the process into a
//! zygote (`zygote`). The zygote imports the application (`load`) and forks workers (`worker_main`). The serving
//! threads of a worker (`thread`) enter the connection engine of the library, which calls the application through
//! `wsgi`.
//! `api` contains the modules that the application can import.

mod api;
mod autoreload;
mod deadline;
mod deploy;
mod diagnose;
mod fork;
mod fork_safety;
mod import_resources;
mod load;
mod memory_limit;
mod module_search;
mod mounts;
mod mule_main;
mod origin;
mod parent_link;
mod python;
mod script;
mod stacks;
mod start_watch;
mod static_files;
mod thread;
mod thread_deadline;
mod threads_at_exit;
mod tracebacker;
mod trial;
mod warmup;
mod worker;
mod worker_main;
mod worker_program;
mod wsgi;
mod zygote;

use pyo3::prelude::*;

#[pymodule]
mod _ruwsgi {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::wsgi::file_wrapper::FileWrapper;
    #[pymodule_export]
    use crate::wsgi::input::Input;

    /// Runs the script of `pyrun`. The descriptor is a file with the settings of the instance.
    #[pyfunction]
    fn script(py: Python<'_>, settings: i32) {
        let status = crate::script::main(py, settings);
        crate::python::shutdown_interpreter(py);
        ruwsgi::sys::thread::exit_now(status)
    }

    /// Runs the zygote on the channel with this descriptor, or a worker forked from it, and exits.
    #[pyfunction]
    fn main(py: Python<'_>, channel: i32) {
        let status = crate::zygote::main(py, channel);
        crate::python::shutdown_interpreter(py);
        ruwsgi::sys::thread::exit_now(status)
    }
}
