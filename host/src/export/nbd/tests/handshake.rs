//! Options of the handshake.

use super::*;

fn greeted() -> Client {
    let mut second = Sample::new();
    second.name = "second";
    second.size = 5 << 20;
    let mut client = Client::connect(vec![Arc::new(Sample::new()), Arc::new(second)]);
    client.send(&3_u32.to_be_bytes());
    client
}

fn summary(data: &[u8]) -> ExportSummary {
    assert_eq!(data[..2], information::EXPORT.to_be_bytes());
    ExportSummary::read_from_bytes(&data[2..]).unwrap()
}

#[test]
fn exports_are_listed() {
    let mut client = greeted();
    let replies = client.option(option::LIST, &[]);
    assert_eq!(replies.len(), 3);
    assert_eq!(replies[0].data, [string_data("sample"), b"a pattern".to_vec()].concat());
    assert_eq!(replies[1].data, [string_data("second"), b"a pattern".to_vec()].concat());
    assert_eq!(client.option_kind(option::LIST, b"x"), option_reply::INVALID);
    assert_eq!(client.option(option::ABORT, b"bye"), [acknowledged()]);
    assert!(client.end().is_ok());
}

#[test]
fn exports_are_described() {
    let mut client = greeted();
    let kinds = [information::NAME, information::DESCRIPTION, information::BLOCK_SIZE, 99];
    let replies = client.option(option::INFO, &information_data("second", &kinds));
    let summary = summary(&replies[0].data);
    assert_eq!(summary.size.get(), 5 << 20);
    let flags = summary.flags.get();
    assert_ne!(flags & transmission_flag::READ_ONLY, 0);
    assert_eq!(flags & transmission_flag::SEND_DF, 0);
    let information: Vec<&[u8]> = replies.iter().map(|reply| reply.data.as_slice()).collect();
    assert_eq!(information[1], [0, 3, 0, 0, 0, 1, 0, 0, 16, 0, 2, 0, 0, 0]);
    assert_eq!(information[2], b"\0\x01second");
    assert_eq!(information[3], b"\0\x02a pattern");
    assert_eq!(replies.len(), 5);
    // The default export, and one that does not exist.
    let replies = client.option(option::INFO, &information_data("", &[]));
    assert_eq!(super::handshake::summary(&replies[0].data).size.get(), sample::SIZE);
    let missing = information_data("missing", &[]);
    assert_eq!(client.option_kind(option::GO, &missing), option_reply::UNKNOWN);
}

#[test]
fn structured_replies_offer_unfragmented_reads() {
    let mut client = greeted();
    assert_eq!(client.option_kind(option::STRUCTURED_REPLY, b"x"), option_reply::INVALID);
    assert_eq!(client.option(option::STRUCTURED_REPLY, &[]), [acknowledged()]);
    let replies = client.option(option::GO, &information_data("sample", &[]));
    assert_ne!(summary(&replies[0].data).flags.get() & transmission_flag::SEND_DF, 0);
}

#[test]
fn contexts_are_listed_and_chosen() {
    let mut client = greeted();
    let all = context_data("", &[]);
    assert_eq!(client.option_kind(option::LIST_META_CONTEXT, &all), option_reply::INVALID);
    client.option(option::STRUCTURED_REPLY, &[]);
    let context = |number: u32| OptionReply {
        kind: option_reply::META_CONTEXT,
        data: [&number.to_be_bytes(), ALLOCATION_CONTEXT.as_bytes()].concat(),
    };
    let both = context_data("", &["x-other:thing", "base:", "base:allocation", "base:new"]);
    let wildcard = context_data("", &["base:"]);
    let listed = [context(0), acknowledged()];
    for data in [&all, &both, &wildcard] {
        assert_eq!(client.option(option::LIST_META_CONTEXT, data), listed);
    }
    for data in [&all, &wildcard] {
        assert_eq!(client.option(option::SET_META_CONTEXT, data), [acknowledged()]);
    }
    assert_eq!(client.option(option::SET_META_CONTEXT, &both), [context(1), acknowledged()]);
    let missing = context_data("missing", &[]);
    assert_eq!(client.option_kind(option::SET_META_CONTEXT, &missing), option_reply::UNKNOWN);
}

