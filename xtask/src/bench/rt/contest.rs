//! What is measured: each workload with the systems that run it, and the rows that come of it.

use super::{
    super::row::{Goal, Peer, Row, median},
    child::Figures,
    system::{BASELINE, OURS, OURS_BOUNDED, SYSTEMS, System},
};

const MIB: f64 = 1024.0 * 1024.0;
const NS_PER_S: f64 = 1e9;

/// How much more a bounded mailbox may cost than what is asked of an unbounded one.
const BOUNDED_ALLOWANCE: f64 = 1.25;

/// A workload that every system runs.
struct Shared {
    name: &'static str,
    title: &'static str,
    quantity: Quantity,
    goal: Goal,
}

/// What is read off a child's figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantity {
    NsPerOperation,
    OperationsPerSecond,
    Seconds,
    Bytes,
    Mebibytes,
}

impl Quantity {
    fn unit(self) -> &'static str {
        match self {
            Self::NsPerOperation => "ns",
            Self::OperationsPerSecond => "/s",
            Self::Seconds => "s",
            Self::Bytes => "B",
            Self::Mebibytes => "MiB",
        }
    }

    fn of(self, figures: &Figures) -> f64 {
        match self {
            Self::NsPerOperation => figures.wall_ns / figures.operations,
            Self::OperationsPerSecond => figures.operations / (figures.wall_ns / NS_PER_S),
            Self::Seconds => figures.wall_ns / NS_PER_S,
            Self::Bytes => figures.bytes,
            Self::Mebibytes => figures.bytes / MIB,
        }
    }
}

const fn shared(name: &'static str, title: &'static str, ratio: f64) -> Shared {
    Shared { name, title, quantity: Quantity::NsPerOperation, goal: Goal::RatioAtMost(ratio) }
}

const SHARED: &[Shared] = &[
    shared("tell1", "tell, 1 → 1", 0.40),
    shared("tell4", "tell, 4 → 1", 0.40),
    shared("ask_seq", "ask, one after the other", 0.50),
    shared("ask64", "ask, 64 askers", 0.70),
    shared("pingpong", "ping-pong, a message", 0.50),
    shared("ring", "ring of 1,000, a message", 0.40),
    shared("spawn", "spawn and stop 100,000, an actor", 0.25),
    Shared {
        name: "mem",
        title: "memory of an idle actor, of 1,000,000",
        quantity: Quantity::Bytes,
        goal: Goal::AtMost(256.0),
    },
    shared("skynet", "skynet of 1,000,000 leaves, an actor", 0.30),
    shared("fanout", "fan-out, 1 → 10,000", 0.60),
    shared("restart", "crash until the restarted child answers", 0.90),
];

/// Workloads of our own.
const FEATS: &[&str] = &["million", "million-dyn", "crashes", "observe", "off-tell1", "off-pingpong"];

/// The workloads of ours that are another one with something more: ours runs that one, too, without.
const BESIDE: &[(&str, &str)] = &[("observe", "tell1"), ("off-tell1", "tell1"), ("off-pingpong", "pingpong")];

/// One workload on one system.
#[derive(Debug)]
pub(super) struct Contestant {
    pub(super) system: &'static System,
    pub(super) workload: &'static str,
    /// The figures of all rounds so far.
    pub(super) figures: Vec<Figures>,
    /// It has nothing like the workload, or takes too long for it.
    pub(super) is_out: bool,
}

impl Contestant {
    fn median(&self, quantity: Quantity) -> f64 {
        median(self.figures.iter().map(|figures| quantity.of(figures)))
    }
}

/// What is run in turns.
#[derive(Debug)]
pub(super) struct Contest {
    pub(super) name: &'static str,
    pub(super) contestants: Vec<Contestant>,
}

/// The systems of these names; all where none is named.
///
/// # Errors
///
/// There is no such system.
pub(super) fn systems(names: &[String]) -> Result<Vec<&'static System>, String> {
    let known: Vec<_> = SYSTEMS.iter().map(|system| system.name).collect();
    check_known("system", names, &known)?;
    Ok(SYSTEMS
        .iter()
        .filter(|system| names.is_empty() || names.iter().any(|name| name == system.name))
        .collect())
}

