use std::fmt;

bitflags::bitflags! {
    /// What a grant of a directory permits beneath it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Rights: u8 {
        /// Read what is in files.
        const READ = 1;
        /// See the names in directories.
        const LIST = 1 << 1;
        /// Change what is in files.
        const WRITE = 1 << 2;
        /// Make new files, directories and links.
        const CREATE = 1 << 3;
        /// Remove files and directories.
        const DELETE = 1 << 4;
    }
}

impl Rights {
    /// Every right under the name that a manifest uses.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("read", Self::READ),
        ("list", Self::LIST),
        ("write", Self::WRITE),
        ("create", Self::CREATE),
        ("delete", Self::DELETE),
    ];

    /// The right of a name in a manifest.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, right)| *right)
    }
}

/// Writes the names, joined by `+`.
impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = Self::NAMES.iter().filter(|(_, right)| self.contains(*right)).map(|(name, _)| *name);
        f.write_str(names.next().unwrap_or("nothing"))?;
        names.try_for_each(|name| write!(f, "+{name}"))
    }
}
