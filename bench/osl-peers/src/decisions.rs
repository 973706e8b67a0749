//! The same questions as ours, put to other engines: may the principal read beneath a directory that one of so many
//! rules names?

use casbin::{CoreApi as _, DefaultModel, Enforcer, MemoryAdapter, MgmtApi as _};
use cedar_policy::{Authorizer, Context, Decision, Entities, EntityUid, PolicySet, Request};

use crate::figures::{Failure, PRINCIPAL, RULES, asked, figure, root, time_each};

/// A question takes an engine that goes through all rules up to milliseconds.
const ROUNDS: usize = 3;
const ASKS: usize = 100;

/// Measures all of them.
pub(crate) fn run() -> Result<(), Failure> {
    for rules in RULES {
        let asks: Vec<usize> = asked(rules).into_iter().take(ASKS).collect();
        cedar(rules, &asks)?;
        casbin(rules, &asks)?;
        regorus(rules, &asks)?;
    }
    Ok(())
}

fn cedar(rules: usize, asks: &[usize]) -> Result<(), Failure> {
    let text: String = (0..rules)
        .map(|number| {
            let root = root(number);
            format!("permit(principal == P::\"{PRINCIPAL}\", action == Action::\"read\", resource == Dir::\"{root}\");\n")
        })
        .collect();
    let policies: PolicySet = text.parse()?;
    let (authorizer, entities) = (Authorizer::new(), Entities::empty());
    let uid = |text: String| text.parse::<EntityUid>();
    let requests: Result<Vec<Request>, Failure> = asks
        .iter()
        .map(|number| {
            let principal = uid(format!("P::\"{PRINCIPAL}\""))?;
            let resource = uid(format!("Dir::\"{}\"", root(*number)))?;
            Ok(Request::new(principal, "Action::\"read\"".parse()?, resource, Context::empty(), None)?)
        })
        .collect();
    let requests = requests?;
    let decide = |request: &Request| authorizer.is_authorized(request, &policies, &entities).decision();
    measure("cedar", rules, &requests, |request| decide(request) == Decision::Allow)
}

fn casbin(rules: usize, asks: &[usize]) -> Result<(), Failure> {
    const MODEL: &str = "
[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.sub == p.sub && r.obj == p.obj && r.act == p.act
";
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let enforcer = runtime.block_on(async {
        let model = DefaultModel::from_str(MODEL).await?;
        let mut enforcer = Enforcer::new(model, MemoryAdapter::default()).await?;
        let rules = (0..rules).map(|number| vec![PRINCIPAL.to_owned(), root(number), "read".to_owned()]);
        enforcer.add_policies(rules.collect()).await?;
        Ok::<_, casbin::Error>(enforcer)
    })?;
    let roots: Vec<String> = asks.iter().map(|number| root(*number)).collect();
    measure("casbin", rules, &roots, |root| {
        enforcer.enforce((PRINCIPAL, root.as_str(), "read")).is_ok_and(|allowed| allowed)
    })
}

/// Rego looks the directory up in data that is indexed: as fast as one can write it.
fn regorus(rules: usize, asks: &[usize]) -> Result<(), Failure> {
    const POLICY: &str = "
package door
default allow := false
allow if data.grants[input.principal][input.root][input.right]
";
    let mut engine = regorus::Engine::new();
    engine.add_policy("door.rego".to_owned(), POLICY.to_owned())?;
    let roots: serde_json::Map<_, _> =
        (0..rules).map(|number| (root(number), serde_json::json!({ "read": true }))).collect();
    engine.add_data_json(&serde_json::json!({ "grants": { (PRINCIPAL): roots } }).to_string())?;
    let inputs: Result<Vec<regorus::Value>, Failure> = asks
        .iter()
        .map(|number| {
            let input = serde_json::json!({ "principal": PRINCIPAL, "root": root(*number), "right": "read" });
            Ok(regorus::Value::from_json_str(&input.to_string())?)
        })
        .collect();
    let inputs = inputs?;
    let mut decide = |input: &regorus::Value| {
        engine.set_input(input.clone());
        engine.eval_rule("data.door.allow".to_owned()).is_ok_and(|value| value == regorus::Value::from(true))
    };
    measure_mut("regorus", rules, &inputs, &mut decide)
}

fn measure<T>(system: &str, rules: usize, asks: &[T], decide: impl Fn(&T) -> bool) -> Result<(), Failure> {
    measure_mut(system, rules, asks, &mut |ask| decide(ask))
}

/// Measures only what is answered rightly.
fn measure_mut<T>(
    system: &str,
    rules: usize,
    asks: &[T],
    decide: &mut dyn FnMut(&T) -> bool,
) -> Result<(), Failure> {
    if !asks.iter().all(&mut *decide) {
        return Err(format!("{system} denies what its rules permit").into());
    }
    figure(&format!("decision-files-{rules}"), system, time_each(asks, ROUNDS, decide));
    Ok(())
}
