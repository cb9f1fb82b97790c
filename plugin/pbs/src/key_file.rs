//! The client's key files: JSON with a key of 32 bytes, as it is or encrypted with one
//! that is derived from a passphrase.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fumehood_plugin::{Error, Result};
use pbkdf2::pbkdf2_hmac;
use serde_json::Value;
use sha2::Sha256;

use crate::blob::{Seal, open_sealed};
use crate::scrypt;

/// The most rounds of PBKDF2: about two seconds.
const MOST_ROUNDS: u64 = 2 << 20;
/// The longest key file, in bytes; real ones have some hundreds.
const LONGEST: usize = 64 << 10;

/// A key file.
pub struct KeyFile {
    derivation: Option<Derivation>,
    data: Vec<u8>,
}

/// How the key that encrypts the key comes from a passphrase.
enum Derivation {
    Scrypt(scrypt::Params, Vec<u8>),
    Pbkdf2(u32, Vec<u8>),
}

impl KeyFile {
    /// The key file that `bytes` are, if they look like one.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a derivation that is not known or costs too much,
    /// [`Error::NeedsKey`] for a file that is damaged.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>> {
        if bytes.len() > LONGEST || !bytes.trim_ascii_start().starts_with(b"{") {
            return Ok(None);
        }
        let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return Ok(None) };
        let Some(data) = value.get("data") else { return Ok(None) };
        let data = decoded(data)
            .ok_or_else(|| Error::NeedsKey("the key file's \"data\" is no base64".into()))?;
        let derivation = match value.get("kdf") {
            None | Some(Value::Null) => None,
            Some(value) => Derivation::parse(value)?,
        };
        Ok(Some(Self { derivation, data }))
    }

    /// Whether it takes a passphrase.
    pub fn is_protected(&self) -> bool {
        self.derivation.is_some()
    }

    /// The key in it, with `passphrase` where one is needed; `None` where it does not
    /// fit.
    pub fn key(&self, passphrase: &[u8]) -> Option<[u8; 32]> {
        let Some(derivation) = &self.derivation else {
            return self.data.as_slice().try_into().ok();
        };
        let (vector, rest) = self.data.split_first_chunk::<16>()?;
        let (tag, sealed) = rest.split_first_chunk::<16>()?;
        let mut key: [u8; 32] = sealed.try_into().ok()?;
        let mut outer = [0; 32];
        match derivation {
            Derivation::Scrypt(params, salt) => params.derive(passphrase, salt, &mut outer),
            Derivation::Pbkdf2(rounds, salt) => {
                pbkdf2_hmac::<Sha256>(passphrase, salt, *rounds, &mut outer);
            }
        }
        let seal = Seal { vector: *vector, tag: *tag };
        open_sealed(&outer, &seal, &mut key).then_some(key)
    }
}

impl Derivation {
    fn parse(value: &Value) -> Result<Option<Self>> {
        let unsupported = |what: String| Err(Error::Unsupported(what));
        if value.as_str().is_some_and(|name| name.eq_ignore_ascii_case("none")) {
            return Ok(None);
        }
        let Some((name, fields)) = value.as_object().and_then(|object| object.iter().next()) else {
            return unsupported("a key file with a derivation that is not known".into());
        };
        let number = |field: &str| fields.get(field).and_then(Value::as_u64).unwrap_or(0);
        let Some(salt) = fields.get("salt").and_then(decoded) else {
            return unsupported(format!("a key file without a salt for {name}"));
        };
        match &*name.to_ascii_lowercase() {
            "scrypt" => {
                let (n, r, p) = (number("n"), number("r"), number("p"));
                match scrypt::Params::new(n, r, p) {
                    Some(params) => Ok(Some(Self::Scrypt(params, salt))),
                    None => unsupported(format!(
                        "a key file with scrypt of n={n}, r={r}, p={p}, which takes too long; \
                         its key without a passphrase can be given instead"
                    )),
                }
            }
            "pbkdf2" => match number("iter") {
                // The bound fits.
                rounds @ 1..=MOST_ROUNDS => Ok(Some(Self::Pbkdf2(rounds as u32, salt))),
                rounds => unsupported(format!(
                    "a key file with {rounds} rounds of PBKDF2; 1 to {MOST_ROUNDS} are done"
                )),
            },
            _ => unsupported(format!("a key file with a derivation called {name}")),
        }
    }
}

fn decoded(value: &Value) -> Option<Vec<u8>> {
    STANDARD.decode(value.as_str()?).ok()
}
