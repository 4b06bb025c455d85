//! The word to stop, heard by every task of the inputs.

use tokio::sync::watch;

/// Asks all [`Stop`]s made from it to end, once dropped or told.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// Hears when the inputs are to stop.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

/// A fresh pair.
pub fn stopper() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    /// Asks.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Whether a stop was asked for.
    pub fn is_asked(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once a stop was asked for, or nobody is left to ask.
    pub async fn asked(&mut self) {
        let _ = self.0.wait_for(|asked| *asked).await;
    }
}
