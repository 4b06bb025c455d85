//! The messages of a SASL login; what is in them is the mechanism's.

use super::Read;
use super::put::{put_len, put_string};
use crate::kafka::read::Reader;

request!(SaslToken => SaslAnswer, SaslAuthenticate, 0..=1);
request!(SaslHello => SaslMechanisms, SaslHandshake, 1..=1);

/// Names the SASL mechanism.
#[derive(Debug)]
pub(in crate::kafka) struct SaslHello {
    pub(in crate::kafka) mechanism: &'static str,
}

impl SaslHello {
    fn write(&self, out: &mut Vec<u8>, _version: i16) {
        put_string(out, self.mechanism);
    }
}

/// The answer to [`SaslHello`].
#[derive(Debug, PartialEq)]
pub(in crate::kafka) struct SaslMechanisms {
    pub(in crate::kafka) code: i16,
    pub(in crate::kafka) mechanisms: Vec<String>,
}

impl SaslMechanisms {
    fn read(r: &mut Reader<'_>, _version: i16) -> Read<Self> {
        let code = r.i16()?;
        let mut mechanisms = Vec::new();
        for _ in 0..r.len()? {
            mechanisms.push(r.string()?);
        }
        Ok(Self { code, mechanisms })
    }
}

/// A step of the SASL exchange. Holds a secret; no `Debug`.
pub(in crate::kafka) struct SaslToken(pub(in crate::kafka) zeroize::Zeroizing<Vec<u8>>);

impl SaslToken {
    fn write(&self, out: &mut Vec<u8>, _version: i16) {
        put_len(out, self.0.len());
        out.extend_from_slice(&self.0);
    }
}

/// The answer to [`SaslToken`].
#[derive(Debug, PartialEq)]
pub(in crate::kafka) struct SaslAnswer {
    pub(in crate::kafka) code: i16,
    pub(in crate::kafka) message: Option<String>,
    pub(in crate::kafka) token: Vec<u8>,
    /// The login is good for so long; 0 = without end. KIP-368.
    pub(in crate::kafka) lifetime_ms: i64,
}

impl SaslAnswer {
    fn read(r: &mut Reader<'_>, version: i16) -> Read<Self> {
        let code = r.i16()?;
        let message = r.nullable()?;
        let length = r.len()?;
        let token = r.bytes(length)?.to_vec();
        let lifetime_ms = if version >= 1 { r.i64()? } else { 0 };
        Ok(Self {
            code,
            message,
            token,
            lifetime_ms,
        })
    }
}
