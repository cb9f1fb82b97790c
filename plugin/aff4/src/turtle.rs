//! Reads Turtle, as far as writers of AFF4 use it: prefixes, IRIs, `a`, `;` and `,`,
//! literals with types or languages, numbers, comments. Statements are handed on one by
//! one; what they mean is not known here.
//!
//! Not here: blank nodes in brackets and collections, which are refused by name.
//!
//! Source: W3C, "RDF 1.1 Turtle", sections 2 and 6.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};

/// What `a` stands for.
pub const TYPE: &str = "http://www.w3.org/1999/02/22-rdf-syntax-ns#type";
/// The most prefixes a text declares.
const MOST_PREFIXES: usize = 64;
/// The longest IRI, in bytes.
const MOST_IRI: usize = 4096;

/// The object of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A name.
    Iri(String),
    /// A value, and the IRI of its type, which may be empty.
    Literal {
        /// The value.
        text: String,
        /// Its type.
        datatype: String,
    },
}

/// What is wrong with a text, and at which byte of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// Counted from 0.
    pub offset: usize,
    /// What was expected.
    pub what: String,
}

type Parsed<T> = core::result::Result<T, Flaw>;
/// Takes subject, predicate and object of a statement, or says why not.
pub type Take<'t> = &'t mut dyn FnMut(&str, &str, Node) -> core::result::Result<(), String>;

/// Reads all statements of `text`.
///
/// # Errors
/// The first [`Flaw`], or what `take` has against a statement.
pub fn parse(text: &str, take: Take<'_>) -> Parsed<()> {
    let mut reader = Reader { text, rest: text, prefixes: BTreeMap::new() };
    loop {
        reader.skip_blank();
        if reader.rest.is_empty() {
            return Ok(());
        }
        if !reader.directive()? {
            reader.statements(take)?;
        }
    }
}

struct Reader<'t> {
    text: &'t str,
    rest: &'t str,
    prefixes: BTreeMap<&'t str, String>,
}

impl<'t> Reader<'t> {
    fn flaw<T>(&self, what: impl Into<String>) -> Parsed<T> {
        Err(Flaw { offset: self.text.len() - self.rest.len(), what: what.into() })
    }

    /// Goes past white space and comments.
    fn skip_blank(&mut self) {
        loop {
            self.rest = self.rest.trim_start();
            let Some(comment) = self.rest.strip_prefix('#') else { return };
            self.rest = comment.split_once('\n').map_or("", |(_, rest)| rest);
        }
    }

    /// Goes past `mark`, if it comes next.
    fn take_mark(&mut self, mark: char) -> bool {
        self.skip_blank();
        let rest = self.rest.strip_prefix(mark);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, mark: char) -> Parsed<()> {
        if self.take_mark(mark) { Ok(()) } else { self.flaw(format!("expected `{mark}`")) }
    }

    /// The next bytes up to one that `ends` is true for.
    fn word(&mut self, ends: impl Fn(char) -> bool) -> &'t str {
        let end = self.rest.find(ends).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// A declaration of a prefix or a base, if one comes next.
    fn directive(&mut self) -> Parsed<bool> {
        let (sparql, rest) = match self.rest.strip_prefix('@') {
            Some(rest) => (false, rest),
            None => (true, self.rest),
        };
        let end = rest.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(rest.len());
        let (keyword, behind) = rest.split_at(end);
        let prefix = keyword.eq_ignore_ascii_case("prefix");
        let known = prefix || keyword.eq_ignore_ascii_case("base");
        if !known || sparql && !behind.starts_with(char::is_whitespace) {
            return if sparql { Ok(false) } else { self.flaw("expected `@prefix` or `@base`") };
        }
        self.rest = behind;
        self.skip_blank();
        let name = if prefix { self.word(|letter| letter == ':') } else { "" };
        if prefix {
            self.expect(':')?;
        }
        let iri = self.iri()?;
        // IRIs are absolute in AFF4: a base changes none of them.
        if prefix {
            self.prefixes.insert(name, iri);
        }
        if self.prefixes.len() > MOST_PREFIXES {
            return self.flaw(format!("more than {MOST_PREFIXES} prefixes"));
        }
        if !sparql {
            self.expect('.')?;
        }
        Ok(true)
    }

    /// A subject and all that is said of it.
    fn statements(&mut self, take: Take<'_>) -> Parsed<()> {
        let subject = self.name()?;
        loop {
            let predicate = self.predicate()?;
            loop {
                let object = self.object()?;
                if let Err(what) = take(&subject, &predicate, object) {
                    return self.flaw(what);
                }
                if !self.take_mark(',') {
                    break;
                }
            }
            let mut more = false;
            while self.take_mark(';') {
                more = true;
            }
            if self.take_mark('.') {
                return Ok(());
            }
            if !more {
                return self.flaw("expected `;`, `,` or `.`");
            }
        }
    }

