//! Exit codes of the `spoolway` binary, as sysexits(3) names them. Scripts rely on them.

use crate::kafka::doctor::Kind;

/// Done as asked.
pub const OK: u8 = 0;
/// `EX_USAGE`: the command line is wrong.
pub const USAGE: u8 = 64;
/// `EX_UNAVAILABLE`: the daemon or the cluster does not answer, or refused the request.
pub const UNAVAILABLE: u8 = 69;
/// `EX_SOFTWARE`: the daemon cannot start or go on; a file or a stream failed.
pub const SOFTWARE: u8 = 70;
/// `EX_TEMPFAIL`: events were refused or are not durable; send them again later.
pub const TEMPFAIL: u8 = 75;
/// `EX_CONFIG`: the configuration is refused.
pub const CONFIG: u8 = 78;
/// `EX_DATAERR`: `kafka test`: a topic takes less than is sent, a setting is beyond what the
/// brokers allow, or the clocks differ.
pub const WRONG_DATA: u8 = 65;
/// `EX_NOINPUT`: `kafka test`: a topic does not exist.
pub const NO_TOPIC: u8 = 66;
/// `EX_NOUSER`: `kafka test`: the login is refused.
pub const NO_LOGIN: u8 = 67;
/// `EX_NOHOST`: `kafka test`: a name does not resolve.
pub const NO_HOST: u8 = 68;
/// `EX_PROTOCOL`: `kafka test`: TLS failed, or the other side is no Kafka of this protocol.
pub const PROTOCOL: u8 = 76;
/// `EX_NOPERM`: `kafka test`: a right is missing.
pub const NO_PERMISSION: u8 = 77;

/// The exit code of `kafka test` for the first failure that it found.
pub(super) fn of_kind(kind: Kind) -> u8 {
    match kind {
        Kind::Name => NO_HOST,
        Kind::Connection | Kind::Listener => UNAVAILABLE,
        Kind::Handshake => PROTOCOL,
        Kind::Login => NO_LOGIN,
        Kind::Topic => NO_TOPIC,
        Kind::Permission => NO_PERMISSION,
        Kind::Size | Kind::Setting | Kind::Clock => WRONG_DATA,
        Kind::Partition | Kind::Time => TEMPFAIL,
    }
}
