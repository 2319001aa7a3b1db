//! The machine, as Windows tells of it.

use std::{io, mem, path::Path, ptr, time::Duration};

use windows_sys::Win32::{
    Foundation::{ERROR_SUCCESS, LocalFree},
    Security::{
        Authorization::{ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1},
        DACL_SECURITY_INFORMATION, GetTokenInformation, PROTECTED_DACL_SECURITY_INFORMATION,
        SetFileSecurityW, TOKEN_ELEVATION, TOKEN_QUERY, TokenElevation,
    },
    System::{
        Registry::{
            HKEY, HKEY_CURRENT_USER, HKEY_LOCAL_MACHINE, KEY_READ, KEY_WRITE, REG_OPTION_VOLATILE,
            REG_SZ, RRF_RT_REG_SZ, RegCloseKey, RegCreateKeyExW, RegGetValueW, RegSetValueExW,
        },
        SystemInformation::{GetTickCount64, GlobalMemoryStatusEx, MEMORYSTATUSEX},
        Threading::{GetCurrentProcess, OpenProcessToken},
    },
};

use super::handle::{done, own, wide};

/// A key that is gone after the next boot.
const BOOT: &str = r"Software\Quaestor\Boot";

/// Its value: which boot this is.
const ID: &str = "Id";

/// The owner, the system and administrators may do everything, also with what is made below; nobody else anything, and
/// nothing comes from the directory above.
pub(super) const PRIVATE: &str = "D:P(A;OICI;FA;;;OW)(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)";

/// The time since the machine started, suspended or not.
pub(in crate::process) fn uptime() -> Duration {
    // SAFETY: it takes nothing and cannot fail.
    Duration::from_millis(unsafe { GetTickCount64() })
}

/// How much memory there is, in bytes.
pub(in crate::process) fn memory() -> Option<u64> {
    let mut status = MEMORYSTATUSEX {
        dwLength: u32::try_from(mem::size_of::<MEMORYSTATUSEX>()).ok()?,
        ..Default::default()
    };
    // SAFETY: the structure is valid and says how long it is.
    done(unsafe { GlobalMemoryStatusEx(&mut status) }).ok()?;
    Some(status.ullTotalPhys)
}

/// Whether this program has the rights of an administrator or of the system.
pub(in crate::process) fn is_elevated() -> bool {
    let mut token = ptr::null_mut();
    // SAFETY: the pseudo handle needs no closing; the place for the token is valid.
    if done(unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &mut token) }).is_err() {
        return false;
    }
    // SAFETY: it was just opened, for us.
    let Ok(token) = (unsafe { own(token) }) else {
        return false;
    };
    let mut elevation = TOKEN_ELEVATION::default();
    let mut length = 0;
    // SAFETY: the place is as long as is said, and of the type that belongs to the question.
    let asked = unsafe {
        GetTokenInformation(
            std::os::windows::io::AsRawHandle::as_raw_handle(&token),
            TokenElevation,
            (&raw mut elevation).cast(),
            mem::size_of::<TOKEN_ELEVATION>() as u32,
            &mut length,
        )
    };
    done(asked).is_ok() && elevation.TokenIsElevated != 0
}

/// Which boot this is: a text in a part of the registry that does not outlive one. It is there for all, where this program
/// may write to that; else for its user.
pub(in crate::process) fn boot_id() -> io::Result<String> {
    let key = Key::make(HKEY_LOCAL_MACHINE).or_else(|_| Key::make(HKEY_CURRENT_USER))?;
    match key.read() {
        Some(id) => Ok(id),
        None => {
            let mut random = [0; 16];
            getrandom::fill(&mut random).map_err(io::Error::other)?;
            let id = format!("{:032x}", u128::from_le_bytes(random));
            key.write(&id)?;
            Ok(id)
        }
    }
}

struct Key(HKEY);

impl Key {
    fn make(root: HKEY) -> io::Result<Self> {
        let mut key = ptr::null_mut();
        // SAFETY: the texts end with a zero, the place for the key is valid, and what is null may be.
        let code = unsafe {
            RegCreateKeyExW(
                root,
                wide(BOOT).as_ptr(),
                0,
                ptr::null(),
                REG_OPTION_VOLATILE,
                KEY_READ | KEY_WRITE,
                ptr::null(),
                &mut key,
                ptr::null_mut(),
            )
        };
        match code {
            ERROR_SUCCESS => Ok(Self(key)),
            _ => Err(failed(code)),
        }
    }

    fn read(&self) -> Option<String> {
        let mut text = [0_u16; 64];
        let mut length = mem::size_of_val(&text) as u32;
        // SAFETY: the key is open, and the place is as long as is said.
        let code = unsafe {
            RegGetValueW(
                self.0,
                ptr::null(),
                wide(ID).as_ptr(),
                RRF_RT_REG_SZ,
                ptr::null_mut(),
                text.as_mut_ptr().cast(),
                &mut length,
            )
        };
        let text = text.split(|unit| *unit == 0).next()?;
        (code == ERROR_SUCCESS).then(|| String::from_utf16_lossy(text))
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let text = wide(text);
        // SAFETY: the key is open, and the text is as long as is said.
        let code = unsafe {
            RegSetValueExW(
                self.0,
                wide(ID).as_ptr(),
                0,
                REG_SZ,
                text.as_ptr().cast(),
                mem::size_of_val(text.as_slice()) as u32,
            )
        };
        match code {
            ERROR_SUCCESS => Ok(()),
            _ => Err(failed(code)),
        }
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: it is open, and this is its only owner.
        unsafe { RegCloseKey(self.0) };
    }
}

fn failed(code: u32) -> io::Error {
    io::Error::from_raw_os_error(code.cast_signed())
}

/// See [`super::super::keep_private`].
pub(in crate::process) fn keep_private(directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    protect(directory, PRIVATE)
}

/// Lets a file or directory have those rights, and none of the directory above.
pub(super) fn protect(path: &Path, rights: &str) -> io::Result<()> {
    let mut descriptor = ptr::null_mut();
    // SAFETY: the text ends with a zero, and the place for the descriptor is valid.
    done(unsafe {
        ConvertStringSecurityDescriptorToSecurityDescriptorW(
            wide(rights).as_ptr(),
            SDDL_REVISION_1,
            &mut descriptor,
            ptr::null_mut(),
        )
    })?;
    let what = DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION;
    // SAFETY: the path ends with a zero, and the descriptor is the one that was just made.
    let set = done(unsafe { SetFileSecurityW(wide(path).as_ptr(), what, descriptor) });
    // SAFETY: it was allocated for us by the call above, and is not used any more.
    unsafe { LocalFree(descriptor) };
    set
}
