//! The statistics as bytes for clients. Clients that connect at the same time get the same bytes.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Mutex;

use super::emperor::EmperorStats;
use super::feed::Feed;
use super::format::Content;
use super::instance::InstanceStats;
use super::json;
use super::metrics;
use super::snapshot::InstanceSnapshot;

/// The process whose statistics are served.
#[derive(Clone)]
pub(crate) enum Subject {
    Instance(Arc<Feed<InstanceSnapshot>>),
    Emperor(Arc<Feed<EmperorStats>>),
}

/// The page with the statistics or the metrics of a process.
pub(super) struct Page {
    subject: Subject,
    content: Content,
    last: Mutex<Rendered>,
}

/// The page that was written last.
struct Rendered {
    /// The number of the page's snapshot, and the time at which the snapshot was requested.
    number: u64,
    asked: Option<Instant>,
    bytes: Arc<[u8]>,
}

impl Page {
    pub(super) fn new(subject: Subject, content: Content) -> Self {
        Self {
            subject,
            content,
            last: Mutex::new(Rendered {
                number: 0,
                asked: None,
                bytes: Arc::default(),
            }),
        }
    }

    pub(super) fn content(&self) -> &Content {
        &self.content
    }

    /// The page of a snapshot that is not older than this call.
    pub(super) async fn current(&self) -> Arc<[u8]> {
        let begun = Instant::now();
        let known = match &self.subject {
            Subject::Instance(feed) => feed.number(),
            Subject::Emperor(feed) => feed.number(),
        };
        let mut last = self.last.lock().await;
        if last.number > known || last.asked.is_some_and(|asked| asked >= begun) {
            return Arc::clone(&last.bytes);
        }
        let asked = Some(Instant::now());
        let (number, bytes) = match &self.subject {
            Subject::Instance(feed) => {
                let (number, snapshot) = feed.newer_than(known).await;
                (number, self.instance(&snapshot))
            }
            Subject::Emperor(feed) => {
                let (number, stats) = feed.newer_than(known).await;
                (number, json::to_vec(&*stats, self.has_lines()))
            }
        };
        *last = Rendered {
            number,
            asked,
            bytes: bytes.into(),
        };
        Arc::clone(&last.bytes)
    }

    fn has_lines(&self) -> bool {
        !matches!(&self.content, Content::Statistics(format) if format.minified)
    }

    fn instance(&self, snapshot: &InstanceSnapshot) -> Vec<u8> {
        match &self.content {
            Content::Statistics(format) => {
                json::to_vec(&InstanceStats::new(snapshot, *format), self.has_lines())
            }
            Content::Metrics(uri) => metrics::text(snapshot, uri),
        }
    }
}
