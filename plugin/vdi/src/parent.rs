//! What an image says of its parent, and where that parent may lie.
//!
//! An image records its parent's two UUIDs: the one that the parent was made with, and
//! the one of its last change. Both must be what the parent shows, so they are joined
//! into one identity. VirtualBox keeps the names of files in its own settings; here
//! they come from
//!
//! * the setting `parent`, once for each parent, from the top of the chain down. All
//!   images of a chain are shown the same settings, so each takes the names that stand
//!   behind its own;
//! * otherwise the name that VirtualBox gives to the images of snapshots: their UUID
//!   in braces, in the same folder.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::Parent;

use crate::header::Uuids;
use crate::uuid::Uuid;

/// The name of the setting.
const SETTING: &str = "parent";

/// What a child would record of an image with these UUIDs.
pub fn identity(uuids: &Uuids) -> Option<String> {
    joined(&uuids.create, &uuids.modify)
}

/// The parent that an image of this name with these UUIDs records.
pub fn parent(name: &str, uuids: &Uuids, settings: &[(String, String)]) -> Parent {
    let mut references = named(name, settings);
    if references.is_empty() {
        references = by_uuid(&uuids.linkage);
    }
    let identities = joined(&uuids.linkage, &uuids.parent_modify).into_iter().collect();
    Parent { references, identities, format: Some("vdi".into()) }
}

/// What is to say of the parent of an image of this name.
pub fn warnings(name: &str, uuids: &Uuids, settings: &[(String, String)]) -> Vec<String> {
    let mut warnings = Vec::new();
    if named(name, settings).is_empty() {
        let guess = match by_uuid(&uuids.linkage).first() {
            Some(guess) => format!("{guess} is looked for, as VirtualBox names snapshots"),
            None => "and no UUID of it either".into(),
        };
        warnings.push(format!(
            "a differencing VDI does not record where its parent lies, {guess}; another file is \
             named with the setting {SETTING}=FILE, in its folder or by a path from there, once \
             for each parent from the top of the chain down"
        ));
    }
    if uuids.linkage.is_nil() {
        let what = "the parent's UUID is not recorded: any parent that is named is taken";
        warnings.push(what.into());
    }
    warnings
}

/// Both UUIDs in one text; none without the first.
fn joined(create: &Uuid, modify: &Uuid) -> Option<String> {
    (!create.is_nil()).then(|| format!("{}/{}", create.text(), modify.text()))
}

fn by_uuid(linkage: &Uuid) -> Vec<String> {
    if linkage.is_nil() {
        return Vec::new();
    }
    vec![format!("{{{}}}.vdi", linkage.text())]
}

/// The names in the settings that stand behind the image's own, or all of them.
fn named(name: &str, settings: &[(String, String)]) -> Vec<String> {
    let values = settings.iter().filter(|(key, _)| key == SETTING);
    let files: Vec<&String> = values.map(|(_, value)| value).collect();
    let own = files.iter().rposition(|file| file.rsplit('/').next() == Some(name));
    let first = own.map_or(0, |own| own + 1);
    files.into_iter().skip(first).cloned().collect()
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn each_image_takes_the_names_behind_its_own() {
        let settings = ["snapshots/two.vdi", "one.vdi", "../base.vdi"]
            .map(|file| (SETTING.to_string(), file.to_string()));
        assert_eq!(named("three.vdi", &settings).len(), 3);
        assert_eq!(named("two.vdi", &settings), ["one.vdi", "../base.vdi"]);
        assert_eq!(named("one.vdi", &settings), ["../base.vdi"]);
        assert_eq!(named("base.vdi", &settings), [""; 0]);
        assert_eq!(named("two.vdi", &[("other".into(), "x.vdi".into())]), [""; 0]);
    }
}
