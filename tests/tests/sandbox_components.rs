//! Plugins that are not what they should be: they are refused, by what is wrong,
//! before they run.

use std::fs;

use fumehood_tests::attack::{Room, expect_error, module, module_describing};

/// Writes a plugin and tries to load it.
fn load_fails(room: &Room, what: &str, wasm: &[u8], expected: &str, phrase: &str) {
    let path = room.bench.path("plugin.wasm");
    fs::write(&path, wasm).expect("our folder");
    expect_error(what, room.load(what, &path), expected, phrase);
}

/// A component in the text format, as bytes.
fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("a well-formed component")
}

#[test]
fn imports_beyond_the_world_are_refused_by_name() {
    let room = Room::new();
    for name in [
        "wasi:sockets/tcp@0.2.0",
        "wasi:http/outgoing-handler@0.2.0",
        "evil:host/thing",
        "fumehood:disk/source@9.9.9",
        "fumehood:disk/guest@0.1.0",
    ] {
        let text = format!(
            r#"(component (import "{name}" (instance (export "take" (func (result u32))))))"#
        );
        load_fails(&room, name, &component(&text), "refused", name);
    }
}

#[test]
fn what_a_standard_library_imports_of_wasi_is_there_and_closed() {
    let room = Room::new();
    // It is the missing export that these are refused for, not the import.
    for name in ["wasi:filesystem/types@0.2.0", "wasi:clocks/monotonic-clock@0.2.0"] {
        let text = format!(
            r#"(component (import "{name}" (instance (export "take" (func (result u32))))))"#
        );
        load_fails(&room, name, &component(&text), "refused", "does not export");
    }
}

#[test]
fn a_function_that_an_interface_of_the_world_lacks_is_refused_by_name() {
    let text = r#"(component
        (import "fumehood:disk/log@0.1.0" (instance (export "open-anything" (func)))))"#;
    load_fails(&Room::new(), "log", &component(text), "refused", "");
}

#[test]
fn exports_of_another_version_are_refused_by_what_is_missing() {
    let room = Room::new();
    let missing = "does not export fumehood:disk/format@0.1.0";
    let text = r#"(component (instance $format) (export "fumehood:disk/format@9.9.9" (instance $format)))"#;
    load_fails(&room, "version 9.9.9", &component(text), "refused", missing);
    load_fails(&room, "nothing", &component("(component)"), "refused", missing);
    let text = r#"(component (instance $format) (export "fumehood:disk/format@0.1.0" (instance $format)))"#;
    load_fails(&room, "an empty interface", &component(text), "refused", "describe");
}

#[test]
fn what_is_not_a_plugin_is_refused() {
    let room = Room::new();
    let whole = fs::read(module()).expect("just built");
    let text = "(module (memory 1))";
    let not_wasm = "it is not a Wasm file";
    for (what, bytes, expected, phrase) in [
        ("an empty file", Vec::new(), "compile", not_wasm),
        ("a text", b"#!/bin/sh\necho attacked\n".to_vec(), "compile", not_wasm),
        ("only a header", whole[..8].to_vec(), "refused", "does not export"),
        ("a module without types", component(text), "refused", "does not export"),
        ("a truncated module", whole[..whole.len() / 2].to_vec(), "compile", ""),
        ("a broken module", broken(whole), "compile", ""),
    ] {
        load_fails(&room, what, &bytes, expected, phrase);
    }
}

#[test]
fn a_start_function_without_end_is_stopped() {
    let text = r#"(component
        (core module $loop (func $start (loop (br 0))) (start $start))
        (core instance (instantiate $loop))
        (instance $format)
        (export "fumehood:disk/format@0.1.0" (instance $format)))"#;
    // It lacks the interface's functions, and is refused for that before it may start.
    load_fails(&Room::new(), "a start function", &component(text), "refused", "describe");
}

#[test]
fn descriptions_that_could_be_mistaken_are_refused() {
    let room = Room::new();
    for (mode, phrase) in [
        ("path", "its name \"../../x\" is not"),
        ("escapes", "is not 1 to 32 of a-z"),
        ("empty", "is not 1 to 32 of a-z"),
        ("giant", "is not 1 to 32 of a-z"),
    ] {
        let path = room.bench.path("plugin.wasm");
        module_describing(mode, &path);
        expect_error(mode, room.load(mode, &path), "refused", phrase);
    }
}

/// The module with a byte of its code changed now and then.
fn broken(mut module: Vec<u8>) -> Vec<u8> {
    for byte in module.iter_mut().skip(64).step_by(997) {
        *byte ^= 0x55;
    }
    module
}
