//! Names: unique, typed, and free before anybody hears of the owner's end.
//!
//! After `register_SUITE`: `otp_8099`; after the manual's `register/2`, `whereis/1` and `unregister/1`: a name has one owner, who is
//! alive, and dies with it. `via` is that of `gen_server:start_link/4`: `a_named_address_resolves_at_every_send`,
//! `via_sends_by_a_custom_registry`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use airssys_rt::{
    Actor, ActorRef, CallError, ChildSpec, Context, ExitReason, Info, Init, Mailbox, Named, RegisterError,
    Registry, Strategy, System,
};

use super::stage::{Do, LONG, Stage, crash, named, settle, start, top};

/// Registers itself in `init`, and may fail after that.
struct Registrant {
    name: &'static str,
    fails: bool,
}

impl Registrant {
    fn named(name: &'static str) -> Self {
        Self { name, fails: false }
    }
}

impl Actor for Registrant {
    type Msg = Do;

    async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
        cx.register(self.name)?;
        if self.fails { Err(crash()) } else { Ok(Init::Ready) }
    }

    async fn handle(&mut self, order: Do, _: &mut Context<Self>) -> Result<(), ExitReason> {
        match order {
            Do::Exit(reason) => Err(reason),
            Do::Echo(value, reply) => {
                reply.send(value);
                Ok(())
            }
            _ => panic!("told to"),
        }
    }
}

fn whereis(system: &System, name: &str) -> Option<ActorRef<Do>> {
    system.whereis(name)
}

fn names(system: &System) -> Vec<String> {
    system.registered().iter().map(|entry| entry.name.to_string()).collect()
}

async fn end(actor: &ActorRef<Do>) {
    actor.cast(Do::Exit(ExitReason::Normal)).await.unwrap();
    actor.exited().await;
}

