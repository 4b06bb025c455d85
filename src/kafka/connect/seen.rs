//! The certificates of the last handshakes, for the status.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::config::HostPort;
use crate::config::certificate::Facts;
use crate::kafka::status::CertificateStatus;
use crate::kafka::tls::TlsSession;

/// Most certificates that the status shows: as many brokers as a big cluster has.
const SEEN_MAX: usize = 256;

/// By whose they are.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<BTreeMap<String, Facts>>);

impl Seen {
    /// Remembers those of a handshake with the broker at `to`.
    pub(super) fn note(&self, to: &HostPort, session: &TlsSession) {
        let known = [
            (format!("broker {to}"), &session.certificate),
            ("ours (ssl.certificate.location)".to_owned(), &session.ours),
            ("authority (ssl.ca.location)".to_owned(), &session.authority),
        ];
        // Poisoned only by a panic in here, which has none.
        let Ok(mut seen) = self.0.lock() else {
            return;
        };
        for (whose, facts) in known {
            if seen.len() >= SEEN_MAX && !seen.contains_key(&whose) {
                seen.pop_first();
            }
            if let Some(facts) = facts {
                seen.insert(whose, facts.clone());
            }
        }
    }

    pub(super) fn all(&self) -> Vec<CertificateStatus> {
        let Ok(seen) = self.0.lock() else {
            return Vec::new();
        };
        let all = seen.iter().map(|(whose, facts)| CertificateStatus {
            whose: whose.clone(),
            subject: facts.subject.clone(),
            not_after: facts.not_after,
        });
        all.collect()
    }
}