#[test]
fn a_context_holds_only_for_its_export_and_until_it_is_replaced() {
    for spoil in [context_data("", &[]), context_data("second", &["base:allocation"]), vec![1]] {
        let mut client = greeted();
        client.option(option::STRUCTURED_REPLY, &[]);
        client.option(option::SET_META_CONTEXT, &context_data("", &["base:allocation"]));
        client.option(option::SET_META_CONTEXT, &spoil);
        client.option(option::GO, &information_data("", &[]));
        client.request(command::BLOCK_STATUS, 0, 0, 512);
        assert_eq!(client.error(), error_number::INVALID);
    }
}

#[test]
fn unknown_options_are_refused_and_the_next_is_understood() {
    let mut client = greeted();
    for unknown in [option::STARTTLS, 4, 11, 0, u32::MAX] {
        assert_eq!(client.option_kind(unknown, b""), option_reply::UNSUPPORTED);
        assert_eq!(client.option_kind(unknown, &[7; 5000]), option_reply::UNSUPPORTED);
    }
    assert_eq!(client.option_kind(12, &vec![7; 65_537]), option_reply::TOO_BIG);
    assert_eq!(client.option_kind(option::LIST, &[]), option_reply::ACK);
}

#[test]
fn malformed_options_are_refused() {
    let mut client = greeted();
    client.option(option::STRUCTURED_REPLY, &[]);
    let long_name = string_data(&"n".repeat(5000));
    let not_text = [&3_u32.to_be_bytes()[..], &[0xff; 3], &[0; 2]].concat();
    let trailing = [information_data("", &[]), vec![0]].concat();
    let short_list = [string_data(""), vec![0, 2, 0, 0]].concat();
    let beyond = [&u32::MAX.to_be_bytes()[..], b"name"].concat();
    for data in [&vec![], &vec![0; 3], &long_name, &not_text, &trailing, &short_list, &beyond] {
        assert_eq!(client.option_kind(option::GO, data), option_reply::INVALID);
    }
    let many = [string_data(""), u32::MAX.to_be_bytes().to_vec()].concat();
    let beyond = [string_data(""), vec![0, 0, 0, 1], u32::MAX.to_be_bytes().to_vec()].concat();
    let no_namespace = context_data("", &["allocation"]);
    let trailing = [context_data("", &[]), vec![0]].concat();
    for data in [&vec![0; 3], &many, &beyond, &no_namespace, &trailing] {
        assert_eq!(client.option_kind(option::SET_META_CONTEXT, data), option_reply::INVALID);
    }
}

#[test]
fn the_old_way_to_begin_works() {
    for (flags, padding) in [(1_u32, EXPORT_PADDING), (3, 0)] {
        let mut client = Client::connect(vec![Arc::new(Sample::new())]);
        client.send(&flags.to_be_bytes());
        // A request may already follow.
        client.send_option(option::EXPORT_NAME, b"sample");
        client.request(command::FLUSH, 0, 0, 0);
        let summary: ExportSummary = client.take();
        assert_eq!(summary.size.get(), sample::SIZE);
        assert_eq!(client.take_bytes(padding), vec![0; padding]);
        assert_eq!(client.simple_reply(), (0, 7));
        client.request(command::DISCONNECT, 0, 0, 0);
        assert!(client.end().is_ok());
    }
}

#[test]
fn the_old_way_to_begin_ends_where_there_is_no_export() {
    let mut client = greeted();
    client.send_option(option::EXPORT_NAME, b"missing");
    assert!(client.end().is_err());
}

#[test]
fn a_stopping_server_begins_no_transmission() {
    let mut client = greeted();
    client.control.stop();
    let data = information_data("", &[]);
    assert_eq!(client.option_kind(option::GO, &data), option_reply::SHUTDOWN);
    assert_eq!(client.option(option::ABORT, &[]), [acknowledged()]);
}
