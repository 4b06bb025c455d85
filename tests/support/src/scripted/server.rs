//! The sockets: a thread per broker that accepts, a thread per connection.
//!
//! A connection answers its requests one by one and in order, as a broker does.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::answer::{Reply, answer};
use super::state::State;

/// `socket.request.max.bytes` of a broker by default.
const MAX_FRAME: usize = 100 << 20;
/// How often an idle connection looks whether its broker is still up.
const POLL: Duration = Duration::from_millis(20);

/// The state and the bell that rings when it changes.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    pub(super) fn new(state: State) -> Self {
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// A closure of a test may have panicked under the lock; the state is still whole.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn notify(&self) {
        self.changed.notify_all();
    }

    /// Waits until `done` says so; false when `deadline` comes first.
    pub(super) fn wait_until(&self, deadline: Instant, done: impl Fn(&State) -> bool) -> bool {
        let mut state = self.lock();
        loop {
            if done(&state) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let woken = self.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Binds a listener and serves `broker` on it until its generation changes.
pub(super) fn listen(shared: &Arc<Shared>, broker: i32, listener: TcpListener, generation: u64) {
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let mut state = shared.lock();
            if !alive(&state, broker, generation) {
                return;
            }
            state.connections += 1;
            let connection = state.connections;
            *state.open_connections.entry(broker).or_default() += 1;
            drop(state);
            shared.notify();
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                serve(&shared, broker, connection, generation, &stream);
                let _ = stream.shutdown(Shutdown::Both);
                if let Some(open) = shared.lock().open_connections.get_mut(&broker) {
                    *open -= 1;
                }
                shared.notify();
            });
        }
    });
}

/// Wakes an accepting thread so that it sees that its generation is over.
pub(super) fn wake(address: SocketAddr) {
    let _ = TcpStream::connect_timeout(&address, Duration::from_secs(1));
}

fn alive(state: &State, broker: i32, generation: u64) -> bool {
    let broker = state.brokers.get(&broker);
    !state.stopping && broker.is_some_and(|b| b.up && b.generation == generation)
}

fn serve(shared: &Shared, broker: i32, connection: u64, generation: u64, stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    if stream.set_read_timeout(Some(POLL)).is_err() {
        return;
    }
    let live = || alive(&shared.lock(), broker, generation);
    let mut silent = false;
    while let Some(frame) = read_frame(stream, &live) {
        let mut state = shared.lock();
        if !alive(&state, broker, generation) {
            return;
        }
        if silent {
            continue;
        }
        let reply = answer(&mut state, broker, connection, &frame);
        drop(state);
        shared.notify();
        match reply {
            Reply::Silence => silent = true,
            Reply::Nothing => {}
            Reply::Close => return,
            Reply::Send {
                bytes,
                after,
                close,
            } => {
                let until = Instant::now() + after;
                shared.wait_until(until, |state| !alive(state, broker, generation));
                if !live() || (&mut &*stream).write_all(&bytes).is_err() || close {
                    return;
                }
            }
        }
    }
}

/// One frame without its length; `None` at the end of the connection.
fn read_frame(stream: &TcpStream, live: &impl Fn() -> bool) -> Option<Bytes> {
    let mut prefix = [0; 4];
    read_exact(stream, &mut prefix, live)?;
    let length = usize::try_from(i32::from_be_bytes(prefix))
        .ok()
        .filter(|&n| n <= MAX_FRAME)?;
    let mut frame = vec![0; length];
    read_exact(stream, &mut frame, live)?;
    Some(Bytes::from(frame))
}

fn read_exact(mut stream: &TcpStream, mut into: &mut [u8], live: &impl Fn() -> bool) -> Option<()> {
    while !into.is_empty() {
        match stream.read(into) {
            Ok(0) => return None,
            Ok(n) => into = &mut into[n..],
            Err(e)
                if matches!(
                    e.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) => {}
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
        if !live() {
            return None;
        }
    }
    Some(())
}
