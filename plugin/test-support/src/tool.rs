//! Running programs that are not ours. One that is missing fails the test with the line
//! that installs it.

use std::env;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::thread;

/// What a command writes to its standard output. It must succeed.
pub fn output(command: &mut Command) -> Vec<u8> {
    let output = with_path(command).output().unwrap_or_else(|_| missing(command));
    succeeded(command, output)
}

/// What a tool says. It must succeed.
pub fn run(tool: &str, arguments: &[&str]) -> String {
    let said = output(Command::new(tool).args(arguments));
    String::from_utf8_lossy(&said).into_owned()
}

/// What a tool makes of `input`. It must succeed.
pub fn filter(tool: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new(tool);
    let output = feed(command.args(arguments), input);
    succeeded(&command, output)
}

/// As [`filter`], or `None` where the tool finds fault with `input`.
pub fn try_filter(tool: &str, arguments: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let output = feed(Command::new(tool).args(arguments), input);
    output.status.success().then_some(output.stdout)
}

/// The SHA-256 of `bytes` in hexadecimal digits, by coreutils.
pub fn sha256(bytes: &[u8]) -> String {
    let told = filter("sha256sum", &[], bytes);
    String::from_utf8_lossy(&told).split(' ').next().unwrap_or_default().into()
}

fn feed(command: &mut Command, input: &[u8]) -> Output {
    with_path(command).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|_| missing(command));
    let mut stdin = child.stdin.take().expect("it is piped");
    thread::scope(|scope| {
        // A tool that finds fault need not read to the end; its status tells.
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output().expect("it ends")
    })
}

/// Tools that make file systems are not on every user's path.
fn with_path(command: &mut Command) -> &mut Command {
    command.env("PATH", env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin")
}

fn missing(command: &Command) -> ! {
    let tool = command.get_program().display();
    panic!("{tool} is missing: tests/run installs what the tests need")
}

fn succeeded(command: &Command, output: Output) -> Vec<u8> {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let (tool, arguments) = (command.get_program().display(), command.get_args());
    let told = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{tool} {:?}: {told}", Vec::from_iter(arguments));
    output.stdout
}
