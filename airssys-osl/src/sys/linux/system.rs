//! The machine, as procfs and a few calls tell of it.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read as _},
    os::unix::ffi::OsStringExt as _,
    path::PathBuf,
    thread,
};

use rustix::{fs, system};

use crate::{
    limits::SYSTEM_TABLE_BYTES,
    os::Fault,
    system::{Cpu, Disk, Load, Memory, Space},
};

/// File systems that ask a server, or a program, how much they hold. Those made by programs begin with `fuse`.
const REMOTE: &[&str] =
    &["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "afs", "lustre", "gfs2", "ocfs2", "autofs"];

pub(crate) fn cpu() -> Result<Cpu, Fault> {
    let count = thread::available_parallelism().map_err(Fault::Os)?.get();
    // Where procfs is not mounted, the count is still right.
    let model = read("/proc/cpuinfo").ok().and_then(|text| model(&text));
    Ok(Cpu { count, model })
}

pub(crate) fn memory() -> Result<Memory, Fault> {
    parse_memory(&read("/proc/meminfo")?).ok_or_else(malformed)
}

pub(crate) fn load() -> Result<Load, Fault> {
    // The kernel counts in parts of 2 to the power of 16.
    let [one, five, fifteen] = system::sysinfo().loads.map(|load| load as f64 / 65_536.0);
    Ok(Load { one, five, fifteen })
}

pub(crate) fn host_name() -> Result<String, Fault> {
    Ok(system::uname().nodename().to_string_lossy().into_owned())
}

pub(crate) fn disks() -> Result<Vec<Disk>, Fault> {
    let mut disks = Vec::new();
    for line in read("/proc/self/mountinfo")?.lines() {
        let mut disk = parse_mount(line).ok_or_else(malformed)?;
        if REMOTE.contains(&&*disk.file_system) || disk.file_system.starts_with("fuse") {
            disks.push(disk);
            continue;
        }
        // What was unmounted meanwhile, or is out of reach, is not there.
        let Ok(stat) = fs::statvfs(&disk.mount) else { continue };
        // What the kernel makes up holds nothing.
        if stat.f_blocks > 0 {
            disk.space = Some(Space {
                total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
                available_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
            });
            disks.push(disk);
        }
    }
    Ok(disks)
}

fn read(path: &str) -> Result<String, Fault> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(Fault::Os)?;
    file.take(SYSTEM_TABLE_BYTES + 1).read_to_end(&mut bytes).map_err(Fault::Os)?;
    if bytes.len() as u64 > SYSTEM_TABLE_BYTES {
        return Err(Fault::TooLarge);
    }
    // Mounts and models can have any bytes in their names; what is no UTF-8 is none of ours to repair.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn model(text: &str) -> Option<String> {
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    let mut models = fields.filter(|(name, _)| name.trim() == "model name");
    models.next().map(|(_, model)| model.trim().to_owned())
}

fn parse_memory(text: &str) -> Option<Memory> {
    let bytes = |name: &str| {
        let mut fields = text.lines().filter_map(|line| line.split_once(':'));
        let (_, value) = fields.find(|(field, _)| *field == name)?;
        value.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
    };
    Some(Memory {
        total_bytes: bytes("MemTotal")?,
        available_bytes: bytes("MemAvailable")?,
        swap_total_bytes: bytes("SwapTotal")?,
        swap_free_bytes: bytes("SwapFree")?,
    })
}

/// Takes a line of `mountinfo` apart; see proc_pid_mountinfo(5).
fn parse_mount(line: &str) -> Option<Disk> {
    let (place, kind) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(4);
    let mount = unescape(place.next()?);
    let of_mount = place.next()?;
    let mut kind = kind.split(' ');
    let file_system = kind.next()?.to_owned();
    let of_file_system = kind.nth(1)?;
    let read_only = [of_mount, of_file_system].iter().any(|options| options.split(',').any(|o| o == "ro"));
    Some(Disk { mount, file_system, read_only, space: None })
}

/// Undoes the octal escapes of blanks and backslashes.
fn unescape(text: &str) -> PathBuf {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, behind)) = rest.split_first() {
        let code = behind.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = behind.get(3..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

fn malformed() -> Fault {
    Fault::Os(io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models() {
        let text =
            "processor\t: 0\nmodel name\t: Some CPU: 2.50GHz\n\nprocessor\t: 1\nmodel name\t: Another\n";
        assert_eq!(model(text).as_deref(), Some("Some CPU: 2.50GHz"));
        assert_eq!(model("processor\t: 0\nBogoMIPS\t: 50\n"), None);
    }

    #[test]
    fn memories() {
        let text = "MemTotal:  16 kB\nMemFree: 1 kB\nMemAvailable: 8 kB\nSwapTotal: 4 kB\nSwapFree: 2 kB\n";
        let memory = parse_memory(text).unwrap();
        assert_eq!((memory.total_bytes, memory.available_bytes), (16 << 10, 8 << 10));
        assert_eq!((memory.swap_total_bytes, memory.swap_free_bytes), (4 << 10, 2 << 10));
        assert_eq!(parse_memory("MemTotal: 16 kB\n"), None);
        assert_eq!(parse_memory(&text.replace("16 kB", "99999999999999999999 kB")), None);
    }

    fn check(line: &str, expected: Option<(&str, &str, bool)>) {
        let disk = parse_mount(line);
        let found =
            disk.as_ref().map(|disk| (disk.mount.to_str().unwrap(), &*disk.file_system, disk.read_only));
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn mounts() {
        check("27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard", Some(("/", "ext4", false)));
        check(
            "36 35 98:0 /a /m\\040n rw,noatime master:1 - ext3 /dev/root ro,x",
            Some(("/m n", "ext3", true)),
        );
        check("36 35 98:0 /a /x\\134040\\01 ro - tmpfs a\\040b rw", Some(("/x\\040\\01", "tmpfs", true)));
        check("36 35 98:0 /a", None);
        check("", None);
    }
}
