//! `fumehood map`.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use fumehood::core::{Piece, PieceKind};
use fumehood::{Disk, Engine};
use serde::Serialize;

use super::DiskArguments;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    source: DiskArguments,
    /// Print JSON, in the shape of `qemu-img map --output=json`.
    #[arg(long)]
    json: bool,
}

/// One run, in the shape of `qemu-img map --output=json`.
#[derive(Serialize, Clone, PartialEq)]
struct Run {
    start: u64,
    length: u64,
    depth: u16,
    present: bool,
    zero: bool,
    data: bool,
    compressed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    /// The source that `offset` is in; not a part of QEMU's shape.
    #[serde(skip)]
    source: u32,
    #[serde(skip)]
    note: &'static str,
}

impl Run {
    fn of(piece: &Piece) -> Self {
        let mut run = Self {
            start: piece.offset,
            length: piece.length,
            depth: piece.layer,
            present: true,
            zero: false,
            data: true,
            compressed: false,
            offset: None,
            source: 0,
            note: "stored",
        };
        match &piece.kind {
            PieceKind::Absent => {
                (run.present, run.zero, run.data, run.note) = (false, true, false, "absent");
            }
            PieceKind::Zero => (run.zero, run.data, run.note) = (true, false, "zero"),
            PieceKind::Stored { source, offset, .. } => {
                (run.offset, run.source) = (Some(*offset), source.id);
            }
            PieceKind::Encoded { .. } => (run.compressed, run.note) = (true, "encoded"),
            PieceKind::Computed => run.note = "computed",
            PieceKind::Damaged(_) => run.note = "damaged",
        }
        run
    }

    fn continued_by(&self, next: &Self) -> bool {
        let offset = self.offset.map(|offset| offset + self.length);
        let alike = Self { start: next.start, length: next.length, offset, ..self.clone() };
        alike == *next
    }
}

pub fn run(engine: &Engine, arguments: &Arguments) -> Result<ExitCode> {
    let (_, disk) = arguments.source.open(engine)?;
    let mut out = BufWriter::new(io::stdout().lock());
    if arguments.json {
        write!(out, "[")?;
        let mut first = true;
        each_run(&disk, |run| {
            write!(out, "{}", if first { "" } else { ",\n" })?;
            first = false;
            Ok(serde_json::to_writer(&mut out, run)?)
        })
        .with_context(|| arguments.source.image.name())?;
        writeln!(out, "]")?;
    } else {
        writeln!(out, "{:>18} {:>18} {:>6}  kind      stored at", "offset", "length", "depth")?;
        each_run(&disk, |run| {
            let stored = run.offset.map(|offset| format!("{offset:#x}")).unwrap_or_default();
            let Run { start, length, depth, note, .. } = run;
            Ok(writeln!(out, "{start:>#18x} {length:>#18x} {depth:>6}  {note:<10}{stored}")?)
        })
        .with_context(|| arguments.source.image.name())?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Calls `print` for each run of the disk; neighbours that continue each other are one.
fn each_run(disk: &Disk, mut print: impl FnMut(&Run) -> Result<()>) -> Result<()> {
    let mut at = 0;
    let mut pending: Option<Run> = None;
    while at < disk.size() {
        for piece in disk.extents(at, disk.size() - at)? {
            at = piece.offset + piece.length;
            let run = Run::of(&piece);
            match &mut pending {
                Some(last) if last.continued_by(&run) => last.length += run.length,
                _ => {
                    if let Some(last) = pending.replace(run) {
                        print(&last)?;
                    }
                }
            }
        }
    }
    pending.as_ref().map_or(Ok(()), print)
}
