//! The calls that make a job, a token and a process: the unsafe code of this folder.

#![expect(unsafe_code, reason = "ADR 0019: jobs, tokens and lists of handles have no safe wrapper")]

use std::{
    ffi::c_void,
    io, mem,
    os::windows::{
        ffi::OsStringExt as _,
        io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle},
    },
    path::PathBuf,
    ptr,
    time::Duration,
};

use windows_sys::{
    Win32::{
        Foundation::{
            ERROR_INSUFFICIENT_BUFFER, HANDLE, HANDLE_FLAG_INHERIT, LUID, SetHandleInformation,
            WAIT_OBJECT_0, WAIT_TIMEOUT,
        },
        Security::{
            CreateRestrictedToken, GetTokenInformation, LUA_TOKEN, LUID_AND_ATTRIBUTES, TOKEN_ASSIGN_PRIMARY,
            TOKEN_DUPLICATE, TOKEN_QUERY, TokenPrivileges,
        },
        Storage::FileSystem::GetFinalPathNameByHandleW,
        System::{
            JobObjects::{
                AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_CPU_RATE_CONTROL_ENABLE,
                JOB_OBJECT_CPU_RATE_CONTROL_HARD_CAP, JOB_OBJECT_LIMIT_ACTIVE_PROCESS,
                JOB_OBJECT_LIMIT_JOB_MEMORY, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
                JOB_OBJECT_LIMIT_PROCESS_TIME, JOBOBJECT_BASIC_ACCOUNTING_INFORMATION,
                JOBOBJECT_CPU_RATE_CONTROL_INFORMATION, JOBOBJECT_CPU_RATE_CONTROL_INFORMATION_0,
                JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JOBOBJECTINFOCLASS,
                JobObjectBasicAccountingInformation, JobObjectCpuRateControlInformation,
                JobObjectExtendedLimitInformation, QueryInformationJobObject, SetInformationJobObject,
                TerminateJobObject,
            },
            Threading::{
                ALL_PROCESSOR_GROUPS, CREATE_NO_WINDOW, CREATE_SUSPENDED, CREATE_UNICODE_ENVIRONMENT,
                CreateProcessAsUserW, DeleteProcThreadAttributeList, EXTENDED_STARTUPINFO_PRESENT,
                GetActiveProcessorCount, GetCurrentProcess, GetExitCodeProcess, INFINITE,
                InitializeProcThreadAttributeList, LPPROC_THREAD_ATTRIBUTE_LIST, OpenProcessToken,
                PROC_THREAD_ATTRIBUTE_HANDLE_LIST, PROCESS_INFORMATION, ResumeThread, STARTF_USESTDHANDLES,
                STARTUPINFOEXW, TerminateProcess, UpdateProcThreadAttribute, WaitForSingleObject,
            },
        },
    },
    core::BOOL,
};

use crate::process::{Limits, Usage};

/// What a process ends with that the door ended.
const ENDED_BY_US: u32 = 1;

/// The privilege of going through directories whose own access lists do not let one (`SE_CHANGE_NOTIFY_PRIVILEGE`): all have it.
const GO_THROUGH: u32 = 23;

/// All processes of a program. They end when this is closed, or by its word.
#[derive(Debug)]
pub(super) struct Job(OwnedHandle);

