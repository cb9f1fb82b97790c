//! Files of a set that are there, and cannot be read.

mod common;

use std::cell::Cell;
use std::rc::Rc;

use common::sample;
use common::writer::{SNAPPY, Stream, Volume};
use fumehood_aff4::Aff4;
use fumehood_plugin::memory::MemorySource;
use fumehood_plugin::{
    Access, Error, Format, Host, Level, OpenOptions, Result, Source, SourceHandle,
};

const SIZE: usize = 20_000;

/// A host with one file, of which so many reads succeed; without any, it does not open.
struct Failing(MemorySource, Rc<Cell<usize>>);

fn countdown(left: &Cell<usize>) -> Result<()> {
    let next = left.get().checked_sub(1).ok_or_else(|| Error::Io("the disk is gone".into()))?;
    left.set(next);
    Ok(())
}

impl Source for Failing {
    fn id(&self) -> u32 {
        self.0.id()
    }
    fn name(&self) -> String {
        self.0.name()
    }
    fn size(&self) -> u64 {
        self.0.size()
    }
    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        countdown(&self.1)?;
        self.0.read(offset, length)
    }
}

impl Host for Failing {
    fn open(&self, reference: &str, _: Access) -> Result<SourceHandle> {
        if reference != self.0.name() {
            return Err(Error::Missing(reference.to_string()));
        }
        countdown(&self.1)?;
        Ok(Rc::new(Self(self.0.clone(), Rc::clone(&self.1))))
    }
    fn declare(&self, reference: &str) -> Result<u32> {
        self.open(reference, Access::Read).map(|source| source.id())
    }
    fn keep_secret(&self, _: &[u8]) -> Result<u32> {
        Err(Error::OutOfRange)
    }
    fn log(&self, _: Level, _: &str) {}
}

#[test]
fn a_file_of_the_set_that_cannot_be_read_is_an_error() {
    let bytes = sample(SIZE);
    let mut volume = Volume::new("aff4://volume-1", SIZE as u64);
    (volume.targets, volume.ranges) = (vec!["aff4://stream-2"], vec![(0, SIZE as u64, 0, 0)]);
    let main = volume.write();
    volume.urn = "aff4://volume-2";
    volume.streams = vec![Stream::new("aff4://stream-2", &bytes, SNAPPY)];
    let other = MemorySource::new(1, "disk_2.aff4", volume.write());
    for reads in 0.. {
        let host = Rc::new(Failing(other.clone(), Rc::new(Cell::new(reads))));
        let main = Rc::new(MemorySource::new(0, "disk_1.aff4", main.clone()));
        let image = Aff4::open(main, host, OpenOptions::read_only()).unwrap();
        let finished = loop {
            match image.prepare() {
                Ok(progress) if progress.done >= progress.total => break true,
                Ok(_) => (),
                Err(error) => {
                    assert_eq!(error, Error::Io("the disk is gone".into()));
                    break false;
                }
            }
        };
        if finished {
            assert_eq!(image.info().warnings, Vec::<String>::new());
            assert!(reads > 4, "{reads}");
            break;
        }
    }
}