/// The contests of these names, among these systems; all where none is named.
///
/// # Errors
///
/// There is no such workload, or nobody to run it.
pub(super) fn contests(names: &[String], systems: &[&'static System]) -> Result<Vec<Contest>, String> {
    let known: Vec<_> = SHARED.iter().map(|shared| shared.name).chain(FEATS.iter().copied()).collect();
    check_known("workload", names, &known)?;
    let contestant = |workload, system| Contestant { system, workload, figures: Vec::new(), is_out: false };
    let mut contests = Vec::new();
    for name in known.into_iter().filter(|known| names.is_empty() || names.iter().any(|name| name == known)) {
        let mut contestants: Vec<_> = systems
            .iter()
            .filter(|system| system.name == OURS || !FEATS.contains(&name))
            .map(|system| contestant(name, system))
            .collect();
        if let Some((_, plain)) = BESIDE.iter().find(|(more, _)| *more == name) {
            let ours: Vec<_> = contestants.iter().map(|ours| contestant(plain, ours.system)).collect();
            contestants.extend(ours);
        }
        if !contestants.is_empty() {
            contests.push(Contest { name, contestants });
        }
    }
    if contests.is_empty() {
        return Err(format!("none of the systems runs {}", names.join(", ")));
    }
    Ok(contests)
}

fn check_known(what: &str, names: &[String], known: &[&str]) -> Result<(), String> {
    match names.iter().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(format!("no {what} `{name}`; there is: {}", known.join(", "))),
        None => Ok(()),
    }
}

impl Contest {
    /// A line for each contestant: wall time of an operation and its ratio to bare tokio, the least, processor time.
    pub(super) fn summary(&self) -> String {
        let has_figures = |contestant: &&Contestant| !contestant.figures.is_empty();
        let baseline = self.contestants.iter().find(|contestant| contestant.system.name == BASELINE);
        let mut text = format!("{}\n", self.name);
        for contestant in self.contestants.iter().filter(has_figures) {
            let walls = || contestant.figures.iter().map(|figures| Quantity::NsPerOperation.of(figures));
            let (wall, least) = (median(walls()), walls().fold(f64::INFINITY, f64::min));
            let cpu = median(contestant.figures.iter().map(|it| it.cpu_ns / it.operations));
            let bytes = contestant.median(Quantity::Bytes);
            let ratio =
                baseline.map_or(f64::NAN, |baseline| wall / baseline.median(Quantity::NsPerOperation));
            let label = format!("{} {}", contestant.system.name, contestant.workload);
            text += &format!(
                "  {label:18} {wall:10.1} ns  x{ratio:<5.2}  least {least:10.1}, processor {cpu:10.1}; {bytes:.0} B\n"
            );
        }
        text
    }

    /// The rows that come of it.
    pub(super) fn rows(&self) -> Vec<Row> {
        match self.name {
            "million" => vec![
                self.feat(
                    "1,000,000 live actors: peak memory",
                    Quantity::Mebibytes,
                    Some(Goal::AtMost(2048.0)),
                ),
                self.feat("1,000,000 live actors: spawn and call each once", Quantity::Seconds, None),
            ],
            "crashes" => vec![self.feat(
                "supervised crashes, sustained for 10 s",
                Quantity::OperationsPerSecond,
                Some(Goal::AtLeast(10_000.0)),
            )],
            "million-dyn" => vec![
                self.feat(
                    "1,000,000 children of a dynamic supervisor: peak memory",
                    Quantity::Mebibytes,
                    Some(Goal::AtMost(2048.0)),
                ),
                self.feat(
                    "1,000,000 children of a dynamic supervisor: start, call, crash some, shut down",
                    Quantity::Seconds,
                    None,
                ),
            ],
            "observe" => vec![self.observe()],
            "off-tell1" => vec![self.off("tell, 1 → 1, all that is off")],
            "off-pingpong" => vec![self.off("ping-pong, a message, all that is off")],
            name => {
                SHARED.iter().filter(|shared| shared.name == name).flat_map(|it| self.shared(it)).collect()
            }
        }
    }

