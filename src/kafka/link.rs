//! The byte stream under a broker connection, with a pulse.
//!
//! Plain TCP or TLS. Notes when bytes last moved and when the peer is gone, so that the
//! owner can tell a slow link from a dead one. Opens nothing; see `connect`.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{self, AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::client::TlsStream;

/// Signs of life of a link.
#[derive(Debug)]
pub(super) struct Pulse {
    born: Instant,
    /// Milliseconds after `born` at which bytes moved last, in either direction.
    moved_ms: AtomicU64,
    closed: AtomicBool,
    on_close: Notify,
}

impl Pulse {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            born: Instant::now(),
            moved_ms: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            on_close: Notify::new(),
        })
    }

    /// When bytes moved last.
    pub(super) fn moved_at(&self) -> Instant {
        self.born + Duration::from_millis(self.moved_ms.load(Ordering::Relaxed))
    }

    /// Whether the peer has closed, or the link has failed.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Returns once the link is closed.
    pub(super) async fn closed(&self) {
        let notified = self.on_close.notified();
        if !self.is_closed() {
            notified.await;
        }
    }

    fn moved(&self) {
        let ms = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved_ms.store(ms, Ordering::Relaxed);
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.on_close.notify_waiters();
    }
}

#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A stream with its pulse.
#[derive(Debug)]
pub(super) struct Link {
    stream: Stream,
    pulse: Arc<Pulse>,
}

impl Link {
    pub(super) fn new(stream: Stream, pulse: Arc<Pulse>) -> Self {
        Self { stream, pulse }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.pulse.close();
    }
}

impl AsyncRead for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        match &polled {
            Poll::Ready(Ok(())) if buf.filled().len() > before => self.pulse.moved(),
            Poll::Ready(_) => self.pulse.close(),
            Poll::Pending => {}
        }
        polled
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(&mut *stream)
                .poll_write(cx, bytes)
                .map_err(|failure| last_words(stream, cx, failure)),
        };
        match &polled {
            Poll::Ready(Ok(_)) => self.pulse.moved(),
            Poll::Ready(Err(_)) => self.pulse.close(),
            Poll::Pending => {}
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(&mut *stream)
                .poll_flush(cx)
                .map_err(|failure| last_words(stream, cx, failure)),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// Why the peer ended the connection, when it said so before a write failed. A TLS 1.3 server
/// tells its verdict on our certificate after our side of the handshake is done (RFC 8446,
/// 4.4.2.4); when it closes at once, our next write may fail while its alert is still unread.
fn last_words<S: AsyncRead + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    failure: io::Error,
) -> io::Error {
    use io::ErrorKind::{BrokenPipe, ConnectionReset};
    if !matches!(failure.kind(), BrokenPipe | ConnectionReset) {
        return failure;
    }
    let mut scrap = [0; 512];
    match Pin::new(stream).poll_read(cx, &mut ReadBuf::new(&mut scrap)) {
        Poll::Ready(Err(said)) if is_of_tls(&said) => said,
        _ => failure,
    }
}

fn is_of_tls(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|inner| inner.is::<rustls::Error>())
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use rustls::AlertDescription::CertificateRequired;

    use super::*;

    /// What is left to read of a stream.
    struct Rest(Option<rustls::Error>);

    impl AsyncRead for Rest {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let alert = |error| io::Error::new(io::ErrorKind::InvalidData, error);
            Poll::Ready(self.0.take().map_or(Ok(()), |error| Err(alert(error))))
        }
    }

    #[test]
    fn the_alert_behind_a_broken_pipe_is_what_is_told() {
        let mut cx = Context::from_waker(Waker::noop());
        let alert = rustls::Error::AlertReceived(CertificateRequired);
        let mut told = |kind: io::ErrorKind, rest| {
            let told = last_words(&mut Rest(rest), &mut cx, kind.into());
            is_of_tls(&told)
        };
        assert!(told(io::ErrorKind::BrokenPipe, Some(alert.clone())));
        assert!(told(io::ErrorKind::ConnectionReset, Some(alert.clone())));
        assert!(!told(io::ErrorKind::BrokenPipe, None), "a plain end");
        assert!(!told(io::ErrorKind::TimedOut, Some(alert)));
    }
}
