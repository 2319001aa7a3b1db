//! Where the entries of an archive may lie: inside of its directory, by whatever way they are reached.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};

/// Longer names are refused, in bytes.
const LONGEST: usize = 1_024;

/// Judges the entries of one archive, in their order.
#[derive(Debug, Default)]
pub(super) struct Inside {
    /// The symbolic links so far: nothing is unpacked through one.
    links: BTreeSet<PathBuf>,
}

impl Inside {
    /// The entry called `name` as a path below the directory; none for the directory itself.
    pub(super) fn path(&self, name: &str) -> Result<Option<PathBuf>, String> {
        let refuse = |why: &str| Err(format!("the entry `{}` {why}", name.escape_debug()));
        if name.len() > LONGEST {
            return Err("an entry has a name of more than 1024 bytes".to_owned());
        }
        if name.contains(['\0', '\\']) {
            return refuse("has a name that no file should have");
        }
        let mut path = PathBuf::new();
        for part in Path::new(name).components() {
            match part {
                Component::Normal(part) => path.push(part),
                Component::CurDir => {}
                Component::ParentDir => return refuse("leads out of the archive (`..`)"),
                Component::RootDir | Component::Prefix(_) => return refuse("is an absolute path"),
            }
        }
        if path.ancestors().any(|above| self.links.contains(above)) {
            return refuse("leads through a symbolic link of the archive");
        }
        Ok((!path.as_os_str().is_empty()).then_some(path))
    }

    /// Admits a symbolic link at `path`, as [`Inside::path`] gave it, to `target`.
    pub(super) fn link(&mut self, path: &Path, target: &str) -> Result<(), String> {
        let shown = path.display();
        let refuse = |why: &str| Err(format!("the symbolic link `{shown}` {why}"));
        if target.is_empty() || target.len() > LONGEST || target.contains(['\0', '\\']) {
            return refuse("has a target that no link should have");
        }
        // From its own directory, which is none that another link leads to, it may go up and then down. Up again
        // from there could be anywhere: what it went down through may be a link.
        let mut above = path.components().count().saturating_sub(1);
        let mut goes_down = false;
        for part in Path::new(target).components() {
            match part {
                Component::Normal(_) => goes_down = true,
                Component::CurDir => {}
                Component::ParentDir if goes_down => return refuse("goes down and up again"),
                Component::ParentDir if above == 0 => return refuse("leads out of the archive"),
                Component::ParentDir => above -= 1,
                Component::RootDir | Component::Prefix(_) => {
                    return refuse("leads to an absolute path");
                }
            }
        }
        self.links.insert(path.to_owned());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_below_the_directory() {
        let inside = Inside::default();
        let path = |name: &str| inside.path(name);
        assert_eq!(path("./bin/app"), Ok(Some(PathBuf::from("bin/app"))));
        assert_eq!(path("./"), Ok(None));
        for name in ["/etc/passwd", "../x", "a/../../x", "a/..", "a\\b", "a\0b"] {
            assert!(path(name).is_err(), "{name:?}");
        }
        assert!(path(&"x".repeat(2_000)).is_err());
    }

    #[test]
    fn links_stay_inside_and_nothing_goes_through_them() {
        let mut inside = Inside::default();
        assert!(inside.link(Path::new("lib/so"), "../real/so").is_ok());
        for target in ["/etc", "../..", "../../x", "a/../../../x", ""] {
            let mut inside = Inside::default();
            assert!(
                inside.link(Path::new("lib/so"), target).is_err(),
                "{target}"
            );
        }
        assert!(
            inside.path("lib/so").is_err(),
            "it would be written through"
        );
        assert!(inside.path("lib/so/x").is_err());
        assert!(inside.path("lib/other").is_ok());
    }

    #[test]
    fn a_chain_of_links_leads_nowhere_else() {
        // Were `l -> d/../x` and `d -> .` admitted, `l` would lead to what lies beside the directory.
        let mut inside = Inside::default();
        assert!(inside.link(Path::new("l"), "d/../x").is_err());
        assert!(inside.link(Path::new("d"), ".").is_ok());
        assert!(inside.link(Path::new("e/f"), "../d").is_ok());
    }
}
