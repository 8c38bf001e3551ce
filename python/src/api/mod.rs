//! The modules that an application can import: `uwsgi` and `uwsgidecorators`.

mod arguments;
mod cache;
pub mod decorators;
pub mod master;
pub mod shared_memory;
pub mod signals;
pub mod uwsgi_module;
