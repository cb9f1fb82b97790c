//! The XVA parser. The checksums of tar headers are made right first, or nothing behind
//! them would be reached.
#![no_main]

use std::rc::Rc;

use fumehood_fuzz::Set;
use fumehood_plugin::{
    Confidence, Description, Format, Glimpse, Host, Image, OpenOptions, Result, SourceHandle,
    memory,
};
use fumehood_xva::Xva;
use libfuzzer_sys::fuzz_target;

/// Where the checksum stands in a header.
const CHECKSUM: std::ops::Range<usize> = 148..156;

fuzz_target!(|bytes: &[u8]| {
    Set::new("vm.xva", bytes, &[]).explore::<Scanned>();
    let mut sealed = bytes.to_vec();
    for block in sealed.chunks_exact_mut(512) {
        // What ends its checksum as a header does is taken for one.
        if block[154..156] == *b"\0 " || block[154..156] == *b" \0" {
            block[CHECKSUM].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    Set::new("vm.xva", &sealed, &[]).explore::<Scanned>();
});

/// The format, with the scan carried out at opening, and the index taken from the scratch.
struct Scanned;

impl Format for Scanned {
    fn describe() -> Description {
        Xva::describe()
    }

    fn probe(glimpse: &Glimpse) -> Confidence {
        Xva::probe(glimpse)
    }

    fn open(main: SourceHandle, host: Rc<dyn Host>, _: OpenOptions) -> Result<Box<dyn Image>> {
        let scratch: SourceHandle = Rc::new(memory::scratch(1));
        let options = || OpenOptions { scratch: Some(scratch.clone()), ..OpenOptions::read_only() };
        let first = Xva::open(main.clone(), host.clone(), options())?;
        loop {
            let progress = first.prepare()?;
            if progress.done >= progress.total {
                break;
            }
        }
        let second = Xva::open(main, host, options())?;
        assert_eq!(second.info(), first.info(), "what the scratch holds is what was scanned");
        assert_eq!(second.disks(), first.disks());
        Ok(second)
    }
}
