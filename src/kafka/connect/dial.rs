//! The TCP connection: every address of a name in turn, and what the kernel is told about it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

use super::{ConnectError, Step, Trace};
use crate::config::{HostPort, KafkaConfig};

/// Bytes the kernel may take from us beyond what it can send now. Small, so that bytes
/// taken mean bytes sent and the request deadline sees a slow link as alive.
const NOT_SENT_LOW_WATER: u32 = 128 << 10;

/// Idle time before the first keepalive probe, and between probes: a broker that vanished
/// while nothing was sent is noticed within about a minute.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Tries every address of the name in turn, each within its share of the time.
pub(super) async fn dial(
    config: &KafkaConfig,
    to: &HostPort,
    deadline: Instant,
    trace: &mut Trace,
) -> Result<TcpStream, ConnectError> {
    let host = || to.host.clone();
    let found = tokio::net::lookup_host((to.host.as_str(), to.port)).await;
    let found = found.map_err(|source| ConnectError::Resolve {
        host: host(),
        source,
    })?;
    let addresses: Vec<SocketAddr> = found.collect();
    trace.step = Step::Tcp;
    trace.addresses.clone_from(&addresses);
    let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    let mut failure = ConnectError::NoAddress { host: host() };
    for address in addresses {
        let share = deadline.saturating_duration_since(Instant::now()) / left.max(1);
        left = left.saturating_sub(1);
        let tried = timeout(share, tcp_to(config, address)).await;
        let tried = tried.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        match tried {
            Ok(stream) => {
                trace.peer = Some(address);
                return Ok(stream);
            }
            Err(source) => failure = ConnectError::Tcp { address, source },
        }
    }
    Err(failure)
}

async fn tcp_to(config: &KafkaConfig, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    if let Some(bytes) = config.send_buffer {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = config.receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    let stream = socket.connect(address).await?;
    // Without it 9 to 60 kB requests wait 44 ms for a delayed ACK (measured).
    stream.set_nodelay(true)?;
    let tuned = SockRef::from(&stream);
    tuned.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(KEEPALIVE)
            .with_interval(KEEPALIVE)
            .with_retries(2),
    )?;
    tuned.set_tcp_user_timeout(Some(config.request_timeout))?;
    tuned.set_tcp_notsent_lowat(NOT_SENT_LOW_WATER)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn kernel_buffers_have_the_size_that_is_asked_for() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut config = KafkaConfig::new(Vec::new());
        config.send_buffer = Some(64 << 10);
        config.receive_buffer = Some(48 << 10);
        let address = listener.local_addr().unwrap();
        let stream = tcp_to(&config, address).await.unwrap();
        let socket = SockRef::from(&stream);
        // The kernel takes twice as much, for its own accounts (socket(7)).
        assert_eq!(socket.send_buffer_size().unwrap(), 128 << 10);
        assert_eq!(socket.recv_buffer_size().unwrap(), 96 << 10);
    }
}
