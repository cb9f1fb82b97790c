//! Runs the example on a host: `embed-core PLUGIN.cwasm IMAGE` writes the disk to
//! standard output.

use std::io::Write;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(plugin), Some(image)) = (arguments.next(), arguments.next()) else {
        return Err("usage: embed-core PLUGIN.cwasm IMAGE".into());
    };
    let image: &'static [u8] = std::fs::read(image)?.leak();
    let plugin = std::fs::read(plugin)?;
    // SAFETY: the user names a file that `fumehood plugin compile` wrote.
    let (_runtime, disk) = unsafe { embed_core::open(&plugin, embed_core::MemoryImage(image)) }?;
    let (mut out, mut bytes) = (std::io::stdout().lock(), vec![0; 1 << 20]);
    for offset in (0..disk.size()).step_by(bytes.len()) {
        let length = (disk.size() - offset).min(bytes.len() as u64) as usize;
        embed_core::read(&disk, offset, &mut bytes[..length])?;
        out.write_all(&bytes[..length])?;
    }
    Ok(())
}
