//! The observer: the thread that serves the statistics, with an async runtime.

use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::config::Pusher;
use crate::sys::{process, thread};

use super::connection::{self, Listener, Stream};
use super::format::Content;
use super::metrics_http;
use super::page::{Page, Subject};
use super::pusher;

/// Maximum clients of a socket at the same time; further clients wait in the listen queue.
const MAX_CLIENTS: usize = 32;
/// Maximum time that a client may take.
const CLIENT_TIME: Duration = Duration::from_secs(10);
/// Maximum time until a client of `stats-http` has sent its request.
const REQUEST_TIME: Duration = Duration::from_secs(4);
/// Pause after a failed accept(2). The usual cause is that all descriptors are in use.
const PAUSE: Duration = Duration::from_millis(200);
/// The thread's nice value. It makes requests more important than statistics.
const NICE: i32 = 5;
/// Size of the thread's stack, bytes.
const STACK: usize = 512 << 10;

/// A non-blocking listening socket to serve.
pub(crate) struct Endpoint {
    pub(crate) listener: OwnedFd,
    pub(crate) is_tcp: bool,
    pub(crate) content: Content,
}

/// The destinations to which the observer sends statistics, and the interval.
#[derive(Default)]
pub(crate) struct Pushing {
    pub(crate) pushers: Vec<Pusher>,
    pub(crate) interval: Duration,
}

/// Starts the thread, which serves the statistics of `subject` until the process exits.
///
/// # Errors
/// Those of epoll_create1(2), of adding a socket to it, and of creating the thread.
pub(crate) fn start(
    subject: &Subject,
    endpoints: Vec<Endpoint>,
    pushing: Pushing,
) -> io::Result<()> {
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    for endpoint in endpoints {
        let page = Page::new(subject.clone(), endpoint.content);
        let listener = {
            let _inside = runtime.enter();
            Listener::new(endpoint.listener, endpoint.is_tcp)?
        };
        runtime.spawn(serve(listener, Arc::new(page)));
    }
    if let Subject::Instance(feed) = subject {
        for pusher in pushing.pushers {
            runtime.spawn(pusher::run(pusher, Arc::clone(feed), pushing.interval));
        }
    }
    thread::without_signals(|| {
        std::thread::Builder::new()
            .name("ruwsgi-observer".to_owned())
            .stack_size(STACK)
            .spawn(move || run(&runtime))
    })?;
    Ok(())
}

fn run(runtime: &Runtime) {
    // in Linux each thread has a nice value; on failure the thread competes with the requests
    let _ = process::set_priority(NICE);
    runtime.block_on(pending::<()>());
}

async fn serve(listener: Listener, page: Arc<Page>) {
    let slots = Arc::new(Semaphore::new(MAX_CLIENTS));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        let Ok(mut stream) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        let page = Arc::clone(&page);
        tokio::spawn(async move {
            // a client that disconnects or does not read gets no complete answer
            let _ = match page.content() {
                Content::Statistics(format) => {
                    let http = format.http;
                    timeout(CLIENT_TIME, answer(&mut *stream, &page, http)).await
                }
                Content::Metrics(_) => {
                    timeout(CLIENT_TIME, metrics_http::serve(stream, page)).await
                }
            };
            drop(slot);
        });
    }
}

async fn answer(stream: &mut dyn Stream, page: &Page, http: bool) -> io::Result<()> {
    if !http {
        let bytes = page.current().await;
        return connection::send(stream, &bytes).await;
    }
    let request = timeout(REQUEST_TIME, connection::read_request(stream));
    match request.await {
        Ok(Ok(true)) => {
            let bytes = page.current().await;
            connection::send_http(stream, &bytes).await
        }
        _ => Ok(()),
    }
}
