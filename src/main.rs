//! The `spoolway` binary: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    spoolway::memory::keep_small();
    spoolway::cli::main(std::env::args_os())
}