    /// Our figure beside everyone's; then that of bounded mailboxes beside tokio's and those with a bound.
    fn shared(&self, shared: &Shared) -> Vec<Row> {
        let Shared { title, quantity, goal, .. } = *shared;
        let figure = |name: &str| {
            let contestant = self.contestants.iter().find(|contestant| contestant.system.name == name);
            contestant.map_or(f64::NAN, |contestant| contestant.median(quantity))
        };
        // The ratio is taken to the first, so bare tokio is there even where nobody asked for it.
        let peers = |is_peer: fn(&str) -> bool| {
            let systems = self.contestants.iter().map(|contestant| contestant.system.name);
            let peers =
                systems.filter(|name| ![OURS, OURS_BOUNDED, BASELINE].contains(name) && is_peer(name));
            let peers = std::iter::once(BASELINE).chain(peers);
            peers.map(|name| Peer { name, figure: figure(name) }).collect::<Vec<_>>()
        };
        let has = |name: &str| self.contestants.iter().any(|contestant| contestant.system.name == name);
        let mut rows = Vec::new();
        if has(OURS) || !has(OURS_BOUNDED) {
            rows.push(Row {
                name: title.to_owned(),
                unit: quantity.unit(),
                ours: figure(OURS),
                peers: peers(|_| true),
                goal: Some(goal),
                is_race: true,
            });
        }
        if has(OURS_BOUNDED) {
            rows.push(Row {
                name: format!("{title}; bounded mailbox"),
                unit: quantity.unit(),
                ours: figure(OURS_BOUNDED),
                peers: peers(|name| name.ends_with("-b")),
                goal: Some(goal.loosened(BOUNDED_ALLOWANCE)),
                is_race: false,
            });
        }
        rows
    }

    /// A row that is about us alone.
    fn feat(&self, title: &str, quantity: Quantity, goal: Option<Goal>) -> Row {
        let ours = self.contestants.first().map_or(f64::NAN, |ours| ours.median(quantity));
        let name = title.to_owned();
        Row { name, unit: quantity.unit(), ours, peers: Vec::new(), goal, is_race: false }
    }

    /// Ours with an observer beside ours without. An observer costs what it costs, so there is no goal.
    fn observe(&self) -> Row {
        let figure = self.plain().map_or(f64::NAN, |it| it.median(Quantity::NsPerOperation));
        let row = self.feat("tell, 1 → 1, with an observer", Quantity::NsPerOperation, None);
        Row { peers: vec![Peer { name: "without", figure }], ..row }
    }

    /// Ours with everything that can be on, off, beside ours without it. The difference is less than what lies between
    /// two rounds: so the least of them is compared, which is what the least else got in the way of.
    fn off(&self, title: &str) -> Row {
        let least = |it: &Contestant| {
            it.figures.iter().map(|it| Quantity::NsPerOperation.of(it)).fold(f64::NAN, f64::min)
        };
        let figure = |it: Option<&Contestant>| it.map_or(f64::NAN, least);
        Row {
            name: title.to_owned(),
            unit: Quantity::NsPerOperation.unit(),
            ours: figure(self.contestants.first()),
            peers: vec![Peer { name: "without", figure: figure(self.plain()) }],
            goal: Some(Goal::RatioAtMost(1.02)),
            is_race: false,
        }
    }

