//! Extents: whatever window is asked for, a byte of the disk lies in one place.

use fumehood_core::{Piece, PieceKind};

use super::Verdict;
use super::bench::{Bench, Random, passed, told};
use crate::disk::Disk;

/// The most pieces of a disk that are compared.
const PIECES_LIMIT: usize = 200_000;
/// The longest window.
const WINDOW: u64 = 16 << 20;

/// The map of each disk, asked for from its beginning to its end, is the one that random
/// windows give, each asked of a disk of which nothing is known yet.
pub(super) fn agrees(bench: &Bench<'_>) -> Verdict {
    let opened = bench.open().map_err(told)?;
    let mut random = bench.random(1);
    let (mut pieces, mut windows) = (0, 0);
    for number in 0..opened.image.disks().len() as u32 {
        let disk = bench.disk(&opened.image, number).map_err(told)?;
        let (map, end) = whole(&disk)?;
        pieces += map.len();
        if end == 0 {
            continue;
        }
        for _ in 0..bench.options.windows {
            let (offset, length) = window(end, &mut random);
            let fresh = bench.disk(&opened.image, number).map_err(told)?;
            compare(&map, &fresh, offset, length)?;
            windows += 1;
        }
    }
    passed(format!("{pieces} extents, {windows} windows"))
}

/// The pieces of a disk in order, and where they end: at its end, or where there are many.
pub(super) fn whole(disk: &Disk) -> Result<(Vec<Piece>, u64), String> {
    let (mut map, mut at) = (Vec::new(), 0);
    while at < disk.size() && map.len() < PIECES_LIMIT {
        let answer = disk.extents(at, disk.size() - at).map_err(told)?;
        for piece in &answer {
            if piece.offset != at || piece.length == 0 {
                return Err(format!("a gap or an overlap at offset {at}"));
            }
            at += piece.length;
            map.push(piece.clone());
        }
    }
    Ok((map, at))
}

fn window(end: u64, random: &mut Random) -> (u64, u64) {
    let offset = random.below(end);
    let length = match random.below(4) {
        0 => 1 + random.below(512),
        1 => 4096,
        _ => 1 + random.below(WINDOW),
    };
    (offset, length.min(end - offset))
}

fn compare(map: &[Piece], disk: &Disk, offset: u64, length: u64) -> Result<(), String> {
    let (mut at, end) = (offset, offset + length);
    while at < end {
        for piece in &disk.extents(at, end - at).map_err(told)? {
            let mut from = piece.offset;
            while from < piece.offset + piece.length {
                let index = map.partition_point(|known| known.offset + known.length <= from);
                let known = map.get(index).ok_or_else(|| format!("nothing is at {from}"))?;
                let to = (known.offset + known.length).min(piece.offset + piece.length);
                let (now, then) = (place(piece, from), place(known, from));
                if now != then {
                    return Err(format!(
                        "asked about {length} bytes at {offset}, offset {from} is {now}; asked \
                         about all, it is {then}"
                    ));
                }
                from = to;
            }
            at = piece.offset + piece.length;
        }
    }
    Ok(())
}

/// Where a byte of the disk lies, in words.
fn place(piece: &Piece, at: u64) -> String {
    let skip = at - piece.offset;
    match &piece.kind {
        PieceKind::Absent => "absent".into(),
        PieceKind::Zero => "zero".into(),
        PieceKind::Stored { source, offset, writable } => {
            format!("at {} of source {} (writable: {writable})", offset + skip, source.id)
        }
        PieceKind::Encoded { block, skip: within } => {
            format!("byte {} of {block:?}", u64::from(*within) + skip)
        }
        PieceKind::Computed => "computed".into(),
        PieceKind::Damaged(what) => format!("damaged ({what})"),
    }
}
