//! Overlays over their life: frozen while they are served, listed, committed,
//! discarded, rebased, flattened, compacted; and images made and converted.

use std::thread;

use fumehood_tests::client::{Client, FLUSH, WRITE};
use fumehood_tests::{Bench, Bounded, Server, content};
use serde_json::Value;

const SIZE: usize = 24 << 20;

fn bench() -> Bench {
    let bench = Bench::new();
    bench.write("base.raw", &content::sample(SIZE));
    bench
}

fn overlay(bench: &Bench) -> Server {
    Server::unix(bench, &["base.raw", "-f", "raw", "--overlay", "work.qcow2"])
}

fn stop(mut server: Server) {
    server.terminate();
    assert!(server.ended().success(), "{}", server.log());
}

/// Writes into the overlay, and into a copy of what it is to hold.
fn write(client: &mut Client, model: &mut [u8], offset: usize, length: usize, seed: u64) {
    let bytes = content::noise(length, seed);
    assert_eq!(client.request(WRITE, offset as u64, length as u32, &bytes), 0);
    model[offset..offset + length].copy_from_slice(&bytes);
}

/// What the chain under a name holds, by our own reading and by QEMU's.
fn expect(bench: &Bench, name: &str, model: &[u8]) {
    let expected = (model.len() as u64, content::hash(model));
    assert_eq!(bench.converted(&[name, "--allow", "."]), expected, "{name}");
    assert_eq!(bench.converted_by_qemu(&["-f", "qcow2", name]), expected, "{name}, by QEMU");
    bench.peer("qemu-img", ["check", "-q", name]).succeed();
}

#[test]
fn a_chain_grows_while_it_is_served_and_shrinks_again() {
    let bench = bench();
    let mut model = bench.read("base.raw");
    let server = overlay(&bench);
    let mut client = Client::connect(server.socket()).expect("the server");
    write(&mut client, &mut model, 1 << 20, 70_000 / 512 * 512, 1);
    let frozen = bench.fumehood(["overlay", "new", "work.qcow2"]).succeed().stdout;
    assert!(frozen.trim().ends_with("work.1.qcow2"), "{frozen}");
    let first = model.clone();
    write(&mut client, &mut model, (1 << 20) + 4096, 8192, 2);
    write(&mut client, &mut model, 9 << 20, 1 << 20, 3);
    bench.fumehood(["overlay", "new", "work.qcow2"]).succeed();
    write(&mut client, &mut model, (9 << 20) + 512, 1024, 4);
    let layers = bench.json(&["overlay", "list", "work.qcow2", "--json"]);
    let layers = layers["layers"].as_array().expect("layers").clone();
    let field = |name: &str| layers.iter().map(|layer| layer[name].clone()).collect::<Vec<_>>();
    assert_eq!(field("format"), ["qcow2", "qcow2", "qcow2", "raw"]);
    let data: Vec<_> = field("data").iter().map(|data| data.as_u64().expect("bytes")).collect();
    assert_eq!(data, [4096, 8192 + (1 << 20), 69_632, SIZE as u64]);
    assert_eq!(client.read(0, SIZE as u32).expect("readable"), model, "as it is served");
    stop(server);
    expect(&bench, "work.qcow2", &model);
    expect(&bench, "work.1.qcow2", &first);

    bench.fumehood(["overlay", "commit", "work.qcow2"]).succeed();
    expect(&bench, "work.qcow2", &model);
    assert!(!bench.path("work.2.qcow2").exists(), "it has taken the name of the top");
    bench.fumehood(["overlay", "commit", "work.qcow2"]).succeed();
    expect(&bench, "work.qcow2", &model);
    let refused = bench.fumehood(["overlay", "commit", "work.qcow2"]).end_with(1);
    assert!(refused.stderr.contains("is no overlay: it is never written"), "{}", refused.stderr);

    bench
        .fumehood(["overlay", "flatten", "work.qcow2", "flat.vhdx", "-O", "vhdx", "--verify"])
        .succeed();
    let flat = bench.converted_by_qemu(&["-f", "vhdx", "flat.vhdx"]);
    assert_eq!(flat, (SIZE as u64, content::hash(&model)));
    bench.fumehood(["overlay", "discard", "work.qcow2"]).succeed();
    expect(&bench, "work.qcow2", &content::sample(SIZE));
    assert!(bench.read("base.raw") == content::sample(SIZE), "the base is as it was");
}

