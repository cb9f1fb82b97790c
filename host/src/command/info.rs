//! `fumehood info`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use fumehood::core::contract::format::{Contents, DiskInfo, SnapshotInfo};
use fumehood::{Engine, Image};
use serde::Serialize;

use super::{ImageArguments, output};

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    image: ImageArguments,
    /// Print JSON.
    #[arg(long, conflicts_with = "document")]
    json: bool,
    /// Print an embedded document, by name.
    #[arg(long, value_name = "NAME")]
    document: Option<String>,
}

/// The shape of `info --json`; documented in `host/COMMAND.md`.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report {
    image: String,
    format: String,
    format_title: String,
    details: Vec<Detail>,
    warnings: Vec<String>,
    disks: Vec<DiskReport>,
    snapshots: Vec<SnapshotReport>,
    documents: Vec<String>,
}

#[derive(Serialize)]
struct Detail {
    name: String,
    value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct DiskReport {
    number: usize,
    name: String,
    size: u64,
    logical_sector: u32,
    physical_sector: u32,
    granularity: u32,
    contents: &'static str,
    identity: Option<String>,
    parent: Option<ParentReport>,
    /// The images of the chain, top first; or why it cannot be opened.
    chain: Vec<LayerReport>,
    chain_error: Option<String>,
    digests: Vec<DigestReport>,
    details: Vec<Detail>,
}

#[derive(Serialize)]
struct ParentReport {
    /// The references that the child prefers come first.
    references: Vec<String>,
    format: Option<String>,
    /// The parent must have one of these.
    identities: Vec<String>,
}

#[derive(Serialize)]
struct LayerReport {
    name: String,
    format: String,
}

#[derive(Serialize)]
struct DigestReport {
    kind: &'static str,
    value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct SnapshotReport {
    id: String,
    name: String,
    created: Option<u64>,
    disk_size: u64,
    vm_state_size: u64,
}

pub fn run(engine: &Engine, arguments: &Arguments) -> Result<ExitCode> {
    let image = arguments.image.open(engine)?;
    if let Some(name) = &arguments.document {
        let document = image.document(name).with_context(|| arguments.image.name())?;
        std::io::stdout().write_all(&document)?;
        return Ok(ExitCode::SUCCESS);
    }
    let report = report(&image);
    if arguments.json {
        output::json(&report)?;
    } else {
        print(&report);
    }
    Ok(ExitCode::SUCCESS)
}

fn report(image: &Image) -> Report {
    let info = image.info();
    let disks = image.disks().iter().enumerate();
    Report {
        image: image.path().display().to_string(),
        format: image.format().into(),
        format_title: image.plugin().description().title.clone(),
        details: details(&info.details),
        warnings: info.warnings.clone(),
        disks: disks.map(|(number, disk)| disk_report(image, number, disk)).collect(),
        snapshots: info.snapshots.iter().map(snapshot_report).collect(),
        documents: info.documents.clone(),
    }
}

fn details(details: &[(String, String)]) -> Vec<Detail> {
    let detail = |(name, value): &(String, String)| Detail {
        name: output::printable(name),
        value: output::printable(value),
    };
    details.iter().map(detail).collect()
}

fn disk_report(image: &Image, number: usize, disk: &DiskInfo) -> DiskReport {
    let (chain, chain_error) = match image.disk(number as u32) {
        Ok(opened) => {
            let layers = opened.core().layers().iter();
            let layer = |layer: &fumehood::core::Layer| LayerReport {
                name: layer.image.source_name(0),
                format: layer.image.plugin().name().into(),
            };
            (layers.map(layer).collect(), None)
        }
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    DiskReport {
        number,
        name: disk.name.clone(),
        size: disk.size,
        logical_sector: disk.logical_sector,
        physical_sector: disk.physical_sector,
        granularity: disk.granularity,
        contents: match disk.contents {
            Contents::Disk => "disk",
            Contents::Volume => "volume",
            Contents::File => "file",
        },
        identity: disk.identity.clone(),
        parent: disk.parent.as_ref().map(|parent| ParentReport {
            references: parent.references.clone(),
            format: parent.format.clone(),
            identities: parent.identities.clone(),
        }),
        chain,
        chain_error,
        digests: disk
            .digests
            .iter()
            .map(|digest| DigestReport {
                kind: fumehood::digest_name(digest.kind),
                value: fumehood::hex(&digest.value),
            })
            .collect(),
        details: details(&disk.details),
    }
}

fn snapshot_report(snapshot: &SnapshotInfo) -> SnapshotReport {
    SnapshotReport {
        id: snapshot.id.clone(),
        name: snapshot.name.clone(),
        created: snapshot.created,
        disk_size: snapshot.disk_size,
        vm_state_size: snapshot.vm_state_size,
    }
}

fn print(report: &Report) {
    output::field("image", &report.image);
    output::field("format", &format!("{} ({})", report.format, report.format_title));
    for Detail { name, value } in &report.details {
        output::field(name, value);
    }
    for warning in &report.warnings {
        output::field("warning", warning);
    }
    for disk in &report.disks {
        print_disk(disk);
    }
    for snapshot in &report.snapshots {
        let size = output::size(snapshot.disk_size);
        output::field("snapshot", &format!("{} {:?}, {size}", snapshot.id, snapshot.name));
    }
    for document in &report.documents {
        output::field("document", document);
    }
}

fn print_disk(disk: &DiskReport) {
    let name = if disk.name.is_empty() { String::new() } else { format!(" {:?}", disk.name) };
    output::field(&format!("disk {}{name}", disk.number), &output::size(disk.size));
    output::field(
        "  sectors",
        &format!("{} logical, {} physical", disk.logical_sector, disk.physical_sector),
    );
    output::field("  granularity", &output::size(disk.granularity.into()));
    if disk.contents != "disk" {
        output::field("  contents", disk.contents);
    }
    if let Some(identity) = &disk.identity {
        output::field("  identity", identity);
    }
    if let Some(parent) = &disk.parent {
        let format = parent.format.as_deref().unwrap_or("not recorded");
        output::field("  parent", &format!("{} (format {format})", parent.references.join(" or ")));
    }
    for (depth, layer) in disk.chain.iter().enumerate().skip(1) {
        output::field(&format!("  chain {depth}"), &format!("{} ({})", layer.name, layer.format));
    }
    if let Some(error) = &disk.chain_error {
        output::field("  chain", error);
    }
    for digest in &disk.digests {
        output::field(&format!("  stored {}", digest.kind), &digest.value);
    }
    for Detail { name, value } in &disk.details {
        output::field(&format!("  {name}"), value);
    }
}
