//! Whether the files of a TLS session are still those that it was made with.
//!
//! By inode, size and time of change, so that nothing is read in vain.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::{PemSource, SecretSource, TlsConfig};

/// Inode, size, and last change in seconds and nanoseconds; `None` when it is not there.
type Mark = Option<(u64, u64, i64, i64)>;

/// The state of every file that a configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kafka) struct Files(Vec<Mark>);

impl Files {
    /// Looks now; `None` when no file is named.
    pub(in crate::kafka) fn of(config: &TlsConfig) -> Option<Self> {
        let identity = config.identity.as_ref();
        let sources = config.ca.iter();
        let sources = sources.chain(identity.map(|i| &i.certificate));
        let sources = sources.chain(identity.map(|i| &i.key));
        let paths = sources.filter_map(path).chain(config.crl_file.as_deref());
        let marks: Vec<Mark> = paths.map(mark).collect();
        (!marks.is_empty()).then_some(Self(marks))
    }
}

fn path(source: &PemSource) -> Option<&Path> {
    match source {
        PemSource::File(path) | PemSource::Text(SecretSource::File(path)) => {
            Some(PathBuf::as_path(path))
        }
        PemSource::Text(_) => None,
    }
}

fn mark(path: &Path) -> Mark {
    let found = std::fs::metadata(path).ok()?;
    Some((found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
}
