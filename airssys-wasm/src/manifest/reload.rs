//! What a running system can take over of another manifest, and what takes a restart. Pure.

use super::{Argument, ComponentSpec, Manifest, ProcessSpec};

impl Manifest {
    /// What differs in `other` beyond its policy: a system that runs by this manifest takes it over only when it is
    /// started again. Each is a sentence about one thing.
    pub fn restart_for(&self, other: &Self) -> Vec<String> {
        let mut told = Vec::new();
        let mut same = |one: String, other: String, what: &str| {
            if one != other {
                told.push(format!("{what} changed"));
            }
        };
        same(self.name.clone(), other.name.clone(), "the name of the system");
        same(format!("{:?}", self.state), format!("{:?}", other.state), "`system.state`");
        same(format!("{:?}", self.compile), format!("{:?}", other.compile), "`system.compile`");
        same(self.cache_bytes.to_string(), other.cache_bytes.to_string(), "`system.cache`");
        same(format!("{:?}", self.memory_bytes), format!("{:?}", other.memory_bytes), "`system.memory`");
        same(format!("{:?}", self.audit), format!("{:?}", other.audit), "`audit`");
        same(self.shape(), other.shape(), "the tree of supervisors");
        for component in &self.components {
            let find = |known: &&ComponentSpec| known.name == component.name;
            match other.components.iter().find(find) {
                Some(new) => told.extend(component.restart_for(new)),
                None => {
                    let name = &component.name;
                    told.push(format!(
                        "the component `{name}` is gone: it runs on, and may do nothing any more"
                    ));
                }
            }
        }
        self.processes_differ(other, &mut told);
        let is_new = |spec: &&ComponentSpec| self.components.iter().all(|known| known.name != spec.name);
        told.extend(
            other
                .components
                .iter()
                .filter(is_new)
                .map(|spec| format!("the component `{}` is new", spec.name)),
        );
        told
    }

    /// A program goes on as it was started, with what it was granted: all about it takes a restart.
    fn processes_differ(&self, other: &Self, told: &mut Vec<String>) {
        for process in &self.processes {
            let name = &process.name;
            match other.processes.iter().find(|known| known.name == *name) {
                Some(new) if new.unplaced() == process.unplaced() => {}
                Some(_) => told.push(format!("the process `{name}` changed")),
                None => told.push(format!("the process `{name}` is gone: it runs on as it was")),
            }
        }
        let is_new = |spec: &&ProcessSpec| self.processes.iter().all(|known| known.name != spec.name);
        let new = other.processes.iter().filter(is_new);
        told.extend(new.map(|spec| format!("the process `{}` is new", spec.name)));
    }

    /// The tree with the names of its components, whose order in the file does not matter.
    fn shape(&self) -> String {
        let mut shape = format!("{:?}", self.root);
        for (index, component) in self.components.iter().enumerate() {
            shape = shape.replace(&format!("Component({index})"), &format!("Component {:?}", component.name));
        }
        for (index, process) in self.processes.iter().enumerate() {
            shape = shape.replace(&format!("Process({index})"), &format!("Process {:?}", process.name));
        }
        shape
    }
}

