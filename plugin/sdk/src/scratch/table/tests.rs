//! Tests of tables larger than memory, and of scratch that changes behind their backs.

use alloc::rc::Rc;

use super::*;
use crate::memory::{MemorySource, scratch};

const ID: Identity = [5; 32];
/// Records of one page.
const RECORDS: u64 = Table::<U64>::RECORDS;

fn fill(table: &mut Table<U64>, pages: u64) -> Result<()> {
    (0..pages).try_for_each(|page| table.set(page * RECORDS + page % 7, &U64::new(page + 1)))
}

fn expect(table: &mut Table<U64>, pages: u64) -> Result<()> {
    for page in 0..pages {
        let at = page * RECORDS + page % 7;
        assert_eq!(table.get(at)?.get(), page + 1);
        assert_eq!(table.get(at + 1)?.get(), 0);
    }
    Ok(())
}

fn handle(bytes: Vec<u8>) -> SourceHandle {
    Rc::new(MemorySource::new(1, "scratch", bytes).writable())
}

#[test]
fn more_than_memory_comes_back_from_the_scratch() {
    let pages = KEPT as u64 + 100;
    let source = scratch(1);
    let handle: SourceHandle = Rc::new(source.clone());
    let mut table = Table::new(Some(handle.clone()), &[1; 32]);
    fill(&mut table, pages).unwrap();
    assert!(table.pages.len() <= KEPT && table.moved() >= 100);
    expect(&mut table, pages).unwrap();
    assert!(Table::<U64>::load::<u8>(&handle, 1, &ID).is_none(), "it is not finished");
    table.finish(1, &ID, &77u8).unwrap();
    let (mut table, summary) = Table::<U64>::load::<u8>(&handle, 1, &ID).unwrap();
    assert_eq!(summary, 77);
    expect(&mut table, pages).unwrap();
    assert!(Table::<U64>::load::<u8>(&handle, 2, &ID).is_none());
    assert!(Table::<U64>::load::<u8>(&handle, 1, &[6; 32]).is_none());
}

#[test]
fn empty_pages_are_passed_over() {
    let source: SourceHandle = Rc::new(scratch(1));
    let mut table = Table::new(Some(source.clone()), &[1; 32]);
    for number in [3, 100 * RECORDS, 300 * RECORDS + 9] {
        table.set(number, &U64::new(1)).unwrap();
    }
    table.finish(1, &ID, &()).unwrap();
    let (loaded, ()) = Table::<U64>::load(&source, 1, &ID).unwrap();
    for table in [table, loaded] {
        assert_eq!(table.next_used(0), Some(0));
        assert_eq!(table.next_used(5), Some(5), "of the same page");
        assert_eq!(table.next_used(RECORDS), Some(100 * RECORDS));
        assert_eq!(table.next_used(200 * RECORDS), Some(300 * RECORDS));
        assert_eq!(table.next_used(301 * RECORDS), None);
    }
}

#[test]
fn what_was_changed_behind_its_back_is_noticed() {
    let source = scratch(1);
    let mut table = Table::new(Some(Rc::new(source.clone())), &[1; 32]);
    fill(&mut table, 3).unwrap();
    table.finish(1, &ID, &()).unwrap();
    let whole = source.bytes();
    for at in (0..size_of::<Header>()).chain([whole.len() - 2, whole.len() - 1]) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        assert!(Table::<U64>::load::<()>(&handle(bytes), 1, &ID).is_none(), "{at}");
    }
    for length in [0, 10, size_of::<Header>(), PAGE, whole.len() - 1] {
        let bytes = whole[..length].to_vec();
        assert!(Table::<U64>::load::<()>(&handle(bytes), 1, &ID).is_none(), "{length}");
    }
    // A byte of a page, or a page in another's place: seen when it is read.
    let mut torn = whole.clone();
    torn[PAGE * 2 + 100] ^= 1;
    let mut moved = whole.clone();
    moved.copy_within(PAGE..2 * PAGE, 2 * PAGE);
    for bytes in [torn, moved] {
        let source = handle(bytes);
        let (mut table, ()) = Table::<U64>::load(&source, 1, &ID).unwrap();
        assert!(table.get(0).is_ok());
        assert!(matches!(table.get(RECORDS), Err(Error::Io(_))));
        assert!(Table::<U64>::load::<()>(&source, 1, &ID).is_none(), "it begins anew");
    }
}

#[test]
fn memory_serves_where_there_is_no_scratch() {
    let read_only = Rc::new(MemorySource::new(1, "scratch", vec![]));
    for scratch in [None, Some(read_only as SourceHandle)] {
        let mut table = Table::new(scratch, &[1; 32]);
        fill(&mut table, KEPT_ALONE as u64).unwrap();
        table.finish(1, &ID, &()).unwrap();
        expect(&mut table, KEPT_ALONE as u64).unwrap();
        let more = table.set(KEPT_ALONE as u64 * RECORDS, &U64::new(1));
        assert!(matches!(more, Err(Error::Unsupported(_))));
    }
    let mut table = Table::<U64>::new(Some(Rc::new(scratch(1))), &[1; 32]);
    table.set(u64::MAX, &U64::new(1)).unwrap();
    assert_eq!(table.get(u64::MAX).unwrap().get(), 1);
    assert_eq!(table.next_used(0).map(|number| u64::MAX - number < RECORDS), Some(true));
    table.finish(1, &ID, &()).unwrap();
}
