//! Messages that were given up, and the file that keeps them.
//!
//! Each line of the file is one value of JSON: a letter, or which letters are gone, or which number is the next. So a letter
//! is added, or taken away, by one write at the end; what is cut off there by a crash is one line. Now and then the file is
//! written anew, with what is left (ADR 0012).

mod letter;
mod post;
mod shelf;

pub(crate) use self::{
    letter::Letter,
    post::{Keeper, Post},
    shelf::{Contents, FILE, READ_BYTES, Shared, Shelf},
};