#[test]
fn requests_go_on_while_overlays_are_put_on_top() {
    let bench = bench();
    let server = overlay(&bench);
    let socket = server.socket().clone();
    let writers: Vec<_> = (0..3u64)
        .map(|writer| {
            let socket = socket.clone();
            thread::spawn(move || {
                let mut client = Client::connect(&socket).expect("the server");
                let place = |round: u64| ((writer * 8) << 20) + round * 9000 / 512 * 512;
                for round in 0..400 {
                    let bytes = content::noise(4608, writer << 32 | round);
                    assert_eq!(client.request(WRITE, place(round), 4608, &bytes), 0);
                    if round % 16 == 0 {
                        assert_eq!(client.request(FLUSH, 0, 0, &[]), 0);
                    }
                }
                for round in 0..400 {
                    let found = client.read(place(round), 4608).expect("readable");
                    let expected = content::noise(4608, writer << 32 | round);
                    assert!(found == expected, "writer {writer}, round {round}");
                }
            })
        })
        .collect();
    for _ in 0..12 {
        bench.fumehood(["overlay", "new", "work.qcow2"]).succeed();
    }
    for writer in writers {
        writer.join().expect("a writer that found what it wrote");
    }
    let layers = bench.json(&["overlay", "list", "work.qcow2", "--json"]);
    assert_eq!(layers["layers"].as_array().map(Vec::len), Some(14));
    stop(server);
    let whole = bench.converted(&["work.qcow2"]);
    assert_eq!(bench.converted_by_qemu(&["-f", "qcow2", "work.qcow2"]), whole);
    bench.fumehood(["overlay", "commit", "work.qcow2", "--layers", "12"]).succeed();
    assert_eq!(bench.converted(&["work.qcow2"]), whole);
    bench.peer("qemu-img", ["check", "-q", "work.qcow2"]).succeed();
}

#[test]
fn an_overlay_moves_to_another_parent_with_its_contents() {
    let bench = bench();
    let mut model = bench.read("base.raw");
    let server = overlay(&bench);
    let mut client = Client::connect(server.socket()).expect("the server");
    write(&mut client, &mut model, 3 << 20, 1 << 20, 8);
    stop(server);
    let mut other = content::sample(SIZE);
    other[5 << 20..(5 << 20) + 100_000].fill(0x77);
    bench.write("other.raw", &other);
    let rebase =
        ["overlay", "rebase", "work.qcow2", "--parent", "other.raw", "--new-format", "raw"];
    bench.fumehood(rebase).succeed();
    std::fs::remove_file(bench.path("base.raw")).expect("our file");
    expect(&bench, "work.qcow2", &model);

    std::fs::create_dir(bench.path("moved")).expect("our folder");
    std::fs::rename(bench.path("other.raw"), bench.path("moved/other.raw")).expect("our file");
    let rebase =
        ["overlay", "rebase", "work.qcow2", "--parent", "moved/other.raw", "--new-format", "raw"];
    bench.fumehood([&rebase[..], &["--only-record"]].concat()).succeed();
    expect(&bench, "work.qcow2", &model);
}

#[test]
fn every_writable_format_is_made_converted_and_read_by_qemu() {
    let bench = bench();
    let expected = (SIZE as u64, content::hash(&content::sample(SIZE)));
    let cases: &[(&str, &str, &[&str])] = &[
        ("raw", "raw", &[]),
        ("qcow2", "qcow2", &[]),
        ("qcow2", "qcow2", &["--compress"]),
        ("qcow2", "qcow2", &["--compress", "zstd"]),
        ("qcow2", "qcow2", &["--output-option", "cluster_size=2097152"]),
        ("qcow2", "qcow2", &["--output-option", "extended_l2=on"]),
        ("vhdx", "vhdx", &[]),
        ("vhdx", "vhdx", &["--output-option", "subformat=fixed"]),
        ("vhd", "vpc", &[]),
        ("vhd", "vpc", &["--output-option", "subformat=fixed"]),
    ];
    for (format, theirs, options) in cases {
        let head = ["convert", "-f", "raw", "base.raw", "out", "-O", format, "--verify", "--force"];
        bench.fumehood([&head[..], options].concat()).succeed();
        let image = ["-f", theirs, "out"];
        assert_eq!(bench.converted_by_qemu(&image), expected, "{format} {options:?}");
        if !matches!(*theirs, "raw" | "vpc") {
            bench.peer("qemu-img", ["check", "-q", "-f", theirs, "out"]).succeed();
        }
        assert_eq!(bench.converted(&["out", "-f", format]), expected, "{format} {options:?}");
    }
    assert_eq!(bench.names(), ["base.raw", "out"], "nothing is left lying about");
}

