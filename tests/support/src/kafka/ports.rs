//! Ports of a broker: kept for it alone as long as it lives, also while it is down and against
//! other test runs on the host. Opens no listener.

use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::Listener;
use super::home::cache_root;

/// First ports: below the range that the kernel gives to outgoing connections
/// (`ip_local_port_range`, 32768 up), so that none is taken while the broker is down.
const FIRST: u16 = 15_000;
/// Ports of one broker, at least one for each listener.
const STEP: u16 = 16;
/// Brokers that find a place.
const PLACES: u16 = 1_000;

const _: () = assert!(Listener::ALL.len() <= STEP as usize);

/// Consecutive loopback ports, one for each listener.
#[derive(Debug, Clone)]
pub(super) struct Ports {
    ip: IpAddr,
    base: u16,
    /// Locked by whoever has these ports; the kernel unlocks it when that process dies.
    _held: Arc<File>,
}

impl Ports {
    /// Takes ports that no other broker of any test run has and nobody listens on.
    pub(super) fn choose(ip: IpAddr) -> Result<Self> {
        const TRIES: usize = 200;
        let folder = cache_root()?.join("ports");
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        for _ in 0..TRIES {
            let base = FIRST + STEP * fastrand::u16(..PLACES);
            let Some(held) = hold(&folder.join(base.to_string()))? else {
                continue;
            };
            let ports = Self {
                ip,
                base,
                _held: Arc::new(held),
            };
            let free = Listener::ALL
                .iter()
                .all(|&listener| TcpListener::bind(ports.address(listener)).is_ok());
            if free {
                return Ok(ports);
            }
        }
        bail!("no free ports on the loopback interface after {TRIES} tries")
    }

    pub(super) fn address(&self, listener: Listener) -> SocketAddr {
        SocketAddr::from((self.ip, self.base + listener as u16))
    }
}

/// The file with this process's lock on it; `None` when somebody else has it.
fn hold(path: &Path) -> Result<Option<File>> {
    let file = File::create(path).with_context(|| format!("making {}", path.display()))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("locking {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_kept_while_their_broker_is_down_and_given_back_when_it_is_gone() {
        let path = tempfile::tempdir().unwrap();
        let path = path.path().join("15000");
        let held = hold(&path).unwrap();
        assert!(held.is_some() && hold(&path).unwrap().is_none());
        drop(held);
        assert!(hold(&path).unwrap().is_some());
    }
}
