//! Values of XML-RPC, as far as the manifest uses them. Nothing here knows what they
//! mean, and nothing recurses.
//!
//! Source: XML-RPC specification, "Payload format".

use alloc::string::String;

use roxmltree::Node;

/// A `<value>` element.
#[derive(Clone, Copy)]
pub struct Value<'a, 'input>(Node<'a, 'input>);

impl<'a, 'input> Value<'a, 'input> {
    /// The value that `node` is.
    pub fn of(node: Node<'a, 'input>) -> Option<Self> {
        node.has_tag_name("value").then_some(Self(node))
    }

    /// What a structure has under this name.
    pub fn member(self, name: &str) -> Option<Self> {
        let members = child(self.0, "struct")?.children();
        let has_name = |member: &Node<'_, '_>| {
            member.has_tag_name("member")
                && child(*member, "name").and_then(|own| own.text()) == Some(name)
        };
        members
            .filter(|member| has_name(member))
            .find_map(|member| child(member, "value"))
            .map(Self)
    }

    /// The values of an array.
    pub fn elements(self) -> impl Iterator<Item = Self> {
        let data = child(self.0, "array").and_then(|array| child(array, "data"));
        data.into_iter().flat_map(|data| data.children()).filter_map(Self::of)
    }

    /// A text, number or truth value as text; nothing else has any.
    pub fn text(self) -> String {
        let inner = self.0.first_element_child().unwrap_or(self.0);
        inner.children().filter(|part| part.is_text()).filter_map(|part| part.text()).collect()
    }

    /// The text that a structure has under this name; empty where there is none.
    pub fn text_of(self, name: &str) -> String {
        self.member(name).map(Self::text).unwrap_or_default()
    }
}

fn child<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    node.children().find(|child| child.has_tag_name(name))
}

#[cfg(test)]
mod tests {
    use roxmltree::Document;

    use super::*;

    #[test]
    fn values_are_found() {
        let text = "<value><struct><member><name>a</name><value>x&amp;y</value></member>\
                    <member><name>b</name><value><i4>7</i4></value></member>\
                    <member><name>c</name><value><array><data><value>1</value>\
                    <value><string>2</string></value></data></array></value></member>\
                    </struct></value>";
        let document = Document::parse(text).unwrap();
        let value = Value::of(document.root_element()).unwrap();
        assert_eq!(value.text_of("a"), "x&y");
        assert_eq!(value.text_of("b"), "7");
        assert_eq!(value.text_of("d"), "");
        let list: alloc::vec::Vec<_> =
            value.member("c").unwrap().elements().map(Value::text).collect();
        assert_eq!(list, ["1", "2"]);
        assert!(value.member("a").unwrap().member("b").is_none());
        assert_eq!(value.member("a").unwrap().elements().count(), 0);
    }
}
