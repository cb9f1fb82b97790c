//! The VMA parser. Checksums are made right first, or nothing behind them would be
//! reached: of the header, and of every place where an extent seems to begin.
#![no_main]

use std::rc::Rc;

use fumehood_fuzz::Set;
use fumehood_plugin::{
    Confidence, Description, Format, Glimpse, Host, Image, OpenOptions, Result, SourceHandle,
};
use fumehood_vma::Vma;
use libfuzzer_sys::fuzz_target;
use md5::{Digest, Md5};

fuzz_target!(|bytes: &[u8]| {
    Set::new("vm.vma", bytes, &[]).explore::<Scanned>();
    let mut sealed = bytes.to_vec();
    let size = bytes.get(56..60).map(|size| u32::from_be_bytes(size.try_into().unwrap()));
    if let Some(header) = size.and_then(|size| sealed.get_mut(..size as usize)) {
        seal(header, 32);
    }
    for at in (0..bytes.len()).step_by(512) {
        if bytes[at..].starts_with(b"VMAE")
            && let Some(header) = sealed.get_mut(at..at + 512)
        {
            seal(header, 24);
        }
    }
    Set::new("vm.vma", &sealed, &[]).explore::<Scanned>();
});

fn seal(header: &mut [u8], at: usize) {
    if header.len() >= at + 16 {
        header[at..at + 16].fill(0);
        let sum = Md5::digest(&*header);
        header[at..at + 16].copy_from_slice(&sum);
    }
}

/// The format, with the scan carried out at opening. There is no scratch: its offsets are
/// as large as the archive says, and this one would lie in memory.
struct Scanned;

impl Format for Scanned {
    fn describe() -> Description {
        Vma::describe()
    }

    fn probe(glimpse: &Glimpse) -> Confidence {
        Vma::probe(glimpse)
    }

    fn open(
        main: SourceHandle,
        host: Rc<dyn Host>,
        options: OpenOptions,
    ) -> Result<Box<dyn Image>> {
        let image = Vma::open(main, host, options)?;
        loop {
            let progress = image.prepare()?;
            if progress.done >= progress.total {
                return Ok(image);
            }
        }
    }
}
