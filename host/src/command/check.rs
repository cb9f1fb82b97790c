//! `fumehood check`.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use fumehood::core::Access;
use fumehood::{Engine, Verification};
use serde::Serialize;

use super::{ImageArguments, convert, output};

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    image: ImageArguments,
    /// Only this disk of the image; all of them where it is not given.
    #[arg(long, value_name = "N")]
    disk: Option<u32>,
    /// First mend what can be mended without losing anything, such as clusters that a
    /// crash left unused.
    #[arg(long)]
    repair: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// The shape of `check --json`; documented in `host/COMMAND.md`.
#[derive(Serialize)]
struct Report {
    disk: u32,
    sound: bool,
    count: u64,
    findings: Vec<FindingReport>,
    digests: Vec<DigestReport>,
}

#[derive(Serialize)]
struct FindingReport {
    offset: u64,
    what: String,
}

#[derive(Serialize)]
struct DigestReport {
    kind: &'static str,
    stored: String,
    computed: Option<String>,
    agrees: bool,
}

/// 0 if all is sound, 1 otherwise.
pub fn run(engine: &Engine, arguments: &Arguments) -> Result<ExitCode> {
    if arguments.repair {
        repair(engine, arguments).with_context(|| arguments.image.name())?;
    }
    let image = arguments.image.open(engine)?;
    let all = 0..image.disks().len() as u32;
    let numbers = arguments.disk.map_or(all, |number| number..number + 1);
    let interrupted = convert::interrupt_flag()?;
    let mut reports = Vec::new();
    for number in numbers {
        let disk = image.disk(number).with_context(|| arguments.image.name())?;
        let bar = output::progress(disk.size());
        let verification = disk
            .verify(|done| {
                bar.set_position(done);
                !interrupted.load(std::sync::atomic::Ordering::Relaxed)
            })
            .with_context(|| arguments.image.name())?;
        bar.finish_and_clear();
        if interrupted.load(std::sync::atomic::Ordering::Relaxed) {
            bail!("{}: interrupted before all was checked", arguments.image.name());
        }
        reports.push(report(number, &verification));
    }
    if arguments.json {
        output::json(&reports)?;
    } else {
        reports.iter().for_each(print);
    }
    let sound = reports.iter().all(|report| report.sound);
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Mends what can be mended, and says on stderr what was.
fn repair(engine: &Engine, arguments: &Arguments) -> Result<()> {
    let image = arguments.image.open_for(engine, Access::ReadWrite)?;
    for number in 0..image.disks().len() as u32 {
        let disk = image.disk(number)?;
        for finding in disk.repair()?.iter().filter(|finding| finding.repaired) {
            let what = output::printable(&finding.what);
            eprintln!("fumehood: repaired: disk {number}, offset {}: {what}", finding.offset);
        }
        disk.close()?;
    }
    Ok(())
}

fn report(disk: u32, verification: &Verification) -> Report {
    Report {
        disk,
        sound: verification.is_sound(),
        count: verification.count,
        findings: verification
            .findings
            .iter()
            .map(|finding| FindingReport {
                offset: finding.offset,
                what: output::printable(&finding.what),
            })
            .collect(),
        digests: verification
            .digests
            .iter()
            .map(|digest| DigestReport {
                kind: fumehood::digest_name(digest.kind),
                stored: fumehood::hex(&digest.stored),
                computed: digest.computed.as_deref().map(fumehood::hex),
                agrees: digest.agrees(),
            })
            .collect(),
    }
}

fn print(report: &Report) {
    for finding in &report.findings {
        println!("disk {}, offset {}: {}", report.disk, finding.offset, finding.what);
    }
    let shown = report.findings.len() as u64;
    if report.count > shown {
        println!("disk {}: and {} more", report.disk, report.count - shown);
    }
    for DigestReport { kind, stored, computed, agrees } in &report.digests {
        let disk = report.disk;
        match computed {
            Some(_) if *agrees => println!("disk {disk}: {kind} {stored} agrees"),
            Some(computed) => println!(
                "disk {disk}: {kind} is {computed}, but the image stores {stored}; the disk was \
                 changed, or was hashed beyond its last whole sector"
            ),
            None => println!("disk {disk}: {kind} {stored} cannot be compared: see above"),
        }
    }
    if report.sound {
        println!("disk {}: sound", report.disk);
    }
}
