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

type Tls = TlsStream<TcpStream>;

#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<Tls>),
}

/// A stream with its pulse.
#[derive(Debug)]
pub(super) struct Link {
    stream: Stream,
    pulse: Arc<Pulse>,
    ending: Ending,
}

impl Link {
    pub(super) fn new(stream: Stream, pulse: Arc<Pulse>) -> Self {
        Self {
            stream,
            pulse,
            ending: Ending::default(),
        }
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
        if let Poll::Ready(Err(failure)) = &polled {
            self.ending.said = of_tls(failure).cloned();
        }
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
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let link = self.get_mut();
        let polled = match &mut link.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => {
                let write =
                    |tls: &mut Tls, cx: &mut Context<'_>| Pin::new(tls).poll_write(cx, bytes);
                link.ending.told(&mut **stream, cx, write)
            }
        };
        match &polled {
            Poll::Ready(Ok(_)) => link.pulse.moved(),
            Poll::Ready(Err(_)) => link.pulse.close(),
            Poll::Pending => {}
        }
        polled
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let link = self.get_mut();
        match &mut link.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => {
                let flush = |tls: &mut Tls, cx: &mut Context<'_>| Pin::new(tls).poll_flush(cx);
                link.ending.told(&mut **stream, cx, flush)
            }
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
#[derive(Debug, Default)]
struct Ending {
    /// A write that failed while the runtime does not know yet what there is to read.
    failed: Option<io::Error>,
    /// The peer's words, once they are read.
    said: Option<rustls::Error>,
}

impl Ending {
    /// Writes, unless that has failed before; a failure is told in the peer's words, if it has
    /// any. A connection that is broken can be read to its end at once, so that is waited for.
    fn told<S: AsyncRead + Unpin, T>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        write: impl FnOnce(&mut S, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        use io::ErrorKind::{BrokenPipe, ConnectionReset};
        let failure = match self.failed.take() {
            Some(failure) => failure,
            None => match write(stream, cx) {
                Poll::Ready(Err(failure))
                    if matches!(failure.kind(), BrokenPipe | ConnectionReset) =>
                {
                    failure
                }
                other => return other,
            },
        };
        if let Some(said) = &self.said {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::InvalidData,
                said.clone(),
            )));
        }
        let mut scrap = [0; 512];
        match Pin::new(stream).poll_read(cx, &mut ReadBuf::new(&mut scrap)) {
            Poll::Pending => {
                self.failed = Some(failure);
                Poll::Pending
            }
            Poll::Ready(Err(said)) if of_tls(&said).is_some() => Poll::Ready(Err(said)),
            Poll::Ready(_) => Poll::Ready(Err(failure)),
        }
    }
}

fn of_tls(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use rustls::AlertDescription::CertificateRequired;

    use super::*;

    /// What is left to read of a stream; the runtime may hear of it a moment later.
    struct Rest {
        is_known: bool,
        said: Option<rustls::Error>,
    }

    impl AsyncRead for Rest {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if !std::mem::replace(&mut self.is_known, true) {
                return Poll::Pending;
            }
            let alert = |error| io::Error::new(io::ErrorKind::InvalidData, error);
            Poll::Ready(self.said.take().map_or(Ok(()), |error| Err(alert(error))))
        }
    }

    /// What is told of a write that fails so, and after how many waits.
    fn told(ending: &mut Ending, mut rest: Rest, kind: io::ErrorKind) -> (bool, u32) {
        let mut cx = Context::from_waker(Waker::noop());
        let mut waits = 0;
        loop {
            let write = |_: &mut Rest, _: &mut Context<'_>| Poll::Ready(Err::<(), _>(kind.into()));
            match ending.told(&mut rest, &mut cx, write) {
                Poll::Pending => waits += 1,
                Poll::Ready(told) => return (of_tls(&told.unwrap_err()).is_some(), waits),
            }
        }
    }

    #[test]
    fn the_alert_behind_a_broken_pipe_is_what_is_told() {
        let alert = rustls::Error::AlertReceived(CertificateRequired);
        let of = |is_known, said, kind| told(&mut Ending::default(), Rest { is_known, said }, kind);
        let alerted = || Some(alert.clone());
        assert_eq!(of(true, alerted(), io::ErrorKind::BrokenPipe), (true, 0));
        assert_eq!(
            of(true, alerted(), io::ErrorKind::ConnectionReset),
            (true, 0)
        );
        assert_eq!(of(false, alerted(), io::ErrorKind::BrokenPipe), (true, 1));
        assert_eq!(
            of(true, None, io::ErrorKind::BrokenPipe),
            (false, 0),
            "a plain end"
        );
        assert_eq!(of(true, alerted(), io::ErrorKind::TimedOut), (false, 0));
        // The reader's half was first.
        let mut ending = Ending {
            said: alerted(),
            ..Ending::default()
        };
        let rest = Rest {
            is_known: true,
            said: None,
        };
        assert_eq!(
            told(&mut ending, rest, io::ErrorKind::BrokenPipe),
            (true, 0)
        );
    }
}
