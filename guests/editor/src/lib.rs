//! An actor that keeps a count of words, and has each text's counted by a component that is plugged into it: the fixture of
//! composition.
//!
//! A test makes another version of it by changing the word in `VERSION` in its bytes.

#[cfg(target_arch = "wasm32")]
#[allow(missing_docs, unsafe_code, reason = "generated")]
#[allow(clippy::undocumented_unsafe_blocks, clippy::indexing_slicing, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "../words/wit", world: "editor" });
}

#[cfg(target_arch = "wasm32")]
mod actor;

#[cfg(target_arch = "wasm32")]
airssys_guest::export!(actor::Editor, stateful);
