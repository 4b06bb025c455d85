//! A value that was fetched and is good for a while: a token, temporary credentials.
//!
//! Concurrent logins wait for one fetch. Nothing is renewed in the background.

use std::time::{Duration, SystemTime};

use tokio::sync::Mutex;

/// Part of a value's time in which it is used again; the rest is for the login it is for.
const USED_OF_TIME: f64 = 0.8;

/// The value, with the time at which it is fetched anew.
#[derive(Debug)]
pub(super) struct Cache<T> {
    held: Mutex<Option<(T, SystemTime)>>,
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self {
            held: Mutex::new(None),
        }
    }
}

impl<T: Clone> Cache<T> {
    /// The value, fetched when there is none or its time is nearly over. What is fetched
    /// without an end of its time is not kept.
    pub(super) async fn get<E>(
        &self,
        fetch: impl Future<Output = Result<(T, Option<SystemTime>), E>>,
    ) -> Result<T, E> {
        let mut held = self.held.lock().await;
        let now = SystemTime::now();
        if let Some((value, until)) = held.as_ref()
            && *until > now
        {
            return Ok(value.clone());
        }
        let (value, end) = fetch.await?;
        let left = end.and_then(|end| end.duration_since(now).ok());
        let until = left.map(|left: Duration| now + left.mul_f64(USED_OF_TIME));
        *held = until.map(|until| (value.clone(), until));
        Ok(value)
    }

    /// Forgets the value, because the broker did not take it.
    pub(super) async fn forget(&self) {
        *self.held.lock().await = None;
    }
}
