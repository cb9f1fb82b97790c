//! Whether KVM really runs a guest here.
//!
//! There are machines where `/dev/kvm` opens and a virtual machine is created, and
//! then its code never runs, or stops at the first instruction that a full
//! hypervisor would have to carry out itself. So a guest of five instructions is
//! run, one of them an interrupt return, in a process of its own that can be
//! killed when it does not come back.

use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kvm_bindings::{kvm_segment, kvm_userspace_memory_region};
use kvm_ioctls::{Kvm, VcpuExit};

/// The probe takes milliseconds where KVM works.
const LIMIT: Duration = Duration::from_secs(1);

/// Runs the probe in a child process and says whether its guest came to its end.
pub fn works() -> bool {
    let Ok(this) = std::env::current_exe() else { return false };
    let child = Command::new(this)
        .arg("kvm-probe")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else { return false };
    let started = Instant::now();
    while started.elapsed() < LIMIT {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) => std::thread::sleep(Duration::from_millis(2)),
            Err(_) => break,
        }
    }
    // A process that hangs in the kernel may not die; it is not waited for.
    let _ = child.kill();
    false
}

/// The child's part: 0 if the guest reached its `hlt`.
pub fn probe() -> Result<ExitCode> {
    run_guest()?;
    Ok(ExitCode::SUCCESS)
}

/// Where the guest's memory begins.
const BASE: u64 = 0x1000;
/// Where its segment descriptors lie in it; code before, stack behind.
const DESCRIPTORS: usize = 0x1000;
const SIZE: usize = 0x3000;

#[repr(C, align(4096))]
struct Memory([u8; SIZE]);

fn run_guest() -> Result<()> {
    let machine = Kvm::new().context("/dev/kvm")?.create_vm().context("creating a machine")?;
    let mut memory = Box::new(Memory([0; SIZE]));
    // pushfd; push 8; push 0x1009; iretd; (at 0x1009) hlt
    let code = [0x9c, 0x6a, 0x08, 0x68, 0x09, 0x10, 0, 0, 0xcf, 0xf4];
    memory.0[..code.len()].copy_from_slice(&code);
    for (index, descriptor) in [(1, 0x00cf_9b00_0000_ffff_u64), (2, 0x00cf_9300_0000_ffff)] {
        let at = DESCRIPTORS + index * 8;
        memory.0[at..at + 8].copy_from_slice(&descriptor.to_le_bytes());
    }
    let region = kvm_userspace_memory_region {
        slot: 0,
        flags: 0,
        guest_phys_addr: BASE,
        memory_size: SIZE as u64,
        userspace_addr: memory.0.as_ptr() as u64,
    };
    // SAFETY: the region is `memory`, page-aligned and alive until the guest has
    // ended; nothing else touches it meanwhile.
    #[allow(unsafe_code)]
    unsafe { machine.set_user_memory_region(region) }.context("giving it memory")?;

    let mut processor = machine.create_vcpu(0).context("creating a processor")?;
    let mut special = processor.get_sregs()?;
    let data = kvm_segment {
        base: 0,
        limit: 0xffff_ffff,
        selector: 0x10,
        type_: 3,
        present: 1,
        s: 1,
        db: 1,
        g: 1,
        ..Default::default()
    };
    special.cs = kvm_segment { selector: 8, type_: 11, ..data };
    (special.ds, special.es, special.fs, special.gs, special.ss) = (data, data, data, data, data);
    special.gdt.base = BASE + DESCRIPTORS as u64;
    special.gdt.limit = 3 * 8 - 1;
    special.cr0 |= 1; // protected mode, no paging
    processor.set_sregs(&special)?;
    let mut registers = processor.get_regs()?;
    registers.rip = BASE;
    registers.rsp = BASE + SIZE as u64;
    registers.rflags = 2;
    processor.set_regs(&registers)?;
    match processor.run().context("running the guest")? {
        VcpuExit::Hlt => Ok(()),
        other => bail!("the guest ended with {other:?}"),
    }
}
