//! The modules that an application can import: `uwsgi` and `uwsgidecorators`.

mod absent;
mod arguments;
mod cache;
pub mod decorators;
mod facts;
pub mod hooks;
mod locks;
pub mod master;
pub mod mules;
mod queue;
mod request;
mod rpc;
pub mod shared_memory;
mod sharedarea;
pub mod signals;
pub mod uwsgi_module;
mod waiting;
