//! What an image may name: the one gate through which references are opened.
//!
//! By default a reference resolves to a file in the image's own folder, opened
//! read-only, beneath that folder by the kernel's own rules (`openat2` with
//! `RESOLVE_BENEATH`), so that neither `..` nor a symbolic link leads out of it, not
//! even one that is exchanged at the wrong moment. The operator grants more folders
//! or files with [`crate::OpenOptions::allow`]. A reference is a path and nothing else:
//! `json:{…}`, `nbd:…`, `ssh://…` and their kind are refused (CVE-2024-4467 was one).

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use fumehood_core::{Access, Grants, Source, SourceError};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use crate::error::{Error, Result};
use crate::source::FileSource;

/// What one image and its chain may open.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    roots: Arc<Vec<Root>>,
}

/// A folder beneath which references may resolve, or a single file.
#[derive(Debug)]
struct Root {
    path: PathBuf,
    folder: Option<File>,
}

impl Policy {
    /// Grants the folder of `image` (a canonical path) and what is in `allowed`.
    ///
    /// # Errors
    /// [`Error::Io`] for an allowed path that is not there.
    pub(crate) fn new(image: &Path, allowed: &[PathBuf]) -> Result<Self> {
        let mut roots = Vec::new();
        if let Some(folder) = image.parent() {
            roots.push(Root::open(folder)?);
        }
        for path in allowed {
            let shown = path.display();
            let path = path.canonicalize().map_err(Error::io(format!("cannot allow {shown}")))?;
            roots.push(Root::open(&path)?);
        }
        Ok(Self { roots: Arc::new(roots) })
    }

    /// The gate for references found in the image at `path`, for at most `access`.
    pub(crate) fn for_image(&self, path: &Path, access: Access) -> PolicyGrants {
        let folder = path.parent().unwrap_or(Path::new("/")).to_path_buf();
        PolicyGrants { policy: self.clone(), folder, access, opened: Mutex::default() }
    }

    /// Opens what `reference`, found in an image in `folder`, names.
    fn open(
        &self,
        folder: &Path,
        reference: &str,
        access: Access,
    ) -> Result<(PathBuf, File), SourceError> {
        let refuse = |why: &str| SourceError::NotGranted(format!("{reference:?} {why}"));
        if looks_like_protocol(reference) {
            return Err(refuse("is not a plain file name; references to protocols are refused"));
        }
        if reference.is_empty() || reference.contains('\0') {
            return Err(refuse("is not a file name"));
        }
        let Some(path) = normal(&folder.join(reference)) else {
            return Err(refuse("leads above the root of the file system"));
        };
        let mut nearest = None;
        for root in self.roots.iter() {
            if let Some(opened) = root.open_beneath(&path, access) {
                match opened {
                    Ok(file) => return Ok((path, file)),
                    Err(error) => nearest = Some(error),
                }
            }
        }
        Err(match nearest {
            Some(error) if error.raw_os_error() == Some(rustix::io::Errno::XDEV.raw_os_error()) => {
                refuse("leads out of its folder by a symbolic link; grant its target with --allow")
            }
            // Below a folder that is granted, and no file.
            Some(error) if error.kind() == io::ErrorKind::NotFound => {
                SourceError::Missing(format!("{path:?}: {error}"))
            }
            Some(error) if is_refusal(&error) => {
                SourceError::NotGranted(format!("{path:?}: {error}"))
            }
            // Too many open files, a failing disk: it may be there the next time.
            Some(error) => SourceError::Io(format!("{path:?}: {error}")),
            None => refuse(&format!(
                "({path:?}) lies outside the image's folder; grant it with --allow"
            )),
        })
    }
}

impl Root {
    fn open(path: &Path) -> Result<Self> {
        if !path.is_dir() {
            return Ok(Self { path: path.to_path_buf(), folder: None });
        }
        let folder = File::options()
            .read(true)
            .custom_flags((OFlags::DIRECTORY | OFlags::CLOEXEC).bits() as i32)
            .open(path)
            .map_err(Error::io(format!("cannot open the folder {}", path.display())))?;
        Ok(Self { path: path.to_path_buf(), folder: Some(folder) })
    }

    /// Opens `path` if it lies beneath this root; `None` if it does not.
    fn open_beneath(&self, path: &Path, access: Access) -> Option<io::Result<File>> {
        let rest = path.strip_prefix(&self.path).ok()?;
        let mode = match access {
            Access::Read => OFlags::RDONLY,
            Access::ReadWrite => OFlags::RDWR,
        };
        let flags = mode | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let opened = match &self.folder {
            Some(folder) => {
                let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
                openat2(folder, rest, flags, Mode::empty(), beneath)
            }
            None => rustix::fs::open(&self.path, flags | OFlags::NOFOLLOW, Mode::empty()),
        };
        Some(opened.map(File::from).map_err(io::Error::from))
    }
}

/// Whether the operating system keeps this user from a file, for good.
fn is_refusal(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let refusals = [Errno::ACCESS, Errno::PERM, Errno::LOOP, Errno::NOTDIR, Errno::ISDIR];
    error.raw_os_error().is_some_and(|code| refusals.iter().any(|one| one.raw_os_error() == code))
}