#[tokio::test(start_paused = true)]
async fn a_name_finds_its_actor() {
    let (stage, system) = (Stage::default(), System::new());
    let actor = system.spawn(stage.lone("a"));
    system.register("db", &actor).unwrap();
    assert_eq!(whereis(&system, "db").unwrap().id(), actor.id());
    let [entry] = &system.registered()[..] else { panic!("one name") };
    assert_eq!((&*entry.name, entry.id), ("db", actor.id()));
    assert!(entry.message.ends_with("Do"), "{}", entry.message);
    assert!(system.unregister("db"));
    assert!(!system.unregister("db"));
    assert!(whereis(&system, "db").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_name_of_another_message_type_is_not_found() {
    let (stage, system) = (Stage::default(), System::new());
    system.register("db", &system.spawn(stage.lone("a"))).unwrap();
    assert!(system.whereis::<u32>("db").is_none());
    assert!(whereis(&system, "db").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_taken_name_says_who_has_it() {
    let (stage, system) = (Stage::default(), System::new());
    let (one, other) = (system.spawn(stage.lone("a")), system.spawn(stage.lone("b")));
    system.register("db", &one).unwrap();
    for actor in [&other, &one] {
        let error = system.register("db", actor).unwrap_err();
        assert!(matches!(error, RegisterError::NameTaken { by, .. } if by == one.id()));
        assert_eq!(error.to_string(), format!("the name `db` is taken by {}", one.id()));
    }
}

#[tokio::test(start_paused = true)]
async fn names_have_a_length() {
    let (stage, system) = (Stage::default(), System::new());
    let actor = system.spawn(stage.lone("a"));
    for (bytes, kept) in [(0, false), (1, true), (255, true), (256, false)] {
        assert_eq!(system.register(&"x".repeat(bytes), &actor).is_ok(), kept, "{bytes} bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_actor_gets_no_name() {
    let (stage, system) = (Stage::default(), System::new());
    let actor = system.spawn(stage.lone("a"));
    end(&actor).await;
    assert!(matches!(system.register("db", &actor), Err(RegisterError::NoProc)));
    assert!(names(&system).is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_actor_may_have_two_names_and_loses_both() {
    let (stage, system) = (Stage::default(), System::new());
    let actor = system.spawn(stage.lone("a"));
    system.register("one", &actor).unwrap();
    system.register("two", &actor).unwrap();
    system.register("three", &actor).unwrap();
    assert!(system.unregister("one"));
    assert_eq!(names(&system), ["three", "two"]);
    end(&actor).await;
    assert!(names(&system).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_name_that_was_taken_back_is_its_next_owners() {
    let (stage, system) = (Stage::default(), System::new());
    let (one, other) = (system.spawn(stage.lone("a")), system.spawn(stage.lone("b")));
    system.register("db", &one).unwrap();
    system.unregister("db");
    system.register("db", &other).unwrap();
    end(&one).await;
    assert_eq!(whereis(&system, "db").unwrap().id(), other.id());
}

#[tokio::test(start_paused = true)]
async fn names_belong_to_a_system() {
    let stage = Stage::default();
    let (here, there) = (System::new(), System::new());
    let actor = here.spawn(stage.lone("a"));
    here.register("db", &actor).unwrap();
    assert!(whereis(&there, "db").is_none());
    there.register("db", &actor).unwrap();
    end(&actor).await;
    assert!(names(&here).is_empty() && names(&there).is_empty());
}

/// A name is registered, its owner ends, and the name is registered again, over and over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn otp_8099() {
    let (stage, system) = (Stage::default(), System::new());
    for _ in 0..2_000 {
        let actor = system.spawn(stage.lone("a"));
        system.register("otp_8099_reg_proc", &actor).unwrap();
        assert_eq!(whereis(&system, "otp_8099_reg_proc").unwrap().id(), actor.id());
        end(&actor).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_free_when_a_send_is_refused() {
    let (stage, system) = (Stage::default(), System::new());
    for _ in 0..500 {
        let actor = system.spawn(stage.lone("a"));
        system.register("db", &actor).unwrap();
        actor.cast(Do::Exit(ExitReason::Normal)).await.unwrap();
        while actor.is_alive() {
            tokio::task::yield_now().await;
        }
        assert!(whereis(&system, "db").is_none());
    }
}

/// Looks for a name when it hears of the owner's end.
struct Heir {
    owner: ActorRef<Do>,
    saw: Arc<Mutex<Option<bool>>>,
}

impl Actor for Heir {
    type Msg = ();

    async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
        cx.monitor(&self.owner);
        Ok(Init::Ready)
    }

    async fn handle(&mut self, (): (), _: &mut Context<Self>) -> Result<(), ExitReason> {
        Ok(())
    }

    async fn handle_info(&mut self, info: Info, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        assert!(matches!(info, Info::Down(_)));
        *self.saw.lock().unwrap() = Some(cx.register("db").is_ok());
        Err(ExitReason::Normal)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_free_when_the_monitor_fires() {
    let (stage, system) = (Stage::default(), System::new());
    for _ in 0..500 {
        let owner = system.spawn(stage.lone("a"));
        system.register("db", &owner).unwrap();
        let saw = Arc::new(Mutex::new(None));
        let heir = system.spawn(Heir { owner: owner.clone(), saw: Arc::clone(&saw) });
        owner.cast(Do::Panic).await.unwrap();
        heir.exited().await;
        assert_eq!(*saw.lock().unwrap(), Some(true));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_free_when_the_supervisor_restarts() {
    let system = System::new();
    let child = ChildSpec::actor("a", || Registrant::named("db"));
    // A start that fails is a failure of its own, and more than are allowed.
    let top = named("top", Strategy::OneForOne, [child]).intensity(200, LONG);
    let tree = system.start(top).await.unwrap();
    for _ in 0..200 {
        let owner = whereis(&system, "db").unwrap();
        owner.cast(Do::Panic).await.unwrap();
        while whereis(&system, "db").is_none_or(|now| now.id() == owner.id()) {
            tokio::task::yield_now().await;
        }
    }
    let [child] = &tree.which_children().await[..] else { panic!("one child") };
    assert_eq!(child.restarts, 200);
    tree.shutdown().await;
    assert!(names(&system).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_dies_while_it_is_registered_leaves_no_name() {
    let (stage, system) = (Stage::default(), System::new());
    for round in 0..1_000 {
        let actor = system.spawn(stage.lone("a"));
        actor.cast(Do::Exit(ExitReason::Normal)).await.unwrap();
        match system.register("db", &actor) {
            Ok(()) | Err(RegisterError::NoProc) => {}
            Err(error) => panic!("{error} in round {round}"),
        }
        actor.exited().await;
        assert!(names(&system).is_empty(), "in round {round}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_start_frees_its_name() {
    let system = System::new();
    let actor = system.spawn(Registrant { name: "db", fails: true });
    assert_eq!(actor.exited().await.to_string(), "crash");
    assert!(names(&system).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_taken_is_a_failed_start() {
    let system = System::new();
    let one = system.spawn(Registrant::named("db"));
    settle().await;
    let other = ChildSpec::actor("b", || Registrant::named("db"));
    let error = system.start(top(Strategy::OneForOne, [other])).await.unwrap_err();
    let cause = error.reason().error().unwrap();
    let cause = std::iter::successors(Some(cause), |error| error.source()).last().unwrap();
    assert_eq!(cause.to_string(), format!("the name `db` is taken by {}", one.id()));
    assert_eq!(whereis(&system, "db").unwrap().id(), one.id());
}

#[tokio::test(start_paused = true)]
async fn a_name_of_a_mailbox_outlives_incarnations() {
    let (stage, system) = (Stage::default(), System::new());
    let mailbox = Mailbox::default();
    system.register("db", &mailbox.actor_ref()).unwrap();
    let tree = start(top(Strategy::OneForOne, [stage.child_with("a", mailbox)])).await;
    // Sent before the crash, handled after it.
    let db = system.named::<Do>("db");
    db.cast(Do::Exit(crash())).await.unwrap();
    assert_eq!(db.call(|reply| Do::Echo(7, reply), LONG).await.unwrap(), 7);
    tree.shutdown().await;
    assert!(names(&system).is_empty());
    assert_eq!(db.call(|reply| Do::Echo(7, reply), LONG).await, Err(CallError::NoProc));
}

#[tokio::test(start_paused = true)]
async fn a_name_by_context_is_the_incarnations() {
    let system = System::new();
    let mailbox = Mailbox::default();
    for _ in 0..2 {
        let actor = system.spawn_on(&mailbox, None, Registrant::named("db")).unwrap();
        assert_eq!(actor.call(|reply| Do::Echo(7, reply), LONG).await.unwrap(), 7);
        assert_eq!(whereis(&system, "db").unwrap().id(), actor.id());
        end(&actor).await;
        assert!(names(&system).is_empty());
        assert!(actor.is_alive(), "its mailbox is still open");
    }
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_that_nobody_read_frees_its_name() {
    let system = System::new();
    let mailbox = Mailbox::<Do>::default();
    system.register("db", &mailbox.actor_ref()).unwrap();
    drop(mailbox);
    assert!(names(&system).is_empty());
}

#[test]
fn names_go_with_the_tokio_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let system = runtime.block_on(async {
        let system = System::new();
        system.spawn(Registrant::named("db"));
        while whereis(&system, "db").is_none() {
            tokio::task::yield_now().await;
        }
        system
    });
    drop(runtime);
    assert!(names(&system).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_names() {
    const NAMES: usize = 100_000;
    let (stage, system) = (Stage::default(), System::new());
    let (one, other) = (system.spawn(stage.lone("a")), system.spawn(stage.lone("b")));
    for n in 0..NAMES {
        let actor = if n % 2 == 0 { &one } else { &other };
        system.register(&format!("name-{n}"), actor).unwrap();
    }
    assert_eq!(whereis(&system, "name-77777").unwrap().id(), other.id());
    end(&one).await;
    assert_eq!(system.registered().len(), NAMES / 2);
    for n in (1..NAMES).step_by(2) {
        assert!(system.unregister(&format!("name-{n}")));
    }
    assert!(names(&system).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_named_address_resolves_at_every_send() {
    let (stage, system) = (Stage::default(), System::new());
    let db = system.named::<Do>("db");
    let refused = db.cast(Do::Note(1)).await.unwrap_err();
    assert!(matches!(refused.into_message(), Do::Note(1)), "the message comes back");
    assert!(db.try_cast(Do::Note(1)).is_err());
    for (name, note) in [("a", 2), ("b", 3)] {
        let actor = system.spawn(stage.lone(name));
        system.register("db", &actor).unwrap();
        db.cast(Do::Note(note)).await.unwrap();
        db.clone().try_cast(Do::Note(note + 10)).unwrap();
        end(&actor).await;
    }
    stage.saw(&["+a", "a:2", "a:12", "-a normal", "+b", "b:3", "b:13", "-b normal"]);
}

/// Names per tenant; the simplest registry of one's own.
#[derive(Default)]
struct Tenants(Mutex<HashMap<String, ActorRef<Do>>>);

impl Registry<Do> for Tenants {
    fn register(&self, name: &str, actor: &ActorRef<Do>) -> Result<(), RegisterError> {
        match name.split_once('/') {
            Some(_) => {
                self.0.lock().unwrap().insert(name.to_owned(), actor.clone());
                Ok(())
            }
            None => Err(RegisterError::Other(Arc::new(std::io::Error::other("no tenant")))),
        }
    }

    fn unregister(&self, name: &str) -> bool {
        self.0.lock().unwrap().remove(name).is_some()
    }

    fn whereis(&self, name: &str) -> Option<ActorRef<Do>> {
        self.0.lock().unwrap().get(name).cloned()
    }
}

#[tokio::test(start_paused = true)]
async fn via_sends_by_a_custom_registry() {
    let (stage, system) = (Stage::default(), System::new());
    let actor = system.spawn(stage.lone("a"));
    let tenants: Arc<dyn Registry<Do> + Send + Sync> = Arc::new(Tenants::default());
    let error = tenants.register("db", &actor).unwrap_err();
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "no tenant");
    tenants.register("acme/db", &actor).unwrap();

    let via = Named::new(Arc::clone(&tenants), "acme/db");
    assert_eq!(via.call(|reply| Do::Echo(7, reply), LONG).await.unwrap(), 7);
    assert!(tenants.unregister("acme/db"));
    assert_eq!(via.call(|reply| Do::Echo(7, reply), LONG).await, Err(CallError::NoProc));

    // The system is a registry like any other.
    let tenants: Arc<dyn Registry<Do>> = Arc::new(system.clone());
    tenants.register("db", &actor).unwrap();
    assert_eq!(whereis(&system, "db").unwrap().id(), actor.id());
    assert!(tenants.whereis("db").is_some() && tenants.unregister("db"));
}
