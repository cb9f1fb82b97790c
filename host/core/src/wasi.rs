//! An empty, closed world for plugins that were built for `wasm32-wasip2`.
//!
//! Such a plugin imports WASI because its standard library does, not because it needs
//! it. What the library calls on its own gets the emptiest answer there is: no arguments,
//! no variables, no folders, the year 1970. What is printed goes to the log. Everything
//! else is there to be linked, and traps when it is called.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, Resource, ResourceType, Val};
use wasmtime::{Result, StoreContextMut, bail};

use crate::contract::log::{Host as _, Level};
use crate::imports::Imports;

/// How the names of WASI's interfaces begin.
const PREFIX: &str = "wasi:";
/// The packages that a standard library imports on its own. Who imports more of WASI
/// (sockets, HTTP) means to use it, and is refused.
const PACKAGES: [&str; 5] = ["cli/", "clocks/", "filesystem/", "io/", "random/"];
/// Bytes that may be printed at once.
const LINE: u64 = 4096;

/// All of WASI's resources on the host's side: there is nothing behind them.
struct Nothing;

/// Whether an import is one of WASI's that may be there.
pub(crate) fn is_wasi(import: &str) -> bool {
    import
        .strip_prefix(PREFIX)
        .is_some_and(|rest| PACKAGES.iter().any(|package| rest.starts_with(package)))
}

/// `linker` with what `component` imports of WASI; mostly that is nothing, and the linker
/// is the one it was.
///
/// # Errors
/// Where that is not of WASI's shape.
pub(crate) fn linker<'a>(
    linker: &'a Linker<Imports>,
    component: &Component,
) -> Result<Cow<'a, Linker<Imports>>> {
    let ty = component.component_type();
    if !ty.imports(component.engine()).any(|(import, _)| is_wasi(import)) {
        return Ok(Cow::Borrowed(linker));
    }
    let mut linker = linker.clone();
    link(&mut linker, component)?;
    Ok(Cow::Owned(linker))
}

fn link(linker: &mut Linker<Imports>, component: &Component) -> Result<()> {
    let engine = component.engine();
    for (import, item) in component.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(instance) = item.ty else { continue };
        if !is_wasi(import) {
            continue;
        }
        let interface = import.split_once('@').map_or(import, |(interface, _)| interface);
        let mut linked = linker.instance(import)?;
        for (name, item) in instance.exports(engine) {
            match item.ty {
                ComponentItem::ComponentFunc(_) => {
                    let (interface, function) = (interface.to_string(), name.to_string());
                    linked.func_new(name, move |store, _, arguments, results| {
                        let answer = answer(store, &interface, &function, arguments)?;
                        match (results, answer) {
                            ([result], Some(answer)) => *result = answer,
                            ([], None) => {}
                            _ => bail!("{interface} has another shape than WASI's"),
                        }
                        Ok(())
                    })?;
                }
                ComponentItem::Resource(_) => {
                    linked.resource(name, ResourceType::host::<Nothing>(), |_, _| Ok(()))?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// What a function of WASI's answers here.
fn answer(
    mut store: StoreContextMut<'_, Imports>,
    interface: &str,
    function: &str,
    arguments: &[Val],
) -> Result<Option<Val>> {
    let interface = interface.strip_prefix(PREFIX).unwrap_or(interface);
    Ok(Some(match (interface, function) {
        ("cli/environment", "initial-cwd") => Val::Option(None),
        ("cli/environment", _) | ("filesystem/preopens", _) => Val::List(Vec::new()),
        ("cli/terminal-stdin" | "cli/terminal-stdout" | "cli/terminal-stderr", _) => {
            Val::Option(None)
        }
        ("cli/stdin" | "cli/stdout" | "cli/stderr", _) => {
            let stream = Resource::<Nothing>::new_own(0).try_into_resource_any(&mut store)?;
            Val::Resource(stream)
        }
        ("io/streams", "[method]input-stream.read" | "[method]input-stream.blocking-read") => {
            Val::Result(Err(Some(Box::new(Val::Variant("closed".into(), None)))))
        }
        ("io/streams", "[method]output-stream.check-write") => {
            Val::Result(Ok(Some(Box::new(Val::U64(LINE)))))
        }
        (
            "io/streams",
            "[method]output-stream.write" | "[method]output-stream.blocking-write-and-flush",
        ) => {
            let text = printed(arguments);
            store.data_mut().emit(Level::Info, text)?;
            Val::Result(Ok(None))
        }
        ("io/streams", "[method]output-stream.flush" | "[method]output-stream.blocking-flush") => {
            Val::Result(Ok(None))
        }
        ("clocks/monotonic-clock", "now" | "resolution") => Val::U64(0),
        ("clocks/wall-clock", "now" | "resolution") => {
            Val::Record(vec![("seconds".into(), Val::U64(0)), ("nanoseconds".into(), Val::U32(0))])
        }
        // What hash tables are seeded with; nothing that must be secret.
        ("random/insecure-seed", _) => Val::Tuple(vec![Val::U64(0), Val::U64(0)]),
        _ => bail!("it calls {interface}#{function}, and WASI is closed to plugins"),
    }))
}

/// The text of a write.
fn printed(arguments: &[Val]) -> String {
    let Some(Val::List(bytes)) = arguments.get(1) else { return String::new() };
    let byte = |value: &Val| if let Val::U8(byte) = value { *byte } else { b'?' };
    let bytes: Vec<u8> = bytes.iter().take(LINE as usize).map(byte).collect();
    String::from_utf8_lossy(&bytes).trim_end().into()
}
