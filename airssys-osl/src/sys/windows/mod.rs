//! Windows: what starts programs and holds them. Files and clocks are those of [`portable`](super::portable).
//!
//! | file | does |
//! |---|---|
//! | `argv` | the one text that a program's arguments are, and which programs take it apart otherwise; pure |
//! | `raw` | jobs, tokens and processes, and all unsafe code |
//! | `child` | waits for an end, and kills |
//! | `pipe` | the ends of a program's pipes |
//! | `spawn` | from a plan to a child |

mod argv;
#[cfg(windows)]
mod child;
#[cfg(windows)]
mod pipe;
#[cfg(windows)]
mod raw;
#[cfg(windows)]
mod spawn;

#[cfg(windows)]
pub(crate) use self::{
    child::{Child, Killer},
    pipe::{PipeReader, PipeWriter, input_pipe, output_pipe},
    spawn::{
        BY_PATH, Notes, Place, RESOLVER, START, SYSTEM, dynamic_user, everything, host, inherited, lend,
        nobody, null, open_program, path_word, signal_number, spawn, unbounded, words,
    },
};

/// What a program is handed.
#[cfg(windows)]
pub(crate) type Descriptor = std::os::windows::io::OwnedHandle;

/// What a program is told.
#[cfg(windows)]
pub(crate) type Word = String;
