//! Counts the words of a text for the component that it is plugged into. A fixture of composition: it reads a file, by the
//! grants of that component.

#[cfg(target_arch = "wasm32")]
#[allow(missing_docs, unsafe_code, reason = "generated")]
#[allow(clippy::undocumented_unsafe_blocks, clippy::indexing_slicing, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "wit", world: "words" });

    export!(Words with_types_in self);

    use crate::count::Words;
}

#[cfg(target_arch = "wasm32")]
mod count;
