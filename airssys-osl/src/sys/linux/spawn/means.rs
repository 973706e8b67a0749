//! What a program can be held to, and finds, here beside its layers: found out by trying.

use std::{io, sync::OnceLock};

use super::{
    cgroup::{self, Group},
    prepare::{self, PROC_FLAGS, unbounded},
    probe,
    script::Script,
};
use crate::process::{Layers, Limits};

/// Whether a program can be held to `limits` under every layer that can be had, or why not.
pub(crate) fn try_limits(limits: &Limits) -> Result<(), Box<str>> {
    let layers = probe::host().available();
    if let Some((_, why)) = unbounded(limits, layers) {
        return Err(why.into());
    }
    if layers.contains(Layers::CGROUP) {
        cgroup::try_limits(limits).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// The version of the control groups that programs are counted by.
pub(crate) fn cgroup_version() -> Option<u32> {
    if !probe::host().available().contains(Layers::CGROUP) {
        return None;
    }
    Group::new(&Limits::new(), 0).ok().map(|group| group.version())
}

/// Why a program under `layers` finds no `/proc`; `None` where it finds one.
pub(crate) fn why_no_proc(layers: Layers) -> Option<Box<str>> {
    match () {
        () if !layers.contains(Layers::MOUNTS) => None,
        () if !layers.contains(Layers::PROCESSES) => {
            Some("a root of its own has one with the layer `processes` alone".into())
        }
        () => why_none_is_given(),
    }
}

fn why_none_is_given() -> Option<Box<str>> {
    static WHY: OnceLock<Option<Box<str>>> = OnceLock::new();
    if let Some(why) = WHY.get() {
        return why.clone();
    }
    let why = match try_proc() {
        Ok(()) => None,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let how = "the kernel gives none where parts of the machine's own are hidden from us, as in most containers; \
                       one is started with all of it by `--security-opt systempaths=unconfined`";
            Some(format!("{error}: {how}").into())
        }
        // There was something too few: it may be another matter the next time.
        Err(error) => return Some(error.to_string().into()),
    };
    WHY.get_or_init(|| why).clone()
}

/// Mounts one in namespaces of its own, in a child that ends at once.
fn try_proc() -> io::Result<()> {
    let namespaces = prepare::namespaces(Layers::MOUNTS | Layers::PROCESSES, probe::own());
    let mut script = Script::new();
    script.keep_mounts_private();
    script.mount("mount /proc", c"proc", c"/proc", PROC_FLAGS, c"subset=pid");
    probe::try_script(&script, namespaces)
}
