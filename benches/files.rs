//! Log files as load: written at full speed while a daemon follows them.
//!
//! Measures nothing.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::Result;
use spoolway_test_support::daemon::Daemon;

use crate::common::event_line;

/// Events in one write.
const EVENTS_A_WRITE: u64 = 256;

/// Adds an input that follows `*.log` in `folder` to a daemon that is not started yet.
pub(crate) fn follow(daemon: &Daemon, folder: &Path) -> Result<()> {
    std::fs::create_dir(folder)?;
    let mut config = File::options().append(true).open(daemon.config())?;
    let include = format!("{}/*.log", folder.display());
    writeln!(
        config,
        "[[input]]\nname = \"logs\"\ntype = \"file\"\ninclude = [{include:?}]\n\
         start = \"beginning\""
    )?;
    Ok(())
}

/// Writes `events` events to `files` files in `folder`, a portion to each in turn.
pub(crate) fn write(folder: &Path, files: u64, events: u64) -> Result<()> {
    let names = (0..files).map(|number| folder.join(format!("{number}.log")));
    let open = |path| File::options().create(true).append(true).open(path);
    let mut open = names.map(open).collect::<std::io::Result<Vec<_>>>()?;
    let (mut bytes, mut written) = (Vec::new(), 0);
    while written < events {
        for file in &mut open {
            let count = EVENTS_A_WRITE.min(events - written);
            bytes.clear();
            (written..written + count).for_each(|at| event_line(at, &mut bytes));
            file.write_all(&bytes)?;
            written += count;
        }
    }
    Ok(())
}
