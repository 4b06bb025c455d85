//! Exit codes of the `spoolway` binary, as sysexits(3) names them. Scripts rely on them.

/// Done as asked.
pub const OK: u8 = 0;
/// `EX_USAGE`: the command line is wrong.
pub const USAGE: u8 = 64;
/// `EX_UNAVAILABLE`: the daemon does not run, or refused the request.
pub const UNAVAILABLE: u8 = 69;
/// `EX_SOFTWARE`: something that should not happen.
pub const SOFTWARE: u8 = 70;
/// `EX_TEMPFAIL`: the events are not durable; send them again later.
pub const TEMPFAIL: u8 = 75;
/// `EX_CONFIG`: the configuration is refused.
pub const CONFIG: u8 = 78;
