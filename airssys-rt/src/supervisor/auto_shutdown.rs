//! When a supervisor shuts itself down because its children are done.

use std::error::Error;
use std::fmt;

use super::child::Restart;

/// Whether a supervisor shuts itself down when [significant](crate::ChildSpec::significant) children end on their
/// own account: OTP's `auto_shutdown`.
///
/// On its own account ends a child that its supervisor neither stops nor starts again: a transient one that ends
/// normally, a temporary one in any way. The supervisor then stops its other children and ends with
/// [`ExitReason::Shutdown`](crate::ExitReason::Shutdown).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AutoShutdown {
    /// It does not.
    #[default]
    Never,
    /// When the first one ends.
    AnySignificant,
    /// When the last one ends that was left.
    AllSignificant,
}

/// The description of a child contradicts itself, or its supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidSpec {
    /// It is significant and permanent: it would never end on its own account.
    PermanentSignificant,
    /// It is significant, and its supervisor never shuts itself down.
    SignificantWithoutAutoShutdown,
}

impl AutoShutdown {
    /// Whether the end of a significant child is the end; `others` says whether others are left.
    pub(super) fn ends(self, others: bool) -> bool {
        match self {
            Self::Never => false,
            Self::AnySignificant => true,
            Self::AllSignificant => !others,
        }
    }

    /// Whether a supervisor with this setting may have such a child.
    pub(super) fn check(self, significant: bool, restart: Restart) -> Result<(), InvalidSpec> {
        match (significant, self, restart) {
            (false, _, _) => Ok(()),
            (true, _, Restart::Permanent) => Err(InvalidSpec::PermanentSignificant),
            (true, Self::Never, _) => Err(InvalidSpec::SignificantWithoutAutoShutdown),
            (true, _, _) => Ok(()),
        }
    }
}

impl fmt::Display for InvalidSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PermanentSignificant => "a permanent child cannot be significant",
            Self::SignificantWithoutAutoShutdown => {
                "a supervisor that never shuts itself down has no significant children"
            }
        })
    }
}

impl Error for InvalidSpec {}