#[test]
fn a_parent_may_be_of_any_format_and_lie_anywhere_in_a_chain_of_both_makers() {
    let bench = bench();
    let convert = ["convert", "-f", "raw", "-O", "qcow2", "base.raw", "base.qcow2"];
    bench.peer("qemu-img", convert).succeed();
    let theirs = ["create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "1.qcow2"];
    bench.peer("qemu-img", theirs).succeed();
    bench.qemu_io("1.qcow2", &["write -P 1 1M 100k"]);
    bench.fumehood(["create", "2.qcow2", "-O", "qcow2", "--parent", "1.qcow2"]).succeed();
    let theirs = ["create", "-q", "-f", "qcow2", "-b", "2.qcow2", "-F", "qcow2", "3.qcow2"];
    bench.peer("qemu-img", theirs).succeed();
    bench.qemu_io("3.qcow2", &["write -P 3 2M 100k"]);
    let mut model = content::sample(SIZE);
    model[1 << 20..(1 << 20) + (100 << 10)].fill(1);
    model[2 << 20..(2 << 20) + (100 << 10)].fill(3);
    expect(&bench, "3.qcow2", &model);
    for format in ["vhdx", "vhd"] {
        let base = format!("base.{format}");
        bench.fumehood(["convert", "3.qcow2", &base, "-O", format]).succeed();
        bench.fumehood(["create", format, "-O", format, "--parent", &base]).succeed();
        assert_eq!(bench.converted(&[format]), (SIZE as u64, content::hash(&model)), "{format}");
    }
}

#[test]
fn a_disk_grows_while_it_is_served_and_what_is_new_is_zero() {
    let bench = bench();
    let mut model = bench.read("base.raw");
    let server = overlay(&bench);
    let mut client = Client::connect(server.socket()).expect("the server");
    write(&mut client, &mut model, 23 << 20, 1 << 20, 3);
    bench.fumehood(["overlay", "resize", "work.qcow2", "20M"]).succeed();
    bench.fumehood(["overlay", "resize", "work.qcow2", "32M"]).succeed();
    model.truncate(20 << 20);
    model.resize(32 << 20, 0);
    let mut client = Client::connect(server.socket()).expect("the server");
    assert_eq!(client.size, 32 << 20);
    write(&mut client, &mut model, 30 << 20, 1 << 20, 4);
    stop(server);
    expect(&bench, "work.qcow2", &model);
    bench.fumehood(["overlay", "resize", "work.qcow2", "1M"]).succeed();
    model.truncate(1 << 20);
    expect(&bench, "work.qcow2", &model);
}

#[test]
fn a_vhdx_is_frozen_under_the_identity_that_writing_gave_it() {
    let bench = bench();
    bench.fumehood(["convert", "-f", "raw", "base.raw", "base.vhdx", "-O", "vhdx"]).succeed();
    let image = ["base.vhdx", "--overlay", "work.vhdx", "--overlay-format", "vhdx"];
    let server = Server::unix(&bench, &image);
    let mut client = Client::connect(server.socket()).expect("the server");
    let mut model = content::sample(SIZE);
    write(&mut client, &mut model, 1 << 20, 4608, 1);
    bench.fumehood(["overlay", "new", "work.vhdx"]).succeed();
    write(&mut client, &mut model, (1 << 20) + 512, 1024, 2);
    stop(server);
    assert_eq!(bench.converted(&["work.vhdx"]), (SIZE as u64, content::hash(&model)));
}

#[test]
fn a_file_that_takes_anothers_place_has_its_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let bench = bench();
    stop(overlay(&bench));
    let path = bench.path("work.qcow2");
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&path, private.clone()).expect("our file");
    for order in [["overlay", "new"], ["overlay", "discard"]] {
        bench.fumehood(order).arg("work.qcow2").succeed();
        let found = path.metadata().expect("our file").permissions();
        assert_eq!(found.mode() & 0o777, private.mode() & 0o777, "{order:?}");
    }
    bench.fumehood(["compact", "work.qcow2"]).succeed();
    assert_eq!(path.metadata().expect("our file").permissions().mode() & 0o777, 0o600);
}

#[test]
fn compacting_gives_back_what_was_deleted() {
    let bench = bench();
    let server = overlay(&bench);
    let mut client = Client::connect(server.socket()).expect("the server");
    let mut model = bench.read("base.raw");
    write(&mut client, &mut model, 0, 8 << 20, 5);
    let zeroes = vec![0; 7 << 20];
    assert_eq!(client.request(WRITE, 0, 7 << 20, &zeroes), 0);
    model[..7 << 20].fill(0);
    stop(server);
    let before = allocated(&bench);
    bench.fumehood(["compact", "work.qcow2"]).succeed();
    assert!(allocated(&bench) + (6 << 20) < before, "{} of {before}", allocated(&bench));
    expect(&bench, "work.qcow2", &model);
}

fn allocated(bench: &Bench) -> u64 {
    let layers: Value = bench.json(&["overlay", "list", "work.qcow2", "--json"]);
    layers["layers"][0]["allocated"].as_u64().expect("bytes")
}