impl ComponentSpec {
    fn restart_for(&self, new: &Self) -> Option<String> {
        let differs = |one: String, other: String, key: &'static str| (one != other).then_some(key);
        let keys = [
            differs(format!("{:?}", self.source.value), format!("{:?}", new.source.value), "source"),
            differs(
                format!("{:?}", self.digest.as_ref().map(|digest| digest.value)),
                format!("{:?}", new.digest.as_ref().map(|digest| digest.value)),
                "digest",
            ),
            differs(self.plugged(), new.plugged(), "plug"),
            differs(format!("{:?}", self.restart), format!("{:?}", new.restart), "restart"),
            differs(format!("{:?}", self.shutdown), format!("{:?}", new.shutdown), "shutdown"),
            differs(self.mailbox.to_string(), new.mailbox.to_string(), "mailbox"),
            differs(self.max_deliver.to_string(), new.max_deliver.to_string(), "max_deliver"),
            differs(
                format!("{:?}", self.snapshots.as_ref().map(|every| every.value)),
                format!("{:?}", new.snapshots.as_ref().map(|every| every.value)),
                "on_restart",
            ),
            differs(format!("{:?}", self.limits), format!("{:?}", new.limits), "limits"),
            differs(format!("{:?}", self.config), format!("{:?}", new.config), "config"),
            differs(format!("{:?}", self.trust), format!("{:?}", new.trust), "trust"),
            differs(format!("{:?}", self.http), format!("{:?}", new.http), "http"),
            differs(format!("{:?}", self.workers), format!("{:?}", new.workers), "workers"),
            differs(format!("{:?}", self.job), format!("{:?}", new.job), "job"),
            differs(format!("{:?}", self.health), format!("{:?}", new.health), "health"),
        ];
        let keys: Vec<_> = keys.into_iter().flatten().map(|key| format!("`{key}`")).collect();
        (!keys.is_empty()).then(|| format!("{} of the component `{}` changed", keys.join(", "), self.name))
    }
}

impl ComponentSpec {
    /// What is plugged into it, wherever in the file that stands.
    fn plugged(&self) -> String {
        let plugs = self
            .plugs
            .iter()
            .map(|plug| (&plug.source.value, plug.digest.as_ref().map(|digest| digest.value)));
        format!("{:?}", plugs.collect::<Vec<_>>())
    }
}

impl ProcessSpec {
    /// All that it says, wherever in the file that stands.
    fn unplaced(&self) -> String {
        let mut spec = self.clone();
        spec.program.span = 0..0;
        if let Some(receiver) = &mut spec.send_to {
            receiver.span = 0..0;
        }
        for argument in &mut spec.arguments {
            if let Argument::File(file) = argument {
                file.span = 0..0;
            }
        }
        format!("{spec:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&str) -> String, expected: &[&str]) {
        const TEXT: &str = "[system]\nname = \"s\"\n[component.a]\nsource = \"a\"\n[component.b]\nsource = \"b\"\n\
                            [component.b.grants]\nenv = [\"LANG\"]\n";
        let parse =
            |text: &str| Manifest::parse(text, "/x".as_ref(), &Default::default()).expect("it is one");
        assert_eq!(parse(TEXT).restart_for(&parse(&change(TEXT))), expected);
    }

    #[test]
    fn a_policy_is_taken_over() {
        check(|text| format!("{text}listen = [\"tcp://127.0.0.1:80\"]\n[policy]\nmode = \"learn\""), &[]);
    }

    #[test]
    fn the_order_of_sections_says_nothing_where_the_tree_does() {
        let tree = "[supervisor.x]\nchildren = [\"a\", \"b\"]\n";
        let text = |one: &str, two: &str| format!("[system]\nname = \"s\"\n{tree}{one}{two}");
        let (a, b) = ("[component.a]\nsource = \"a\"\n", "[component.b]\nsource = \"b\"\n");
        let parse =
            |text: &str| Manifest::parse(text, "/x".as_ref(), &Default::default()).expect("it is one");
        assert!(parse(&text(a, b)).restart_for(&parse(&text(b, a))).is_empty());
    }

    #[test]
    fn all_else_takes_a_restart() {
        check(|text| text.replace("\"a\"", "\"c\""), &["`source` of the component `a` changed"]);
        check(
            |text| text.replace("[component.b]", "mailbox = 5\nrestart = \"temporary\"\n[component.b]"),
            &["`restart`, `mailbox` of the component `a` changed"],
        );
        check(
            |text| text.replace("[component.b]", "plug = [\"x\"]\n[component.b]"),
            &["`plug` of the component `a` changed"],
        );
        check(|text| format!("{text}[audit]\ndir = \"z\""), &["`audit` changed"]);
        check(|text| format!("{text}trust = [\"web\"]\n"), &["`trust` of the component `b` changed"]);
        check(
            |text| text.replace("[component.a]", "[component.c]"),
            &[
                "the tree of supervisors changed",
                "the component `a` is gone: it runs on, and may do nothing any more",
                "the component `c` is new",
            ],
        );
    }
}