impl Job {
    /// Makes one, with what it bounds.
    pub(super) fn new(limits: &Limits) -> io::Result<Self> {
        // SAFETY: no pointer leads anywhere; what comes back is ours alone, or null.
        let job = Self(owned(unsafe { CreateJobObjectW(ptr::null(), ptr::null()) })?);
        let mut bounds = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
        let basic = &mut bounds.BasicLimitInformation;
        basic.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
        if let Some(count) = limits.processes {
            basic.LimitFlags |= JOB_OBJECT_LIMIT_ACTIVE_PROCESS;
            basic.ActiveProcessLimit = u32::try_from(count).unwrap_or(u32::MAX);
        }
        if let Some(time) = limits.cpu_time {
            basic.LimitFlags |= JOB_OBJECT_LIMIT_PROCESS_TIME;
            basic.PerProcessUserTimeLimit = i64::try_from(time.as_nanos() / 100).unwrap_or(i64::MAX);
        }
        if let Some(bytes) = limits.memory_bytes {
            basic.LimitFlags |= JOB_OBJECT_LIMIT_JOB_MEMORY;
            bounds.JobMemoryLimit = usize::try_from(bytes).unwrap_or(usize::MAX);
        }
        job.set(JobObjectExtendedLimitInformation, &bounds)?;
        if let Some(percent) = limits.cpu_percent {
            // Of all processors of the machine together, those too that we may not use, in hundredths of a hundredth.
            // SAFETY: it takes a number and gives one.
            let processors = unsafe { GetActiveProcessorCount(ALL_PROCESSOR_GROUPS) };
            let processors = u64::from(processors.max(1));
            let rate = (u64::from(percent) * 100 / processors).clamp(1, 10_000) as u32;
            let share = JOBOBJECT_CPU_RATE_CONTROL_INFORMATION {
                ControlFlags: JOB_OBJECT_CPU_RATE_CONTROL_ENABLE | JOB_OBJECT_CPU_RATE_CONTROL_HARD_CAP,
                Anonymous: JOBOBJECT_CPU_RATE_CONTROL_INFORMATION_0 { CpuRate: rate },
            };
            job.set(JobObjectCpuRateControlInformation, &share)?;
        }
        Ok(job)
    }

    fn set<T>(&self, class: JOBOBJECTINFOCLASS, value: &T) -> io::Result<()> {
        let size = mem::size_of::<T>() as u32;
        // SAFETY: the system reads a record of this size; each caller gives the one that its class names.
        done(unsafe {
            SetInformationJobObject(self.0.as_raw_handle(), class, ptr::from_ref(value).cast(), size)
        })
    }

    fn get<T: Default>(&self, class: JOBOBJECTINFOCLASS) -> Option<T> {
        let (mut value, size) = (T::default(), mem::size_of::<T>() as u32);
        let into = (&raw mut value).cast::<c_void>();
        // SAFETY: the system writes a record of this size; each caller asks for the one that its class names.
        let got =
            unsafe { QueryInformationJobObject(self.0.as_raw_handle(), class, into, size, ptr::null_mut()) };
        (got != 0).then_some(value)
    }

    /// Ends all that is in it.
    pub(super) fn terminate(&self) {
        // SAFETY: the handle is open as long as this is. What has ended already is no matter.
        unsafe { TerminateJobObject(self.0.as_raw_handle(), ENDED_BY_US) };
    }

    /// What all that was in it used.
    pub(super) fn usage(&self) -> Usage {
        let time =
            |units: i64| Duration::from_nanos(u64::try_from(units).unwrap_or_default().saturating_mul(100));
        let mut usage = Usage::default();
        let counted = self.get::<JOBOBJECT_BASIC_ACCOUNTING_INFORMATION>(JobObjectBasicAccountingInformation);
        if let Some(counted) = counted {
            usage.user_time = time(counted.TotalUserTime);
            usage.system_time = time(counted.TotalKernelTime);
        }
        let bounds = self.get::<JOBOBJECT_EXTENDED_LIMIT_INFORMATION>(JobObjectExtendedLimitInformation);
        usage.peak_memory_bytes =
            bounds.map(|bounds| bounds.PeakJobMemoryUsed as u64).filter(|bytes| *bytes > 0);
        usage
    }
}

/// A process that was started.
#[derive(Debug)]
pub(super) struct Born {
    pub(super) process: OwnedHandle,
    pub(super) id: u32,
}

/// What a process is started with. The texts end with zeros.
pub(super) struct Start<'a> {
    pub(super) program: &'a [u16],
    pub(super) line: Vec<u16>,
    pub(super) environment: &'a [u16],
    pub(super) directory: &'a [u16],
    pub(super) stdio: &'a [OwnedHandle; 3],
}

