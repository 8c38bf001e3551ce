//! Exit statuses. The statuses that uWSGI also has are the same numbers.

/// Success, or an orderly stop.
pub const OK: i32 = 0;
/// The process could not start, or had to stop because of an error.
pub const FAILED: i32 = 1;
/// The application could not be loaded (uWSGI's `need-app` status).
pub const NO_APP: i32 = 22;
/// A worker retired: it finished its requests and exited on request.
pub const RETIRED: i32 = 30;
