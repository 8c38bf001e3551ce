//! The modules that an application can import: `uwsgi` and `uwsgidecorators`.

pub mod decorators;
pub mod uwsgi_module;
