//! The HTTP server of the metrics.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use tokio::io::ReadBuf;

use super::connection::Stream;
use super::metrics;
use super::page::Page;

/// Maximum size of a request head, bytes.
const MAX_HEAD: usize = 16 << 10;

/// Reads one request of a client and answers it.
pub(super) async fn serve(stream: Box<dyn Stream>, page: Arc<Page>) -> io::Result<()> {
    let service = service_fn(|request| answer(request, Arc::clone(&page)));
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(MAX_HEAD)
        .serve_connection(HyperStream(stream), service);
    connection.await.map_err(io::Error::other)
}

async fn answer(
    request: Request<Incoming>,
    page: Arc<Page>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        let allowed = hyper::header::HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(ALLOW, allowed);
        return Ok(response);
    }
    if !matches!(request.uri().path(), "/" | "/metrics") {
        return Ok(plain(
            StatusCode::NOT_FOUND,
            "the metrics are at /metrics\n",
        ));
    }
    let accept = request.headers().get_all(ACCEPT).iter();
    let mut accept = accept.filter_map(|value| value.to_str().ok());
    let text = page.current().await;
    Ok(
        match accept.any(|value| value.contains("application/openmetrics-text")) {
            true => {
                let text = metrics::open_metrics(&String::from_utf8_lossy(&text));
                with_type(StatusCode::OK, metrics::OPEN_METRICS, text.into())
            }
            false => with_type(StatusCode::OK, metrics::TEXT, Bytes::copy_from_slice(&text)),
        },
    )
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    with_type(status, "text/plain; charset=utf-8", text.into())
}

fn with_type(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// Adapts a stream of tokio to the interface of hyper.
struct HyperStream(Box<dyn Stream>);

impl Read for HyperStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = [0; 4096];
        let size = bytes.len().min(buffer.remaining());
        let mut read = ReadBuf::new(&mut bytes[..size]);
        ready!(Pin::new(&mut *self.0).poll_read(context, &mut read))?;
        buffer.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl Write for HyperStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(context)
    }
}
