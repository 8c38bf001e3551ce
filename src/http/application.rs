//! The `Application` trait: handles the requests that the engine has read.

use bytes::Bytes;

use super::connection::Connection;
use super::request::Request;
use super::shared_response::SharedResponse;
use super::unlock::Unlock;

/// An application, as one serving thread calls it.
///
/// The calls are statically dispatched and happen once per request. [`Unlock`] is for applications with an interpreter:
/// the engine releases its lock once per request, around the write of the response and the wait for the next request.
pub trait Application: Unlock {
    /// Answers a request. The response is open, and without a status. The engine sends what is left in its buffer after
    /// this returns.
    ///
    /// Do not hold the response's lock while the application computes: at the request's deadline another thread
    /// responds with it.
    fn call(&mut self, request: &mut Request, response: &SharedResponse);

    /// Takes over a connection whose response was
    /// [`switch_protocols`](super::application_headers::ApplicationHeaders::switch_protocols) and is sent. `received` is what has
    /// arrived after the request. The engine does not use the connection any more; its socket is non-blocking. Reserved for
    /// WebSocket upgrades: the WSGI application does not switch protocols.
    fn switched(&mut self, connection: Connection, received: Bytes) {
        drop((connection, received));
    }

    /// A signal has ended the wait for a request: handlers of an interpreter may have to run.
    fn interrupted(&mut self) {}
}
