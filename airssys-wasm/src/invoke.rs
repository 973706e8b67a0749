//! Calls a function by its name, with values that are text.

use wasm_wave::untyped::UntypedFuncCall;
use wasmtime::{
    InstancePre, Store, Val, ValType,
    component::{self, Func},
};

use crate::{
    command::{Ended, Invocation, Stopped, no_command},
    component::Component,
    instance::State,
};

/// Calls an export of a component: the call is in WAVE, with its values.
pub(crate) async fn component(
    store: &mut Store<State>,
    component: &Component,
    call: &Invocation,
) -> Result<Ended, Stopped> {
    let parsed = UntypedFuncCall::parse(&call.function);
    let parsed = parsed.map_err(|error| no_command(format!("`{}` is no call: {error}", call.function)))?;
    if !call.arguments.is_empty() {
        return Err(no_command("the arguments of a component's function are in the call, as in `f(1)`"));
    }
    let instance = component.pre().instantiate_async(&mut *store).await?;
    let unknown = || no_command(format!("it exports no function `{}`", parsed.name()));
    let function: Func = instance.get_func(&mut *store, parsed.name()).ok_or_else(unknown)?;
    let ty = function.ty(&*store);
    let params: Vec<_> = ty.params().map(|(_, ty)| ty).collect();
    let params = parsed.to_wasm_params::<component::Val>(params.iter());
    let params =
        params.map_err(|error| no_command(format!("wrong values for `{}`: {error}", parsed.name())))?;
    let mut results = vec![component::Val::Bool(false); ty.results().len()];
    function.call_async(&mut *store, &params, &mut results).await?;
    component.finish(store).await?;
    let shown = results.iter().map(|result| result.to_wave().map_err(Stopped::Guest));
    Ok(Ended::Returned(shown.collect::<Result<_, _>>()?))
}

/// Calls an export of a module, which takes and gives numbers. One that has to be initialised is, before.
pub(crate) async fn module(
    store: &mut Store<State>,
    pre: &InstancePre<State>,
    call: &Invocation,
) -> Result<Ended, Stopped> {
    let instance = pre.instantiate_async(&mut *store).await?;
    let name = &call.function;
    let function = instance.get_func(&mut *store, name);
    let function = function.ok_or_else(|| no_command(format!("it exports no function `{name}`")))?;
    let ty = function.ty(&*store);
    if ty.params().len() != call.arguments.len() {
        let (takes, given) = (ty.params().len(), call.arguments.len());
        return Err(no_command(format!("`{name}` takes {takes} values, and {given} are given")));
    }
    let mut params = Vec::with_capacity(call.arguments.len());
    for (ty, text) in ty.params().zip(&call.arguments) {
        params.push(number(&ty, text).ok_or_else(|| no_command(format!("`{text}` is no {ty}")))?);
    }
    if let Ok(initialize) = instance.get_typed_func::<(), ()>(&mut *store, "_initialize") {
        initialize.call_async(&mut *store, ()).await?;
    }
    let mut results = vec![Val::I32(0); ty.results().len()];
    function.call_async(&mut *store, &params, &mut results).await?;
    Ok(Ended::Returned(results.iter().map(show).collect()))
}

fn number(ty: &ValType, text: &str) -> Option<Val> {
    Some(match ty {
        ValType::I32 => Val::I32(text.parse().or_else(|_| text.parse().map(u32::cast_signed)).ok()?),
        ValType::I64 => Val::I64(text.parse().or_else(|_| text.parse().map(u64::cast_signed)).ok()?),
        ValType::F32 => Val::F32(text.parse::<f32>().ok()?.to_bits()),
        ValType::F64 => Val::F64(text.parse::<f64>().ok()?.to_bits()),
        ValType::V128 | ValType::Ref(_) => return None,
    })
}

fn show(value: &Val) -> String {
    match value {
        Val::I32(value) => value.to_string(),
        Val::I64(value) => value.to_string(),
        Val::F32(bits) => f32::from_bits(*bits).to_string(),
        Val::F64(bits) => f64::from_bits(*bits).to_string(),
        Val::V128(value) => value.as_u128().to_string(),
        _ => "<reference>".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ty: ValType, text: &str, expected: Option<&str>) {
        assert_eq!(number(&ty, text).as_ref().map(show).as_deref(), expected, "{ty} {text}");
    }

    #[test]
    fn numbers() {
        check(ValType::I32, "-7", Some("-7"));
        check(ValType::I32, "4294967295", Some("-1"));
        check(ValType::I32, "4294967296", None);
        check(ValType::I64, "9223372036854775807", Some("9223372036854775807"));
        check(ValType::F64, "0.5", Some("0.5"));
        check(ValType::F32, "x", None);
        check(ValType::V128, "1", None);
    }
}
