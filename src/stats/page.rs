//! The statistics as bytes for clients. Clients that connect at the same time get the same bytes.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::emperor::EmperorStats;
use super::feed::Feed;
use super::format::Format;
use super::instance::InstanceStats;
use super::json;
use super::snapshot::InstanceSnapshot;

/// The process whose statistics are served.
#[derive(Clone)]
pub(crate) enum Subject {
    Instance(Arc<Feed<InstanceSnapshot>>),
    Emperor(Arc<Feed<EmperorStats>>),
}

/// The statistics page of a process.
pub(super) struct Page {
    subject: Subject,
    format: Format,
    /// The last page, and the number of its snapshot.
    last: Mutex<(u64, Arc<[u8]>)>,
}

impl Page {
    pub(super) fn new(subject: Subject, format: Format) -> Self {
        Self {
            subject,
            format,
            last: Mutex::new((0, Arc::default())),
        }
    }

    pub(super) fn is_http(&self) -> bool {
        self.format.http
    }

    /// The page of a snapshot that is not older than this call.
    pub(super) async fn current(&self) -> Arc<[u8]> {
        let known = match &self.subject {
            Subject::Instance(feed) => feed.number(),
            Subject::Emperor(feed) => feed.number(),
        };
        let mut last = self.last.lock().await;
        if last.0 > known {
            return Arc::clone(&last.1);
        }
        let (number, page) = match &self.subject {
            Subject::Instance(feed) => {
                let (number, snapshot) = feed.newer_than(known).await;
                (number, self.instance(&snapshot))
            }
            Subject::Emperor(feed) => {
                let (number, stats) = feed.newer_than(known).await;
                (number, json::to_vec(&*stats, !self.format.minified))
            }
        };
        *last = (number, page.into());
        Arc::clone(&last.1)
    }

    fn instance(&self, snapshot: &InstanceSnapshot) -> Vec<u8> {
        let stats = InstanceStats::new(snapshot, self.format);
        json::to_vec(&stats, !self.format.minified)
    }
}
