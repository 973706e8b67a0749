//! The first process of a process namespace: it takes away who ended, and tells how the program ended.
//!
//! The kernel ends a namespace with its first process. Were the program that process, signals would not have their
//! default effect on it, and it would have to take away strangers' children. So a process of twenty instructions stands
//! before it. It has no code of ours in its memory, and no descriptor but one end of a socket.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::OnceLock,
};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

/// Under which number it finds its socket.
pub(super) const SOCKET: i32 = 3;

/// It waits for all, until process 2 has ended, which is the program: the first one after it.
///
/// ```text
/// again:  mov  eax, 61            wait4(-1, rsp - 16, 0, 0)
///         mov  edi, -1
///         lea  rsi, [rsp - 16]
///         xor  edx, edx
///         xor  r10d, r10d
///         syscall
///         cmp  eax, -4            a signal came between
///         je   again
///         test eax, eax           nobody is left
///         js   end
///         cmp  eax, 2
///         jne  again
///         mov  eax, 1             write(3, rsp - 16, 4)
///         mov  edi, 3
///         lea  rsi, [rsp - 16]
///         mov  edx, 4
///         syscall
/// end:    mov  eax, 231           exit_group(0)
///         xor  edi, edi
///         syscall
/// ```
#[cfg(target_arch = "x86_64")]
const CODE: &[u8] = &[
    0xb8, 0x3d, 0x00, 0x00, 0x00, 0xbf, 0xff, 0xff, 0xff, 0xff, 0x48, 0x8d, 0x74, 0x24, 0xf0, 0x31, 0xd2,
    0x45, 0x31, 0xd2, 0x0f, 0x05, 0x83, 0xf8, 0xfc, 0x74, 0xe5, 0x85, 0xc0, 0x78, 0x1b, 0x83, 0xf8, 0x02,
    0x75, 0xdc, 0xb8, 0x01, 0x00, 0x00, 0x00, 0xbf, 0x03, 0x00, 0x00, 0x00, 0x48, 0x8d, 0x74, 0x24, 0xf0,
    0xba, 0x04, 0x00, 0x00, 0x00, 0x0f, 0x05, 0xb8, 0xe7, 0x00, 0x00, 0x00, 0x31, 0xff, 0x0f, 0x05,
];
#[cfg(not(target_arch = "x86_64"))]
const CODE: &[u8] = &[];

/// Whether there is one for this processor.
pub(super) const EXISTS: bool = !CODE.is_empty();

/// Where in memory its file begins.
const BASE: u64 = 0x40_0000;
/// The header of the file and the two of its segments.
const HEADERS: u64 = 64 + 2 * 56;

/// Lends the file, which is made once and cannot be changed.
pub(super) fn file() -> io::Result<BorrowedFd<'static>> {
    static FILE: OnceLock<OwnedFd> = OnceLock::new();
    if let Some(file) = FILE.get() {
        return Ok(file.as_fd());
    }
    let file = sealed("airssys-init", &image())?;
    Ok(FILE.get_or_init(|| file).as_fd())
}

/// A program in memory that nobody can change any more.
pub(crate) fn sealed(name: &str, image: &[u8]) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = memfd_create(name, flags | MemfdFlags::EXEC).or_else(|error| match error {
        // Before Linux 6.3 every such file could be executed.
        rustix::io::Errno::INVAL => memfd_create(name, flags),
        error => Err(error),
    })?;
    let mut rest = image;
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(file)
}

/// An ELF file of two segments: the code, and a stack that is not executed.
fn image() -> Vec<u8> {
    let length = HEADERS + CODE.len() as u64;
    let mut image = b"\x7fELF\x02\x01\x01".to_vec();
    image.resize(16, 0);
    // ET_EXEC for x86-64, version 1.
    for half in [2_u16, 62] {
        image.extend(half.to_le_bytes());
    }
    image.extend(1_u32.to_le_bytes());
    for word in [BASE + HEADERS, 64, 0] {
        image.extend(word.to_le_bytes());
    }
    image.extend(0_u32.to_le_bytes());
    // The sizes of this header and of one segment's; two of those, no sections.
    for half in [64_u16, 56, 2, 0, 0, 0] {
        image.extend(half.to_le_bytes());
    }
    // PT_LOAD, to be read and executed; PT_GNU_STACK, which is not to be executed.
    segment(&mut image, 1, 5, BASE, length);
    segment(&mut image, 0x6474_e551, 6, 0, 0);
    image.extend(CODE);
    image
}

fn segment(image: &mut Vec<u8>, kind: u32, flags: u32, address: u64, length: u64) {
    image.extend(kind.to_le_bytes());
    image.extend(flags.to_le_bytes());
    for word in [0, address, address, length, length, 0x1000] {
        image.extend(word.to_le_bytes());
    }
}