    fn predicate(&mut self) -> Parsed<String> {
        self.skip_blank();
        match self.rest.strip_prefix('a') {
            Some(rest) if rest.starts_with([' ', '\t', '\r', '\n', '<']) => {
                self.rest = rest;
                Ok(TYPE.to_string())
            }
            _ => self.name(),
        }
    }

    /// An IRI, a prefixed name, or the name of a blank node.
    fn name(&mut self) -> Parsed<String> {
        self.skip_blank();
        match self.rest.chars().next() {
            Some('<') => self.iri(),
            Some('[' | '(') => self.flaw("brackets: they are not read"),
            _ => self.prefixed(),
        }
    }

    /// An IRI in angle brackets.
    fn iri(&mut self) -> Parsed<String> {
        self.expect('<')?;
        let iri = self.word(|letter| letter == '>' || letter.is_whitespace());
        if iri.len() > MOST_IRI {
            return self.flaw(format!("an IRI of more than {MOST_IRI} bytes"));
        }
        let Some(rest) = self.rest.strip_prefix('>') else { return self.flaw("expected `>`") };
        self.rest = rest;
        if iri.contains('\\') { self.unescape(iri) } else { Ok(iri.to_string()) }
    }

    fn prefixed(&mut self) -> Parsed<String> {
        let start = self.rest;
        let word = self.word(|letter| letter.is_whitespace() || ";,<>\"[]()#".contains(letter));
        // A dot may stand inside of a name, and ends a statement behind it.
        let name = word.trim_end_matches('.');
        self.rest = start.get(name.len()..).unwrap_or_default();
        let Some((prefix, local)) = name.split_once(':') else {
            self.rest = start;
            return self.flaw("expected a name");
        };
        if prefix == "_" {
            return Ok(name.to_string());
        }
        match self.prefixes.get(prefix) {
            Some(iri) if iri.len() + local.len() <= MOST_IRI => {
                Ok(format!("{iri}{}", local.replace('\\', "")))
            }
            Some(_) => self.flaw(format!("an IRI of more than {MOST_IRI} bytes")),
            None => {
                self.rest = start;
                self.flaw("a prefix that is not declared")
            }
        }
    }

    fn object(&mut self) -> Parsed<Node> {
        self.skip_blank();
        match self.rest.chars().next() {
            Some('"' | '\'') => self.literal(),
            Some('0'..='9' | '+' | '-' | '.') => self.plain(),
            _ if self.rest.starts_with("true") || self.rest.starts_with("false") => self.plain(),
            _ => self.name().map(Node::Iri),
        }
    }

    /// A number or a truth value.
    fn plain(&mut self) -> Parsed<Node> {
        let start = self.rest;
        let word = self.word(|letter| letter.is_whitespace() || ";,".contains(letter));
        let text = word.trim_end_matches('.');
        self.rest = start.get(text.len()..).unwrap_or_default();
        Ok(Node::Literal { text: text.to_string(), datatype: String::new() })
    }

    fn literal(&mut self) -> Parsed<Node> {
        let long = ["\"\"\"", "'''"].into_iter().find(|mark| self.rest.starts_with(mark));
        let mark = match long {
            Some(mark) => mark,
            None if self.rest.starts_with('"') => "\"",
            None => "'",
        };
        self.rest = self.rest.get(mark.len()..).unwrap_or_default();
        let Some(end) = closing(self.rest, mark) else {
            return self.flaw(format!("a text without its closing {mark}"));
        };
        let (raw, behind) = self.rest.split_at(end);
        let text = if raw.contains('\\') { self.unescape(raw)? } else { raw.to_string() };
        self.rest = behind.get(mark.len()..).unwrap_or_default();
        let mut datatype = String::new();
        if let Some(rest) = self.rest.strip_prefix("^^") {
            self.rest = rest;
            datatype = self.name()?;
        } else if let Some(rest) = self.rest.strip_prefix('@') {
            self.rest = rest;
            self.word(|letter| !letter.is_ascii_alphanumeric() && letter != '-');
        }
        Ok(Node::Literal { text, datatype })
    }

