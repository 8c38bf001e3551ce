//! The `Application` trait: handles the requests that the engine has read.

use super::request::Request;
use super::shared_response::SharedResponse;
use super::unlock::Unlock;

/// An application, as one serving thread calls it.
///
/// The calls are statically dispatched and happen once per request. [`Unlock`] is for applications with an interpreter:
/// once per request the engine releases the interpreter's lock, while it writes the response and waits for the next
/// request.
pub trait Application: Unlock {
    /// Answers a request. `response` is open and has no status. After this function returns the engine sends the bytes
    /// that are left in the response's buffer.
    ///
    /// Do not hold the lock of `response` while the application computes: at the request's deadline another thread
    /// takes the lock and responds in place of the application.
    fn call(&mut self, request: &mut Request, response: &SharedResponse);

    /// Whether the engine must call [`Application::called`] after it has sent the response to the last request.
    #[inline]
    fn is_called_after(&self) -> bool {
        false
    }

    /// Another thread has requested this call ([`Dispatch::call`](super::dispatch::Dispatch::call)).
    fn called(&mut self) {}

    /// A signal has ended the wait for a request. An application with an interpreter runs its signal handlers here.
    fn interrupted(&mut self) {}
}
