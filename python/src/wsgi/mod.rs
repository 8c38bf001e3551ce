//! Serves requests with a WSGI application (PEP 3333).

mod callables;
pub mod current_environ;
pub mod environ;
pub mod file_wrapper;
pub mod input;
pub mod memory;
pub mod responder;
pub mod server;
mod source;
pub mod streams;
