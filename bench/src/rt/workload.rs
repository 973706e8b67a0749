//! What systems of actors are made to do, and how often.

/// One workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// One producer tells one actor. An operation is a message.
    TellOne,
    /// Four producers tell one actor. An operation is a message.
    TellFour,
    /// One asker asks one actor, and waits for each answer. An operation is a question with its answer.
    AskOne,
    /// 64 askers ask one actor, each waiting for its answers. An operation is a question with its answer.
    AskMany,
    /// Two actors pass one ball. An operation is a pass.
    PingPong,
    /// A thousand actors pass one ball around. An operation is a pass.
    Ring,
    /// Actors are started, all of them; then stopped and waited for. An operation is an actor's life.
    SpawnStop,
    /// Actors that have each answered one question, and wait. An operation is an actor.
    Memory,
    /// A tree of actors, ten below each, whose leaves' numbers are added up on the way to its root. An operation is
    /// an actor's life.
    Skynet,
    /// One producer tells many actors, and waits until all have heard. An operation is a message.
    FanOut,
    /// A supervised actor crashes; then it is asked until it answers. An operation is a crash.
    Restart,
}

impl Workload {
    /// Every workload, with its name on the command line.
    pub const ALL: [(&'static str, Self); 11] = [
        ("tell1", Self::TellOne),
        ("tell4", Self::TellFour),
        ("ask_seq", Self::AskOne),
        ("ask64", Self::AskMany),
        ("pingpong", Self::PingPong),
        ("ring", Self::Ring),
        ("spawn", Self::SpawnStop),
        ("mem", Self::Memory),
        ("skynet", Self::Skynet),
        ("fanout", Self::FanOut),
        ("restart", Self::Restart),
    ];

    /// The workload of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, workload)| workload)
    }

    /// How many operations it has. `divisor` makes it smaller, for a test that only wants to see it run.
    pub fn operations(self, divisor: u64) -> u64 {
        let full: u64 = match self {
            Self::TellOne | Self::TellFour => 2_000_000,
            Self::AskOne => 200_000,
            Self::AskMany => 640_000,
            Self::PingPong | Self::Ring | Self::Memory | Self::FanOut => 1_000_000,
            Self::SpawnStop => 100_000,
            Self::Restart => 2_000,
            // Every level of the tree has a tenth of the actors of the one below it.
            Self::Skynet => return (10 * self.leaves(divisor) - 1) / 9,
        };
        // A whole number of rounds, whatever the number of actors or producers is.
        (full / divisor).next_multiple_of(self.actors(divisor))
    }

    /// Among how many actors, or producers, the operations are shared out.
    pub fn actors(self, divisor: u64) -> u64 {
        match self {
            Self::TellFour => 4,
            Self::AskMany => 64,
            Self::PingPong => 2,
            Self::Ring => 1_000,
            Self::FanOut => (10_000 / divisor).max(1),
            _ => 1,
        }
    }

    /// The leaves of [`Skynet`](Self::Skynet)'s tree: a power of ten.
    pub fn leaves(self, divisor: u64) -> u64 {
        10_u64.pow((1_000_000 / divisor).max(1).ilog10())
    }
}
