//! The host library in a program of one's own: `embed-rust IMAGE` opens any image that
//! a plugin knows, says what it is, and prints its partition table's signature.

use anyhow::{Context, Result};
use fumehood::{Engine, OpenOptions};

fn main() -> Result<()> {
    let path = std::env::args_os().nth(1).context("usage: embed-rust IMAGE")?;
    let engine = Engine::new()?;
    let image = engine.open(&path, OpenOptions::default())?;
    println!("{}: {}", image.format(), image.plugin().description().title);
    for number in 0..image.disks().len() as u32 {
        let disk = image.disk(number)?;
        let mut sector = [0; 512];
        disk.read_at(&mut sector, 0)?;
        let boots = sector.ends_with(&[0x55, 0xaa]);
        println!("disk {number}: {} bytes, boot sector: {boots}", disk.size());
    }
    Ok(())
}
