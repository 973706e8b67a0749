use std::fmt;

/// A signal that a program can be sent, under its name in POSIX. There is no `KILL`: that is
/// [`Process::kill`](super::Process::kill), which reaches the whole tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Signal {
    /// `HUP`: read the configuration again, by custom.
    Hangup,
    /// `INT`: as from the keyboard.
    Interrupt,
    /// `QUIT`: as from the keyboard, and leave a core.
    Quit,
    /// `USR1`: whatever the program takes it for.
    User1,
    /// `USR2`: whatever the program takes it for.
    User2,
    /// `TERM`: end in order.
    Terminate,
    /// `CONT`: go on after a stop.
    Continue,
    /// `STOP`: stand still.
    Stop,
}

impl Signal {
    /// Every signal under its name.
    pub const NAMES: [(&'static str, Self); 8] = [
        ("HUP", Self::Hangup),
        ("INT", Self::Interrupt),
        ("QUIT", Self::Quit),
        ("USR1", Self::User1),
        ("USR2", Self::User2),
        ("TERM", Self::Terminate),
        ("CONT", Self::Continue),
        ("STOP", Self::Stop),
    ];
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(_, signal)| signal == self).map(|(name, _)| *name);
        f.write_str(name.unwrap_or_default())
    }
}
