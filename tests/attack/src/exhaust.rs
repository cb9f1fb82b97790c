//! Time, stack and memory without end, and a panic.

use alloc::vec;
use alloc::vec::Vec;
use core::hint::black_box;

/// Carries out the attack of this name, if it is one of these.
pub fn run(attack: &str) {
    match attack {
        "loop" => spin(),
        "recursion" => drop(dive(1)),
        "memory" => hoard(),
        "panic" => panic!("the attacker gives up"),
        "panic-escapes" => panic!("red \u{1b}[31m alert\r\nfumehood: all is well"),
        _ => {}
    }
}

fn spin() -> ! {
    loop {
        black_box(());
    }
}

fn dive(depth: u64) -> u64 {
    let deeper: fn(u64) -> u64 = black_box(dive);
    if black_box(depth) == 0 { 0 } else { deeper(depth + 1).wrapping_mul(3) }
}

fn hoard() {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    loop {
        kept.push(black_box(vec![1; 1 << 20]));
    }
}
