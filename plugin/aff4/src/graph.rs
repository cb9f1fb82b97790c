//! What `information.turtle` says, object by object. Terms are found whatever their
//! namespace and spelling: `chunkSize` of the standard, `chunk_size` of before.
//!
//! Source: AFF4 Standard v1.0a, section 2.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::symbol::term;
use crate::turtle::{Flaw, Node, TYPE, parse};

/// What a statement costs besides its texts, about.
const OVERHEAD: usize = 96;

/// What is said of one object: predicates without their namespace, and values.
#[derive(Debug, Default)]
pub struct Object {
    statements: Vec<(String, Node)>,
}

/// The objects of one volume, by their URNs.
#[derive(Debug, Default)]
pub struct Graph {
    objects: BTreeMap<String, Object>,
}

impl Graph {
    /// Reads `text`; takes what memory it costs out of `budget`.
    ///
    /// # Errors
    /// The first [`Flaw`].
    pub fn read(text: &str, budget: &mut usize) -> core::result::Result<Self, Flaw> {
        let mut graph = Self::default();
        parse(text, &mut |subject, predicate, object| {
            graph.add(subject, predicate, object, budget)
        })?;
        Ok(graph)
    }

    fn add(
        &mut self,
        subject: &str,
        predicate: &str,
        node: Node,
        budget: &mut usize,
    ) -> core::result::Result<(), String> {
        let predicate =
            if predicate == TYPE { "type" } else { term(predicate).unwrap_or(predicate) };
        let value = match &node {
            Node::Iri(iri) => iri.len(),
            Node::Literal { text, datatype } => text.len() + datatype.len(),
        };
        let cost = OVERHEAD + subject.len() + predicate.len() + value;
        *budget = budget.checked_sub(cost).ok_or("more statements than are read")?;
        if !self.objects.contains_key(subject) {
            self.objects.insert(subject.to_string(), Object::default());
        }
        if let Some(object) = self.objects.get_mut(subject) {
            object.statements.push((predicate.to_string(), node));
        }
        Ok(())
    }

    /// The object of that URN.
    pub fn get(&self, urn: &str) -> Option<&Object> {
        self.objects.get(urn)
    }

    /// The objects of a type, with their URNs.
    pub fn of_type(&self, kind: &'static str) -> impl Iterator<Item = (&str, &Object)> {
        let objects = self.objects.iter().map(|(urn, object)| (urn.as_str(), object));
        objects.filter(move |(_, object)| object.is(kind))
    }
}

impl Object {
    /// Whether it is of a type.
    pub fn is(&self, kind: &str) -> bool {
        self.all("type").any(|node| match node {
            Node::Iri(iri) => term(iri).is_some_and(|term| same(term, kind)),
            Node::Literal { .. } => false,
        })
    }

    /// All values of a property.
    pub fn all(&self, property: &'static str) -> impl Iterator<Item = &Node> {
        let named = move |(name, _): &&(String, Node)| same(name, property);
        self.statements.iter().filter(named).map(|(_, node)| node)
    }

    /// The name that a property gives.
    pub fn iri(&self, property: &'static str) -> Option<&str> {
        self.all(property).find_map(|node| match node {
            Node::Iri(iri) => Some(iri.as_str()),
            Node::Literal { .. } => None,
        })
    }

    /// The text that a property gives.
    pub fn text(&self, property: &'static str) -> Option<&str> {
        self.all(property).find_map(|node| match node {
            Node::Literal { text, .. } => Some(text.as_str()),
            Node::Iri(_) => None,
        })
    }

    /// The number that a property gives.
    ///
    /// # Errors
    /// What stands there instead.
    pub fn number(&self, property: &'static str) -> core::result::Result<Option<u64>, String> {
        let Some(text) = self.text(property) else { return Ok(None) };
        let number = text.trim().parse().map(Some);
        number.map_err(|_| format!("{property} is {text:?}, expected a number"))
    }
}

/// Whether two terms are spelled alike, but for case and underscores.
fn same(one: &str, other: &str) -> bool {
    let letters = |term| str::bytes(term).filter(|byte| *byte != b'_');
    letters(one)
        .map(|byte| byte.to_ascii_lowercase())
        .eq(letters(other).map(|byte| byte.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "@prefix s: <http://aff4.org/Schema#> . @prefix o: <http://afflib.org/2009/aff4#> .\n\
        <a> a s:ImageStream ; s:chunkSize 512 ; s:size \"x\" .\n<b> a o:stream ; o:chunk_size \"1\" .";

    #[test]
    fn terms_are_found_however_they_are_spelled() {
        let graph = Graph::read(TEXT, &mut 4096).unwrap();
        let (urn, a) = graph.of_type("imageStream").next().unwrap();
        assert_eq!((urn, a.number("chunkSize")), ("a", Ok(Some(512))));
        assert!(a.number("size").unwrap_err().contains("\"x\""));
        assert_eq!(graph.get("b").unwrap().number("chunkSize"), Ok(Some(1)));
        assert_eq!(a.number("none"), Ok(None));
    }

    #[test]
    fn memory_is_bounded() {
        assert!(Graph::read(TEXT, &mut 300).unwrap_err().what.contains("more statements"));
    }
}