    fn unescape(&self, raw: &str) -> Parsed<String> {
        let mut text = String::with_capacity(raw.len());
        let mut letters = raw.chars();
        while let Some(letter) = letters.next() {
            if letter != '\\' {
                text.push(letter);
                continue;
            }
            let unescaped = match letters.next() {
                Some('t') => Some('\t'),
                Some('b') => Some('\u{8}'),
                Some('n') => Some('\n'),
                Some('r') => Some('\r'),
                Some('f') => Some('\u{c}'),
                Some(quote @ ('"' | '\'' | '\\')) => Some(quote),
                Some('u') => character(&mut letters, 4),
                Some('U') => character(&mut letters, 8),
                _ => None,
            };
            match unescaped {
                Some(letter) => text.push(letter),
                None => return self.flaw("an escape that Turtle does not have"),
            }
        }
        Ok(text)
    }
}

/// Where the quotes `mark` close a text that begins `rest`.
fn closing(rest: &str, mark: &str) -> Option<usize> {
    let mut at = 0;
    loop {
        let tail = rest.get(at..)?;
        let next = tail.find(|letter| letter == '\\' || mark.starts_with(letter))?;
        let found = tail.get(next..)?;
        if found.starts_with(mark) {
            return Some(at + next);
        }
        let escaped = found.strip_prefix('\\').and_then(|rest| rest.chars().next());
        at += next + 1 + escaped.map_or(0, char::len_utf8);
    }
}

/// The character that so many hexadecimal digits stand for.
fn character(letters: &mut core::str::Chars<'_>, digits: usize) -> Option<char> {
    let mut value = 0;
    for _ in 0..digits {
        value = value << 4 | letters.next()?.to_digit(16)?;
    }
    char::from_u32(value)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn read(text: &str) -> Parsed<Vec<String>> {
        let mut found = Vec::new();
        parse(text, &mut |subject, predicate, object| {
            let object = match object {
                Node::Iri(iri) => iri,
                Node::Literal { text, datatype } => format!("{text:?}^{datatype}"),
            };
            found.push(format!("{subject} {predicate} {object}"));
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn what_writers_use_is_read() {
        let text = "@prefix : <aff4://v> .\n@prefix x: <http://x#> . # a comment . ;\n\
            PREFIX y: <http://y/>\n@base <http://b> .\n\
            : a x:Volume ; x:stored \"a \\\"b\\\" \\u0041\\n\" .\n\
            <aff4://1>\n  a x:A , x:B;\n x:size \"5\"^^x:long , 8688 ; x:ok true;\n\
            y:a.b 'single'@en-GB ; ;\n x:long \"\"\"two\n\"lines\\\\\"\"\"^^<t>.\n\
            _:b0 x:n -1.5 .";
        let expected = [
            format!("aff4://v {TYPE} http://x#Volume"),
            "aff4://v http://x#stored \"a \\\"b\\\" A\\n\"^".to_string(),
            format!("aff4://1 {TYPE} http://x#A"),
            format!("aff4://1 {TYPE} http://x#B"),
            "aff4://1 http://x#size \"5\"^http://x#long".to_string(),
            "aff4://1 http://x#size \"8688\"^".to_string(),
            "aff4://1 http://x#ok \"true\"^".to_string(),
            "aff4://1 http://y/a.b \"single\"^".to_string(),
            "aff4://1 http://x#long \"two\\n\\\"lines\\\\\"^t".to_string(),
            "_:b0 http://x#n \"-1.5\"^".to_string(),
        ];
        assert_eq!(read(text).unwrap(), expected);
        assert_eq!(read(" # nothing").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn flaws_are_named_with_their_place() {
        for (text, offset, what) in [
            ("<a> <b> <c>", 11, "expected `;`, `,` or `.`"),
            ("<a> <b> x:c .", 8, "a prefix that is not declared"),
            ("<a> <b> \"c .", 9, "a text without its closing \""),
            ("<a> <b> [ <c> <d> ] .", 8, "brackets: they are not read"),
            ("<a> <b> \"\\x\" .", 9, "an escape that Turtle does not have"),
            ("<a <b> <c> .", 2, "expected `>`"),
            ("@what <a> .", 0, "expected `@prefix` or `@base`"),
            ("<a> b <c> .", 4, "expected a name"),
            ("<a>", 3, "expected a name"),
        ] {
            assert_eq!(read(text), Err(Flaw { offset, what: what.to_string() }), "{text}");
        }
    }

    #[test]
    fn any_cut_ends() {
        let text = "@prefix x: <http://x#> .\n<a> a x:A ; x:s \"\"\"ä\\\"\"\"\"^^x:t , 5 .";
        for (cut, _) in text.char_indices() {
            let _ = read(&text[..cut]);
        }
    }
}
