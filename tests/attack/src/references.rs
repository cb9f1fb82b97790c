//! Asking the host for what was not granted, and for more of it than is good.

use alloc::format;

use fumehood_plugin::{Access, Error, Host, Result, Source, SourceHandle};

/// Carries out the attack of this name at open, if it is one of these.
///
/// # Errors
/// The host's refusal; [`Error::Unsupported`] with what the attack came to.
pub fn open(
    attack: &str,
    reference: &str,
    main: &SourceHandle,
    host: &dyn Host,
    scratch: Option<&dyn Source>,
) -> Result<()> {
    match attack {
        "reference" => host.open(reference, Access::Read).map(drop),
        "reference-write" => host.open(reference, Access::ReadWrite)?.write(0, b"attacked"),
        "write-main" => main.write(0, b"attacked"),
        "resize-main" => main.resize(1 << 60),
        "empty-write" => {
            main.write(u64::MAX, b"")?;
            Err(Error::Unsupported(format!("the size is now {}", main.size())))
        }
        "scratch" => {
            scratch.ok_or(Error::NoSpace)?.write(1 << 40, b"a terabyte on")?;
            Err(Error::Unsupported("the scratch took it".into()))
        }
        "read-past-end" => main.read(u64::MAX, 2).map(drop),
        "read-giant" => main.read(0, u32::MAX as usize).map(drop),
        "declare-giants" => declare_giants(host),
        _ => Ok(()),
    }
}

/// Opens one source under thousands of names, as far as the host lets it, and goes on
/// as if nothing had happened.
pub fn open_many(reference: &str, host: &dyn Host) {
    let mut names = (0..6000).map(|number| format!("{number}/../{reference}"));
    while names.next().is_some_and(|name| host.open(&name, Access::Read).is_ok()) {}
}

/// A source that is named but not opened, for extents that lie in it; 0 without.
///
/// # Errors
/// The host's refusal.
pub fn declared(attack: &str, reference: &str, host: &dyn Host) -> Result<u32> {
    if attack.starts_with("declared") { host.declare(reference) } else { Ok(0) }
}

/// Declares one giant name after the other, until the host says no.
fn declare_giants(host: &dyn Host) -> Result<()> {
    let mut name = "x".repeat(1 << 20);
    for number in 0_u64.. {
        name.replace_range(..20, &format!("{number:020}"));
        host.declare(&name)?;
    }
    Ok(())
}