/// Starts a process within a job, without what our token has of privileges. It gets its input, output and errors, and no other handle, whatever else can be inherited.
pub(super) fn start(start: Start<'_>, job: &Job) -> io::Result<Born> {
    let handles: [HANDLE; 3] =
        [0, 1, 2].map(|number| start.stdio.get(number).map_or(ptr::null_mut(), |one| one.as_raw_handle()));
    start.stdio.iter().try_for_each(let_inherit)?;
    let list = List::new(&handles)?;
    let mut how = STARTUPINFOEXW::default();
    how.StartupInfo.cb = mem::size_of::<STARTUPINFOEXW>() as u32;
    how.StartupInfo.dwFlags = STARTF_USESTDHANDLES;
    [how.StartupInfo.hStdInput, how.StartupInfo.hStdOutput, how.StartupInfo.hStdError] = handles;
    how.lpAttributeList = list.pointer;
    let flags =
        CREATE_SUSPENDED | CREATE_UNICODE_ENVIRONMENT | CREATE_NO_WINDOW | EXTENDED_STARTUPINFO_PRESENT;
    let token = restricted_token()?;
    let mut line = start.line;
    let mut born = PROCESS_INFORMATION::default();
    let (program, line) = (start.program.as_ptr(), line.as_mut_ptr());
    let (environment, directory) = (start.environment.as_ptr().cast(), start.directory.as_ptr());
    let (none, how) = (ptr::null(), (&raw const how).cast());
    // SAFETY: every text ends with a zero and lives until this returns, as do the list and what it leads to; `line` may be
    // written to; `how` is an extended record, as the flags say; `born` is written to.
    done(unsafe {
        CreateProcessAsUserW(
            token.as_raw_handle(),
            program,
            line,
            none,
            none,
            1,
            flags,
            environment,
            directory,
            how,
            &raw mut born,
        )
    })?;
    // SAFETY: the call gave both handles to us alone.
    let (process, thread) =
        unsafe { (OwnedHandle::from_raw_handle(born.hProcess), OwnedHandle::from_raw_handle(born.hThread)) };
    // SAFETY: both handles are open.
    let begun = done(unsafe { AssignProcessToJobObject(job.0.as_raw_handle(), process.as_raw_handle()) })
        // SAFETY: the handle is open.
        .and_then(|()| match unsafe { ResumeThread(thread.as_raw_handle()) } {
            u32::MAX => Err(io::Error::last_os_error()),
            _ => Ok(()),
        });
    if let Err(error) = begun {
        // SAFETY: the handle is open. It never ran.
        unsafe { TerminateProcess(process.as_raw_handle(), ENDED_BY_US) };
        return Err(error);
    }
    Ok(Born { process, id: born.dwProcessId })
}

/// Lets processes that are started inherit a handle, where they are started with it, or without a list.
pub(super) fn let_inherit(handle: &OwnedHandle) -> io::Result<()> {
    // SAFETY: the handle is open.
    done(unsafe { SetHandleInformation(handle.as_raw_handle(), HANDLE_FLAG_INHERIT, HANDLE_FLAG_INHERIT) })
}

