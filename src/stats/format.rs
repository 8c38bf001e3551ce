//! The options for the text of the statistics.

/// The content that an endpoint serves.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// The statistics as JSON.
    Statistics(Format),
    /// The metrics for Prometheus. The text is the value of the label `stats_uri`, which the metrics of uwsgi_exporter
    /// also have.
    Metrics(String),
}

/// How the statistics are written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Format {
    /// Whether the answer is an HTTP response (`stats-http`).
    pub(crate) http: bool,
    /// Whether the text has no line breaks (`stats-minified`).
    pub(crate) minified: bool,
    /// Whether the text has the threads of each worker. `stats-no-cores` leaves them out.
    pub(crate) cores: bool,
}
