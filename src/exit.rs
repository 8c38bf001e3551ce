//! Exit statuses, uWSGI's where it has one for the case.

/// Stopped as asked.
pub const OK: i32 = 0;
/// The configuration or the environment does not allow to start.
pub const FAILED: i32 = 1;
/// The application could not be loaded (uWSGI's `need-app` status).
pub const NO_APP: i32 = 22;
/// A worker that retired: it finished its requests and left because it was asked to.
pub const RETIRED: i32 = 30;
