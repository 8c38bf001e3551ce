//! The modules that an application can import: `uwsgi` and `uwsgidecorators`.

pub mod decorators;
pub mod master;
pub mod signals;
pub mod uwsgi_module;
