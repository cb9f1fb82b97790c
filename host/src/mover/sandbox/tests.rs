//! The sandbox with frames that are sound and such as are not, and with decoders that
//! are made to misbehave.

use std::sync::LazyLock;

use super::*;
use crate::Engine;

/// The clock of deadlines ticks as long as the engine is there.
static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new().expect("the engine starts"));

/// The sandbox of a disk.
pub(in crate::mover) fn sandboxed() -> Sandbox {
    Sandbox::new(ENGINE.decoder())
}

/// The sandbox of a disk with this decoder, in the text format.
fn sandbox_of(wat: &str) -> Sandbox {
    let wasm = wat::parse_str(wat).unwrap().leak();
    let decoder = ENGINE.decoder();
    let (runtime, compiled) = (decoder.runtime.clone(), OnceLock::new());
    Sandbox::new(Arc::new(DecoderModule { runtime, cache: None, deadline: 2, wasm, compiled }))
}

fn idle(sandbox: &Sandbox) -> usize {
    sandbox.idle().instances.len()
}

fn sample() -> Vec<u8> {
    (0..65536u32).map(|at| ((at * at) >> 9) as u8).collect()
}

fn frame() -> Vec<u8> {
    let level = ruzstd::encoding::CompressionLevel::Fastest;
    ruzstd::encoding::compress_to_vec(sample().as_slice(), level)
}

#[test]
fn a_frame_decodes_to_its_length_and_nothing_else() {
    let (sandbox, plain, frame) = (sandboxed(), sample(), frame());
    let mut out = vec![0; plain.len()];
    sandbox.decode(Codec::Zstd, &frame, &mut out).unwrap();
    assert_eq!(out, plain);
    let mut padded = frame.clone();
    padded.extend([0xaa; 300]);
    out.fill(0);
    sandbox.decode(Codec::Zstd, &padded, &mut out).unwrap();
    assert_eq!(out, plain, "bytes behind the frame are ignored");

    let longer = sandbox.decode(Codec::Zstd, &frame, &mut vec![0; plain.len() + 1]).unwrap_err();
    assert!(longer.contains("65536 bytes, not 65537"), "{longer}");
    let shorter = sandbox.decode(Codec::Zstd, &frame, &mut vec![0; plain.len() - 1]).unwrap_err();
    assert!(shorter.contains("65535 bytes"), "{shorter}");
    for cut in 1..64 {
        assert!(sandbox.decode(Codec::Zstd, &frame[..frame.len() - cut], &mut out).is_err());
    }
    assert!(sandbox.decode(Codec::Zstd, &[], &mut out).is_err());
}

#[test]
fn damage_is_an_error_or_changes_nothing_but_bytes() {
    let (sandbox, frame) = (sandboxed(), frame());
    let mut out = vec![0; 65536];
    for at in (0..frame.len()).step_by(frame.len() / 500 + 1) {
        let mut damaged = frame.clone();
        damaged[at] ^= 0x55;
        drop(sandbox.decode(Codec::Zstd, &damaged, &mut out));
    }
    sandbox.decode(Codec::Zstd, &frame, &mut out).unwrap();
    assert_eq!(out, sample(), "the next frame knows nothing of it");
}

#[test]
fn an_instance_is_kept_unless_its_block_failed() {
    let (sandbox, frame) = (sandboxed(), frame());
    let mut out = vec![0; 65536];
    for _ in 0..3 {
        sandbox.decode(Codec::Zstd, &frame, &mut out).unwrap();
        assert_eq!(idle(&sandbox), 1);
    }
    assert!(sandbox.decode(Codec::Zstd, &frame[..100], &mut out).is_err());
    assert_eq!(idle(&sandbox), 0);
}

#[test]
fn many_threads_have_an_instance_each_and_keep_few() {
    let (sandbox, frame) = (sandboxed(), frame());
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let mut out = vec![0; 65536];
                for _ in 0..8 {
                    out.fill(0);
                    sandbox.decode(Codec::Zstd, &frame, &mut out).unwrap();
                    assert!(out == sample());
                }
            });
        }
    });
    assert!((1..=16).contains(&idle(&sandbox)));
    let memory: usize = sandbox.idle().instances.iter().map(Instance::memory).sum();
    assert_eq!(sandbox.idle().memory, memory);
    assert!(memory <= IDLE_LIMIT);
}

/// A decoder whose functions have these bodies.
fn decoder(input: &str, zstd: &str) -> String {
    format!(
        r#"(module
            (memory (export "memory") 2)
            (func (export "input") (param i32) (result i32) {input})
            (func (export "output") (param i32) (result i32) (i32.const 65536))
            (func (export "zstd") (param i32 i32) (result i32) {zstd}))"#
    )
}

#[test]
fn a_decoder_that_misbehaves_fails_its_block_only() {
    for (input, zstd, words) in [
        ("(i32.const 0)", "(loop (br 0)) (i32.const 0)", "takes too long"),
        ("(i32.const 0)", "(unreachable)", "crashes the decoder"),
        ("(i32.const 0)", "(i32.load (i32.const -8))", "crashes the decoder"),
        ("(i32.const 0)", "(i32.const 9)", "9 bytes, not 8"),
        ("(i32.const 0)", "(i32.const -1)", "corrupt"),
        ("(i32.const 0)", "(i32.const -9)", "corrupt"),
        ("(i32.const -4)", "(i32.const 8)", "out of bounds"),
        ("(i32.const 131069)", "(i32.const 8)", "out of bounds"),
    ] {
        let sandbox = sandbox_of(&decoder(input, zstd));
        let failed = sandbox.decode(Codec::Zstd, &[1; 4], &mut [0; 8]).unwrap_err();
        assert!(failed.contains(words), "{zstd}: {failed}");
        assert_eq!(idle(&sandbox), 0, "{zstd}");
    }
    let sound = sandbox_of(&decoder("(i32.const 0)", "(i32.const 8)"));
    assert_eq!(sound.decode(Codec::Zstd, &[1; 4], &mut [9; 8]), Ok(()));
}

#[test]
fn a_decoder_that_wants_more_than_a_sandbox_is_not_run() {
    for (wat, words) in [
        (r#"(module (import "env" "open" (func)))"#, "unknown import"),
        (r#"(module (memory (export "memory") 4096))"#, "does not start"),
        ("(module)", "no memory"),
    ] {
        let failed = sandbox_of(wat).decode(Codec::Zstd, &[1; 4], &mut [0; 8]).unwrap_err();
        assert!(failed.contains(words), "{failed}");
    }
}
