//! Texts of a plugin's making: none steers a terminal, forges a line or fills a
//! screen, in errors or in what the command prints.

use fumehood::core::Access;
use fumehood_tests::attack::{Room, expect_error, module};
use fumehood_tests::{Bounded, Outcome};

#[test]
fn errors_are_one_line_of_plain_text() {
    let room = Room::new();
    for (attack, expected, phrase) in [
        ("open:escapes-error", "format", "fumehood: all is well"),
        ("open:escapes-corrupt", "format", "fumehood: all is well"),
        ("open:panic-escapes", "trapped", "red  [31m alert"),
    ] {
        expect_error(attack, room.open(attack), expected, phrase);
    }
}

#[test]
fn texts_of_damage_are_one_line_of_plain_text() {
    let room = Room::new();
    let attack = "extents:escapes-damage";
    let disk = room.disk(attack, "", Access::Read);
    expect_error(attack, room.read(attack, &disk, 0), "damaged", "fumehood: all is well");
}

#[test]
fn errors_are_short_enough_to_be_read() {
    let room = Room::new();
    expect_error("open", room.open("open:giant-error"), "format", "woe woe");
    let attack = "extents:giant-damage";
    let disk = room.disk(attack, "", Access::Read);
    expect_error(attack, room.read(attack, &disk, 0), "damaged", "woe woe");
}

#[test]
fn the_command_prints_nothing_that_steers_a_terminal() {
    let room = Room::new();
    for (command, attack, code) in [
        ("info", "open:escapes-error", 1),
        ("info", "open:escapes-corrupt", 1),
        ("info", "open:panic-escapes", 1),
        ("info", "open:log-escapes", 1),
        ("info", "info:escapes", 0),
        ("map", "extents:escapes-damage", 0),
        ("check", "extents:escapes-damage", 1),
    ] {
        let outcome = run(&room, command, attack);
        assert_eq!(outcome.code, Some(code), "{attack}: {}", outcome.stderr.escape_debug());
        for printed in [&outcome.stdout, &outcome.stderr] {
            let steers = |c: char| c.is_control() && c != '\n';
            assert!(!printed.contains(steers), "{command}, {attack}: {}", printed.escape_debug());
            let forged = printed.lines().any(|line| line.starts_with("fumehood: all is well"));
            assert!(!forged, "{command}, {attack}: {}", printed.escape_debug());
        }
    }
}

#[test]
fn the_command_says_no_more_than_a_thousand_lines_for_a_plugin() {
    let room = Room::new();
    let outcome = run(&room, "info", "open:log-flood");
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.lines().count() < 1100, "{}", outcome.stderr.lines().count());
    assert!(outcome.stderr.contains("too many lines; the rest is dropped"));
}

/// Runs the command on the image, with an attack.
fn run(room: &Room, command: &str, attack: &str) -> Outcome {
    let plugin = module().to_str().expect("a plain path");
    let setting = format!("attack={attack}");
    let arguments = ["--plugin", plugin, command, "-f", "attack", "--option", &setting, "image"];
    room.bench.fumehood(arguments).finish()
}