/// Waits for the end of a process, for so long at most: its code, or `None` where it runs still.
pub(super) fn wait(process: &OwnedHandle, most: Option<Duration>) -> io::Result<Option<u32>> {
    let most = most.map_or(INFINITE, |most| u32::try_from(most.as_millis() + 1).unwrap_or(INFINITE - 1));
    // SAFETY: the handle is open.
    match unsafe { WaitForSingleObject(process.as_raw_handle(), most) } {
        WAIT_OBJECT_0 => {
            let mut code = 0;
            // SAFETY: the handle is open, and the code is written to.
            done(unsafe { GetExitCodeProcess(process.as_raw_handle(), &raw mut code) }).map(|()| Some(code))
        }
        WAIT_TIMEOUT => Ok(None),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A token like ours without any privilege but that of going through directories, and with its administrators' groups, if any, for
/// denials alone.
pub(super) fn restricted_token() -> io::Result<OwnedHandle> {
    let ours = own_token()?;
    // They are named one by one: where the system is told to take all, wine takes none.
    let taken = privileges(&ours)?;
    let (count, none) = (taken.len() as u32, ptr::null());
    let mut theirs: HANDLE = ptr::null_mut();
    // SAFETY: the lists are as long as is said; the token is written to.
    done(unsafe {
        CreateRestrictedToken(
            ours.as_raw_handle(),
            LUA_TOKEN,
            0,
            none,
            count,
            taken.as_ptr(),
            0,
            none,
            &raw mut theirs,
        )
    })?;
    let theirs = owned(theirs)?;
    match privileges(&theirs)?.len() {
        0 => Ok(theirs),
        left => Err(io::Error::other(format!("the system leaves it {left} privileges"))),
    }
}

/// The token of this process.
pub(super) fn own_token() -> io::Result<OwnedHandle> {
    let mut token: HANDLE = ptr::null_mut();
    let access = TOKEN_DUPLICATE | TOKEN_QUERY | TOKEN_ASSIGN_PRIMARY;
    // SAFETY: our own process' handle needs no closing; the token is written to.
    done(unsafe { OpenProcessToken(GetCurrentProcess(), access, &raw mut token) })?;
    owned(token)
}

/// The privileges that a token has, in use or not, but that of going through directories.
pub(super) fn privileges(token: &OwnedHandle) -> io::Result<Vec<LUID_AND_ATTRIBUTES>> {
    // Their number, and three numbers of each; there are less than fifty kinds.
    let mut told = [0_u32; 1 + 3 * 64];
    let (size, mut len) = (mem::size_of_val(&told) as u32, 0);
    let into = told.as_mut_ptr().cast();
    // SAFETY: the system writes at most as many bytes as it is told; what it writes are numbers of this size.
    done(unsafe { GetTokenInformation(token.as_raw_handle(), TokenPrivileges, into, size, &raw mut len) })?;
    let (count, each) = told.split_first().ok_or_else(io::Error::last_os_error)?;
    let (each, _) = each.as_chunks::<3>();
    let each = each.iter().take(*count as usize).map(|[low, high, attributes]| LUID_AND_ATTRIBUTES {
        Luid: LUID { LowPart: *low, HighPart: high.cast_signed() },
        Attributes: *attributes,
    });
    Ok(each.filter(|one| (one.Luid.LowPart, one.Luid.HighPart) != (GO_THROUGH, 0)).collect())
}

/// Where an open file is, by no link.
pub(super) fn final_path(file: &OwnedHandle) -> io::Result<PathBuf> {
    let mut path = vec![0_u16; 32_768];
    // SAFETY: the system writes at most as many units as it is told.
    let len =
        unsafe { GetFinalPathNameByHandleW(file.as_raw_handle(), path.as_mut_ptr(), path.len() as u32, 0) };
    match path.get(..len as usize) {
        Some(path) if len > 0 => Ok(std::ffi::OsString::from_wide(path).into()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A list of attributes with one in it: the handles that a process inherits. They live as long as this does.
struct List<'a> {
    pointer: LPPROC_THREAD_ATTRIBUTE_LIST,
    /// What `pointer` leads to; nothing else looks at it.
    _memory: Vec<usize>,
    handles: std::marker::PhantomData<&'a [HANDLE]>,
}

impl<'a> List<'a> {
    fn new(handles: &'a [HANDLE; 3]) -> io::Result<Self> {
        let mut bytes = 0;
        // SAFETY: with no list it says how long one is, which is an error by its word.
        let asked = done(unsafe { InitializeProcThreadAttributeList(ptr::null_mut(), 1, 0, &raw mut bytes) });
        match asked {
            Err(error) if error.raw_os_error() == Some(ERROR_INSUFFICIENT_BUFFER as i32) => {}
            _ => return Err(io::Error::other("the system does not say how long a list of attributes is")),
        }
        let mut memory = vec![0_usize; bytes.div_ceil(mem::size_of::<usize>())];
        let pointer: LPPROC_THREAD_ATTRIBUTE_LIST = memory.as_mut_ptr().cast();
        // SAFETY: the memory is as long as was asked for.
        done(unsafe { InitializeProcThreadAttributeList(pointer, 1, 0, &raw mut bytes) })?;
        // From here on it is to be taken apart, which `drop` does.
        let made = Self { pointer, _memory: memory, handles: std::marker::PhantomData };
        let (first, size) = (handles.as_ptr().cast(), mem::size_of_val(handles));
        let (attribute, none) = (PROC_THREAD_ATTRIBUTE_HANDLE_LIST as usize, ptr::null_mut());
        // SAFETY: the handles live as long as the list, as its type says.
        done(unsafe {
            UpdateProcThreadAttribute(made.pointer, 0, attribute, first, size, none, ptr::null())
        })?;
        Ok(made)
    }
}

impl Drop for List<'_> {
    fn drop(&mut self) {
        // SAFETY: it was initialised.
        unsafe { DeleteProcThreadAttributeList(self.pointer) };
    }
}

fn done(success: BOOL) -> io::Result<()> {
    if success != 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A handle that a call gave to us alone.
fn owned(handle: HANDLE) -> io::Result<OwnedHandle> {
    if handle.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the callers' calls gave it to them alone, and it is none of the numbers that stand for something else.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}