    /// Ours without what the workload is about.
    fn plain(&self) -> Option<&Contestant> {
        self.contestants.iter().find(|contestant| contestant.workload != self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn contest(workload: &str, system_names: &[&str]) -> Contest {
        let systems = systems(&names(system_names)).unwrap();
        contests(&names(&[workload]), &systems).unwrap().remove(0)
    }

    /// A thousand operations that took so many nanoseconds each.
    fn took(ns: f64) -> Figures {
        Figures { operations: 1_000.0, wall_ns: ns * 1_000.0, cpu_ns: 0.0, bytes: ns }
    }

    fn enter(contest: &mut Contest, system: &str, rounds: &[f64]) {
        let contestant = contest.contestants.iter_mut().find(|it| it.system.name == system).unwrap();
        contestant.figures = rounds.iter().map(|&ns| took(ns)).collect();
    }

    #[test]
    fn everything_is_measured_unless_said_otherwise() {
        let all = contests(&[], &systems(&[]).unwrap()).unwrap();
        assert_eq!(all.len(), SHARED.len() + FEATS.len());
        assert_eq!(all[0].contestants.len(), SYSTEMS.len());
        assert_eq!(contest("million", &[]).contestants.len(), 1);
    }

    #[test]
    fn what_is_not_there_is_told_with_what_is() {
        let error = systems(&names(&["tokio"])).unwrap_err();
        assert!(error.starts_with("no system `tokio`; there is: airssys, airssys-b, tokio-u"), "{error}");
        let error = contests(&names(&["tell"]), &systems(&[]).unwrap()).unwrap_err();
        assert!(error.starts_with("no workload `tell`; there is: tell1, "), "{error}");
        let peers_only = systems(&names(&["tokio-u"])).unwrap();
        assert_eq!(
            contests(&names(&["million"]), &peers_only).unwrap_err(),
            "none of the systems runs million"
        );
    }

    #[test]
    fn rows_are_medians_with_the_ratio_to_bare_tokio() {
        let mut contest = contest("tell1", &["tokio-u", "airssys", "airssys-b", "actix"]);
        enter(&mut contest, "airssys", &[30.0, 90.0, 40.0]);
        enter(&mut contest, "airssys-b", &[51.0]);
        enter(&mut contest, "tokio-u", &[100.0]);
        enter(&mut contest, "actix", &[39.0]);
        let rows = contest.rows();
        assert_eq!((rows[0].ours, rows[0].ratio(), rows[0].met()), (40.0, Some(0.4), Some(true)));
        assert_eq!(rows[0].not_behind(), Some(vec!["actix"]));
        // 1.25 times what is asked of an unbounded one.
        assert_eq!((rows[1].goal, rows[1].met()), (Some(Goal::RatioAtMost(0.5)), Some(false)));
        assert_eq!(rows[1].peers.len(), 1);
    }

    #[test]
    fn the_summary_leaves_out_who_has_no_figures() {
        let mut contest = contest("tell1", &["airssys", "tokio-u", "actix"]);
        enter(&mut contest, "airssys", &[30.0, 90.0, 40.0]);
        enter(&mut contest, "tokio-u", &[100.0]);
        let expected = "\
tell1
  airssys tell1            40.0 ns  x0.40   least       30.0, processor        0.0; 40 B
  tokio-u tell1           100.0 ns  x1.00   least      100.0, processor        0.0; 100 B
";
        assert_eq!(contest.summary(), expected);
    }

    #[test]
    fn without_bare_tokio_there_is_no_ratio() {
        let mut contest = contest("tell1", &["airssys", "actix"]);
        enter(&mut contest, "airssys", &[1.0]);
        enter(&mut contest, "actix", &[100.0]);
        let row = contest.rows().remove(0);
        assert_eq!((row.met(), row.is_ahead()), (Some(false), Some(true)));
    }

    #[test]
    fn memory_is_bounded_in_bytes() {
        let mut contest = contest("mem", &["airssys", "airssys-b"]);
        enter(&mut contest, "airssys", &[256.0]);
        enter(&mut contest, "airssys-b", &[321.0]);
        let met: Vec<_> = contest.rows().iter().map(Row::met).collect();
        assert_eq!(met, [Some(true), Some(false)]);
    }

    #[test]
    fn crashes_are_counted_by_the_second() {
        let mut contest = contest("crashes", &["airssys"]);
        enter(&mut contest, "airssys", &[100_000.0]);
        let rows = contest.rows();
        assert_eq!((rows[0].ours, rows[0].met()), (10_000.0, Some(true)));
    }

    #[test]
    fn an_observer_is_compared_with_none() {
        let mut contest = contest("observe", &["airssys"]);
        contest.contestants[0].figures = vec![took(120.0)];
        contest.contestants[1].figures = vec![took(100.0)];
        assert_eq!(contest.contestants[1].workload, "tell1");
        assert_eq!(contest.rows()[0].ratio(), Some(1.2));
    }

    #[test]
    fn what_is_off_may_cost_next_to_nothing() {
        let mut contest = contest("off-pingpong", &["airssys"]);
        assert_eq!(contest.contestants[1].workload, "pingpong");
        contest.contestants[0].figures = vec![took(300.0), took(101.0)];
        contest.contestants[1].figures = vec![took(100.0), took(200.0)];
        let row = contest.rows().remove(0);
        assert_eq!((row.ratio(), row.met()), (Some(1.01), Some(true)));
        contest.contestants[0].figures = vec![took(103.0)];
        assert_eq!(contest.rows()[0].met(), Some(false));
        contest.contestants[0].figures.clear();
        assert_eq!(contest.rows()[0].met(), Some(false));
    }
}
