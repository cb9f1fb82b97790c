//! Orders to a serving process: JSON-RPC 2.0 over a Unix socket that only its owner
//! can open, one request and one answer a line.
//!
//! | method | parameters | result |
//! | --- | --- | --- |
//! | `overlay.new` | none | `{"frozen": PATH}`: what was on top, under its new name |
//! | `overlay.list` | none | the layers, top first |
//! | `flush` | none | `null`: everything written so far survives a crash |
//! | `resize` | `{"size": BYTES}` | `null`; clients that connect from then on see it |

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::export::nbd::bind_unix;
use crate::overlay::{self, LayerInfo, Live};

/// The longest request.
const LINE_LIMIT: u64 = 64 << 10;
/// How long a client may take for a request, and a server for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The control socket of the process that serves the overlay at `path`.
pub fn socket_of(path: &Path) -> PathBuf {
    overlay::beside(path, ".control")
}

/// A control socket; it goes away when this is dropped.
pub struct ControlSocket {
    path: PathBuf,
}

impl ControlSocket {
    /// Listens at `path` for orders about `live`.
    ///
    /// # Errors
    /// [`Error::Io`] where the socket cannot be made.
    pub fn start(path: &Path, live: Arc<Live>) -> Result<Self> {
        let shown = path.display();
        let failed = || Error::io(format!("cannot listen at the control socket {shown}"));
        if let Ok(found) = path.symlink_metadata() {
            if !found.file_type().is_socket() {
                return Err(Error::Control(format!("{shown} is there and is no socket")));
            }
            // The overlay is locked, so this is of a process that is gone.
            std::fs::remove_file(path).map_err(failed())?;
        }
        let listener = bind_unix(path).map_err(failed())?;
        listener.set_nonblocking(false).map_err(failed())?;
        let serve = move || {
            for client in listener.incoming().flatten() {
                let live = live.clone();
                // One that says nothing must not keep the others from their orders.
                let answer = move || {
                    if let Err(error) = answer_all(&client, &live) {
                        tracing::debug!("a control client: {error}");
                    }
                };
                if let Err(error) = thread::Builder::new().spawn(answer) {
                    tracing::warn!("a control client is turned away: {error}");
                }
            }
        };
        let thread = thread::Builder::new().name("fumehood-control".into());
        thread.spawn(serve).map_err(Error::io("cannot start the control thread"))?;
        Ok(Self { path: path.to_path_buf() })
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // Whoever connects later finds nothing; the thread ends with the process.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Calls a method of the process that serves the overlay at `path`; `None` where none
/// does.
///
/// # Errors
/// [`Error::Control`] with what the process answered.
pub fn call(path: &Path, method: &str, parameters: &Value) -> Result<Option<Value>> {
    // The socket lies beside the file, not beside a link to it.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let socket = socket_of(&path);
    let shown = socket.display().to_string();
    let mut stream = match UnixStream::connect(&socket) {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(Error::io(format!("cannot reach {shown}"))(error)),
    };
    let failed = || Error::io(format!("no answer from {shown}"));
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed())?;
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters});
    writeln!(stream, "{request}").map_err(failed())?;
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).map_err(failed())?;
    let answer: Value =
        serde_json::from_str(&line).map_err(|error| Error::Control(format!("{shown}: {error}")))?;
    match answer.get("error").and_then(|error| error.get("message")) {
        Some(message) => Err(Error::Control(message.as_str().unwrap_or("failed").to_owned())),
        None => Ok(Some(answer.get("result").cloned().unwrap_or_default())),
    }
}

fn answer_all(client: &UnixStream, live: &Live) -> io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(client);
    loop {
        let mut line = Vec::new();
        io::Read::take(&mut reader, LINE_LIMIT).read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            return Ok(());
        }
        if let Some(answer) = answer(&line, live) {
            writeln!(&*client, "{answer}")?;
        }
    }
}

/// The answer to one request; `None` for a notification.
fn answer(line: &[u8], live: &Live) -> Option<Value> {
    let request: Value = match serde_json::from_slice(line) {
        Ok(request) => request,
        Err(error) => return Some(failure(&Value::Null, -32700, &error.to_string())),
    };
    let id = request.get("id").cloned();
    let Some(method) = request.get("method").and_then(Value::as_str) else {
        return Some(failure(&id.unwrap_or_default(), -32600, "it names no method"));
    };
    let parameters = request.get("params").cloned().unwrap_or_default();
    let result = carry_out(method, &parameters, live);
    let id = id?;
    Some(match result {
        Some(Ok(result)) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        Some(Err(error)) => failure(&id, -32000, &error.to_string()),
        None => failure(&id, -32601, &format!("there is no method {method}")),
    })
}

fn failure(id: &Value, code: i32, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
}

fn carry_out(method: &str, parameters: &Value, live: &Live) -> Option<Result<Value>> {
    let disk = || live.export().disk();
    Some(match method {
        "overlay.new" => live.push().map(|frozen| json!({"frozen": frozen})),
        "overlay.list" => list(live),
        "flush" => disk().flush().map(|()| Value::Null),
        "resize" => match parameters.get("size").and_then(Value::as_u64) {
            Some(size) => disk().resize(size).map(|()| Value::Null),
            None => Err(Error::Control("resize needs the parameter size, in bytes".into())),
        },
        _ => return None,
    })
}

fn list(live: &Live) -> Result<Value> {
    let disk = live.export().disk();
    disk.flush()?;
    Ok(overlay::layers(&disk)?.iter().map(layer).collect())
}

/// A layer as JSON.
pub fn layer(layer: &LayerInfo) -> Value {
    json!({
        "path": layer.path,
        "format": layer.format,
        "disk-size": layer.disk_size,
        "file-size": layer.file_size,
        "allocated": layer.allocated,
        "data": layer.data,
        "zero": layer.zero,
    })
}
