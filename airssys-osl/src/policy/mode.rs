/// What becomes of a denial.
///
/// Whatever the mode, the [always-forbidden](super::always) stays forbidden.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// What is denied is not done.
    #[default]
    Enforce,
    /// What is denied is done, and recorded as [`WouldDeny`](crate::Verdict::WouldDeny) with the rule that denies it: to
    /// try a policy on a program that works before it is enforced.
    AuditOnly,
    /// As [`AuditOnly`](Self::AuditOnly), and each record tells what was needed, so that [`learn`](super::learn::learn)
    /// can write the smallest policy that permits it.
    Learn,
}

impl Mode {
    /// Whether denials are not carried out.
    pub(crate) fn lifts(self) -> bool {
        self != Self::Enforce
    }
}
