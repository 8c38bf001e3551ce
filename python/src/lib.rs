//! The extension module `_ruwsgi`: the part of ruwsgi that the application's own interpreter loads.
//!
//! The master starts that interpreter with a line of Python that calls `_ruwsgi.main`, and from there on it is a
//! zygote; see docs/architecture.md.

mod autoreload;
mod deadline;
mod decorators;
mod diagnose;
mod environ;
mod file_wrapper;
mod fork;
mod fork_safety;
mod input;
mod load;
mod mounts;
mod parent_link;
mod python;
mod responder;
mod stacks;
mod thread;
mod uwsgi_module;
mod warmup;
mod whereabouts;
mod worker;
mod wsgi;
mod zygote;

use pyo3::prelude::*;

#[pymodule]
mod _ruwsgi {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::file_wrapper::FileWrapper;
    #[pymodule_export]
    use crate::input::Input;

    /// Lives as a zygote on the channel with this descriptor, or as a worker forked from it, and exits.
    #[pyfunction]
    fn main(py: Python<'_>, channel: i32) {
        let status = crate::zygote::main(py, channel);
        crate::python::wind_up(py);
        ruwsgi::sys::thread::exit_now(status)
    }
}