/// Whether a reference names a protocol (`json:`, `nbd:`, `https://`), as QEMU's
/// block layer would read it, and not a file. A colon behind a slash is a file's.
fn looks_like_protocol(reference: &str) -> bool {
    let Some((scheme, _)) = reference.split_once(':') else { return false };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_');
    !scheme.is_empty() && scheme.chars().all(plain)
}

/// The path without `.` and `..`, by its letters alone; `None` above the root.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                if !normal.pop() {
                    return None;
                }
            }
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    Some(normal)
}

/// The gate as the core sees it, for one image.
pub(crate) struct PolicyGrants {
    policy: Policy,
    folder: PathBuf,
    access: Access,
    /// What is open, by device, inode and access: a file has one descriptor, however
    /// many names lead to it.
    opened: Mutex<HashMap<(u64, u64, bool), Weak<FileSource>>>,
}

impl PolicyGrants {
    /// Opens a parent: its path, for what it names in its turn, and its source.
    pub(crate) fn open_parent(
        &self,
        reference: &str,
    ) -> Result<(PathBuf, FileSource), SourceError> {
        let (path, file) = self.policy.open(&self.folder, reference, Access::Read)?;
        let source = source(&path, file, Access::Read)?;
        Ok((path, source))
    }
}

impl Grants for PolicyGrants {
    fn open(&self, reference: &str, access: Access) -> Result<Arc<dyn Source>, SourceError> {
        if access == Access::ReadWrite && self.access == Access::Read {
            return Err(SourceError::ReadOnly(format!("{reference:?}")));
        }
        let (path, file) = self.policy.open(&self.folder, reference, access)?;
        let metadata = file.metadata().map_err(|error| SourceError::Io(error.to_string()))?;
        let key = (metadata.dev(), metadata.ino(), access == Access::ReadWrite);
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = opened.get(&key).and_then(Weak::upgrade) {
            return Ok(known);
        }
        let source = Arc::new(source(&path, file, access)?);
        // What was closed again is forgotten, now and then.
        if opened.len() == opened.capacity() {
            opened.retain(|_, known| known.strong_count() > 0);
        }
        opened.insert(key, Arc::downgrade(&source));
        Ok(source)
    }
}

fn source(path: &Path, file: File, access: Access) -> Result<FileSource, SourceError> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    FileSource::from_file(&name, file, access)
        .map_err(|error| SourceError::Io(format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    struct Folder {
        _kept: tempfile::TempDir,
        inner: PathBuf,
    }

    /// A folder `images` with files, beside a secret and a granted folder.
    fn folder() -> Folder {
        let kept = tempfile::tempdir().unwrap();
        let root = kept.path().canonicalize().unwrap();
        let inner = root.join("images");
        fs::create_dir(&inner).unwrap();
        fs::create_dir(root.join("granted")).unwrap();
        fs::write(root.join("secret"), "secret").unwrap();
        fs::write(root.join("granted/base"), "base").unwrap();
        fs::write(inner.join("base"), "base").unwrap();
        fs::write(inner.join("a:b"), "colon").unwrap();
        symlink("base", inner.join("inside")).unwrap();
        symlink("../secret", inner.join("outside")).unwrap();
        symlink("/etc/passwd", inner.join("absolute")).unwrap();
        Folder { _kept: kept, inner }
    }

    fn open(folder: &Folder, allowed: &[PathBuf], reference: &str) -> Result<(), SourceError> {
        let image = folder.inner.join("image");
        let policy = Policy::new(&image, allowed).unwrap();
        policy.for_image(&image, Access::Read).open(reference, Access::Read).map(drop)
    }

    #[test]
    fn references_stay_in_the_images_folder() {
        let folder = folder();
        let inside = folder.inner.join("base");
        for reference in ["base", "./base", "inside", "x/../base", inside.to_str().unwrap()] {
            assert_eq!(open(&folder, &[], reference), Ok(()), "{reference}");
        }
        for reference in ["outside", "absolute", "../secret", "/etc/passwd", "../../..", ""] {
            let refused = open(&folder, &[], reference);
            assert!(matches!(refused, Err(SourceError::NotGranted(_))), "{reference} {refused:?}");
        }
    }

    #[test]
    fn references_to_protocols_are_refused() {
        let folder = folder();
        for reference in [
            "json:{\"driver\":\"file\",\"filename\":\"/etc/passwd\"}",
            "nbd:localhost:10809",
            "https://host/base",
            "file:/etc/passwd",
            "fat:rw:/tmp",
        ] {
            let refused =
                open(&folder, std::slice::from_ref(&folder.inner), reference).unwrap_err();
            assert!(refused.to_string().contains("protocols are refused"), "{refused}");
        }
        assert_eq!(open(&folder, &[], "./a:b"), Ok(()), "a slash makes it a file's name");
    }

    #[test]
    fn the_operator_grants_more() {
        let folder = folder();
        let granted = folder.inner.join("../granted");
        assert!(open(&folder, &[], "../granted/base").is_err());
        assert_eq!(open(&folder, std::slice::from_ref(&granted), "../granted/base"), Ok(()));
        assert_eq!(open(&folder, &[granted.join("base")], "../granted/base"), Ok(()));
        assert!(open(&folder, &[granted.join("base")], "../granted/other").is_err());
    }

    #[test]
    fn a_named_pipe_does_not_hold_the_host_up() {
        let folder = folder();
        let pipe = folder.inner.join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, Mode::RUSR).unwrap();
        assert!(open(&folder, &[], "pipe").is_err());
    }
}
