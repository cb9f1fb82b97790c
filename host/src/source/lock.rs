//! Locks that keep two programs from writing one image, and a reader from reading
//! what another program writes: those of QEMU, so that it and we see each other's.
//!
//! A program holds *permissions* on a file and says which it does not *share*. Each
//! permission is a byte of the file: the byte at 100 + permission is locked (shared)
//! by whoever holds it, the byte at 200 + permission by whoever does not share it.
//! Whoever wants a permission looks for foreign locks in the second row; whoever will
//! not share one, in the first. The locks belong to the open file (OFD locks) and go
//! with it. Where the file system has none, there is nothing to do.

use std::fs::File;
use std::io;

use fumehood_core::Access;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

const HELD: i64 = 100;
const NOT_SHARED: i64 = 200;

const CONSISTENT_READ: i64 = 0;
const WRITE: i64 = 1;
const RESIZE: i64 = 3;

/// No image is read while another program writes it, and none is written by two.
const EXCLUSIVE: [i64; 2] = [WRITE, RESIZE];

/// The locks that an open file holds.
#[derive(Debug)]
pub(super) struct Locks {
    held: bool,
}

impl Locks {
    /// Takes the locks for `access`.
    ///
    /// # Errors
    /// [`io::ErrorKind::ResourceBusy`] where another open file's locks do not go with
    /// them.
    pub(super) fn take(file: &File, access: Access) -> io::Result<Self> {
        let wanted: &[i64] = match access {
            Access::Read => &[CONSISTENT_READ],
            Access::ReadWrite => &[CONSISTENT_READ, WRITE, RESIZE],
        };
        // Taken first and looked at then, so that of two that come at once at least
        // one sees the other.
        for place in places(wanted) {
            match set(file, place, libc::F_RDLCK) {
                Ok(()) => {}
                Err(Errno::EAGAIN | Errno::EACCES) => return Err(busy(access)),
                Err(_) => return Ok(Self { held: false }),
            }
        }
        let conflicts = wanted.iter().map(|permission| NOT_SHARED + permission);
        for place in conflicts.chain(EXCLUSIVE.map(|permission| HELD + permission)) {
            if is_locked(file, place) {
                return Err(busy(access));
            }
        }
        Ok(Self { held: true })
    }

    /// Gives up the permission to write; the rest stays.
    pub(super) fn share_for_reading(&self, file: &File) {
        if self.held {
            for permission in EXCLUSIVE {
                // Unlocking what is locked cannot fail.
                let _ = set(file, HELD + permission, libc::F_UNLCK);
            }
        }
    }
}

/// The bytes to lock for these permissions.
fn places(wanted: &[i64]) -> impl Iterator<Item = i64> {
    let held = wanted.iter().map(|permission| HELD + permission);
    held.chain(EXCLUSIVE.map(|permission| NOT_SHARED + permission))
}

fn busy(access: Access) -> io::Error {
    let what = match access {
        Access::Read => "another program writes it; stop that program first",
        Access::ReadWrite => {
            "another program uses it, and it must have no other user while it is written; stop \
             that program first"
        }
    };
    io::Error::new(io::ErrorKind::ResourceBusy, what)
}

fn region(place: i64, kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: place,
        l_len: 1,
        l_pid: 0,
    }
}

fn set(file: &File, place: i64, kind: libc::c_int) -> nix::Result<()> {
    fcntl(file, FcntlArg::F_OFD_SETLK(&region(place, kind))).map(drop)
}

/// Whether another open file has locked the byte at `place`.
fn is_locked(file: &File, place: i64) -> bool {
    let mut found = region(place, libc::F_WRLCK);
    match fcntl(file, FcntlArg::F_OFD_GETLK(&mut found)) {
        Ok(_) => i32::from(found.l_type) != libc::F_UNLCK,
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::FileSource;

    #[test]
    fn one_writes_or_many_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        std::fs::write(&path, "bytes").unwrap();
        let open = |access| FileSource::open(&path, access);
        let reader = open(Access::Read).unwrap();
        let second = open(Access::Read).unwrap();
        let refused = open(Access::ReadWrite).unwrap_err().to_string();
        assert!(refused.contains("another program uses it"), "{refused}");
        drop((reader, second));
        let writer = open(Access::ReadWrite).unwrap();
        assert!(open(Access::ReadWrite).is_err());
        let refused = open(Access::Read).unwrap_err().to_string();
        assert!(refused.contains("another program writes it"), "{refused}");
        writer.share_for_reading();
        open(Access::Read).unwrap();
        assert!(open(Access::ReadWrite).is_err(), "it is read by the first one still");
    }
}
