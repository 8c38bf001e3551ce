//! The options of the text of the statistics.

/// How the statistics are written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Format {
    /// The answer is an HTTP response (`stats-http`).
    pub(crate) http: bool,
    /// Without line breaks (`stats-minified`).
    pub(crate) minified: bool,
    /// With the threads of each worker (not `stats-no-cores`).
    pub(crate) cores: bool,
}
