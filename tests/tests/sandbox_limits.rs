//! Plugins that take time, stack or memory without end, or give up: each costs the
//! one call, and its image in the end, and nothing else.

use std::time::{Duration, Instant};

use fumehood::OpenOptions;
use fumehood::core::Access;
use fumehood_tests::attack::{Room, expect_error, module_describing};
use fumehood_tests::client::Client;
use fumehood_tests::witness;

/// What each attack on time, stack and memory ends with.
const EXHAUSTING: [(&str, &str); 4] = [
    ("loop", "it exceeded the time of one call"),
    ("recursion", "it exhausted its stack"),
    ("memory", "growing memory"),
    ("panic", "the attacker gives up"),
];

#[test]
fn a_plugin_that_exhausts_something_at_open_is_stopped() {
    let room = Room::new();
    for (attack, phrase) in EXHAUSTING {
        let attack = format!("open:{attack}");
        expect_error(&attack, room.open(&attack), "trapped", phrase);
    }
}

#[test]
fn a_plugin_that_prepares_without_end_is_stopped() {
    let room = Room::new();
    for (attack, kind, phrase) in [
        ("prepare:still", "untrusted", "it prepares without end"),
        ("prepare:backwards", "untrusted", "it prepares without end"),
        ("prepare:endless", "untrusted", "it prepares without end"),
        ("prepare:loop", "trapped", "exceeded the time of one call"),
        ("prepare:reads", "trapped", "exceeded the time of one call"),
    ] {
        expect_error(attack, room.open(attack), kind, phrase);
    }
}

#[test]
fn a_plugin_that_exhausts_something_at_every_read_is_given_up() {
    let room = Room::new();
    for (attack, phrase) in EXHAUSTING {
        let attack = format!("extents:{attack}");
        let disk = room.disk(&attack, "", Access::Read);
        for _ in 0..8 {
            expect_error(&attack, room.read(&attack, &disk, 0), "trapped", phrase);
        }
        let started = Instant::now();
        expect_error(&attack, room.read(&attack, &disk, 0), "failed", phrase);
        assert!(started.elapsed() < Duration::from_millis(200), "it is not even asked any more");
    }
}

#[test]
fn a_plugin_that_exhausts_something_when_it_looks_at_an_image_is_stopped() {
    let room = Room::new();
    for (attack, phrase) in EXHAUSTING {
        room.bench.write("image", format!("probe:{attack}\n").as_bytes());
        let opened = room.with_image(attack, OpenOptions::default(), |_| Ok(()));
        expect_error(attack, opened, "trapped", phrase);
    }
}

#[test]
fn a_plugin_that_exhausts_something_when_it_is_loaded_is_refused() {
    let room = Room::new();
    let path = room.bench.path("plugin.wasm");
    for (mode, (_, phrase)) in ["loop", "recurse", "memory", "panic"].iter().zip(EXHAUSTING) {
        module_describing(mode, &path);
        expect_error(mode, room.load(mode, &path), "trapped", phrase);
    }
}

#[test]
fn a_disk_under_attack_answers_its_own_clients_with_errors_only() {
    let room = Room::new();
    for attack in ["extents:loop", "extents:gapped", "computed:loop", "computed:short"] {
        let disk = room.disk(attack, "", Access::Read);
        let server = witness::serve(&room.bench, "attacked.sock", disk);
        let socket = room.bench.path("attacked.sock");
        room.attacked(attack, move || {
            let mut clients = [0; 3].map(|_| Client::connect(&socket).expect("it takes clients"));
            for client in &mut clients {
                assert_eq!(client.read(0, 512), Err(5), "an input/output error");
                assert_eq!(client.read(0, 256 << 10), Err(5), "and the connection goes on");
            }
        });
        room.attacked(attack, move || assert!(server.shutdown(), "it ends in good order"));
    }
}

#[test]
fn an_answer_in_crumbs_does_not_hold_a_read_up_for_ever() {
    let room = Room::new();
    // A byte an answer would take a thousand million of them to fill a page.
    let disk = room.disk("crumbs:bytes", "", Access::Read);
    drop(room.read("crumbs:bytes", &disk, 0));
}

#[test]
fn slow_answers_do_not_add_up_without_end() {
    let room = Room::new();
    let disk = room.disk("crumbs:slow", "", Access::Read);
    drop(room.read("crumbs:slow", &disk, 0));
}

#[test]
fn texts_of_damage_do_not_fill_the_memory() {
    let room = Room::new();
    let disk = room.disk("crumbs:damage", "", Access::Read);
    expect_error("crumbs:damage", room.read("crumbs:damage", &disk, 0), "damaged", "woe");
}

#[test]
fn a_million_lines_of_log_cost_the_plugin_its_time_and_nobody_else() {
    let room = Room::new();
    // It may be quick enough to say them all; no more than a thousand are kept.
    if let Err(error) = room.open("open:log-flood") {
        let text = error.to_string();
        assert!(text.contains("it has said enough") || text.contains("time of one"), "{text}");
    }
}
