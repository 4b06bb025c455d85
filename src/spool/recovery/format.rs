//! The file `format`: which release's layout the directory has. Touches nothing else.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::spool::error::{OpenError, io_at};

/// The format this release writes, and the newest it reads.
const FORMAT: u32 = 1;
/// Checks or writes the file that names the format. Touches nothing when it is not ours.
pub(in crate::spool) fn check_format(dir: &Path) -> Result<bool, OpenError> {
    let path = dir.join("format");
    match fs::read_to_string(&path) {
        Ok(text) => {
            let version = text.strip_prefix("spoolway spool ").map(str::trim_end);
            match version.and_then(|v| v.parse::<u32>().ok()) {
                Some(FORMAT) => Ok(false),
                Some(found) if found > FORMAT => Err(OpenError::NewerFormat {
                    found,
                    known: FORMAT,
                }),
                // A power cut right after the first start leaves an empty file.
                None if text.is_empty() => Ok(true),
                _ => Err(OpenError::NotASpool { path }),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(OpenError::NotASpool { path })
        }
        Err(source) => Err(OpenError::Io { path, source }),
    }
}

/// Writes the format file, durably.
pub(in crate::spool) fn write_format(dir: &Path) -> Result<(), OpenError> {
    let path = dir.join("format");
    let write = || {
        fs::write(&path, format!("spoolway spool {FORMAT}\n"))?;
        File::open(&path)?.sync_all()?;
        File::open(dir)?.sync_all()?;
        match dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    };
    write().map_err(io_at(&path))
}
