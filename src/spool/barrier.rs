//! Makes sled's flush reach the disk. With `memory` the only place with `unsafe` in this crate.
//!
//! sled 0.34 ends a flush with `sync_file_range(2)`, which writes neither the file's size
//! nor its extents nor the drive's cache; after a power cut the whole log can be gone. This
//! module defines the symbol itself and answers it with `fdatasync(2)`. An error goes back
//! to sled, which then refuses everything on that handle. Whether the linker really took
//! our symbol is proved at run time: [`calls`] must have moved after the first flush.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use libc::{c_int, c_uint, off64_t};

static CALLS: AtomicU64 = AtomicU64::new(0);

/// How often sled has asked for a sync since the process started.
pub(super) fn calls() -> u64 {
    CALLS.load(Ordering::Relaxed)
}

/// Takes the place of the C library's function of this name; called by sled only.
#[unsafe(no_mangle)]
extern "C" fn sync_file_range(fd: c_int, _: off64_t, _: off64_t, _: c_uint) -> c_int {
    CALLS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: fdatasync takes any integer; a bad descriptor is answered with EBADF.
    unsafe { libc::fdatasync(fd) }
}

/// Has every sync of an open file fail from now on, as that of a disk that is gone.
#[cfg(test)]
pub(super) fn fail_syncs(descriptor: c_int) {
    use std::os::fd::AsRawFd;
    let other = std::fs::File::open("/dev/null").unwrap();
    // SAFETY: dup2 takes any integers; what reads and writes the file meets `/dev/null`.
    let replaced = unsafe { libc::dup2(other.as_raw_fd(), descriptor) };
    assert_eq!(replaced, descriptor);
}
