//! Accounts, and what they may see.

use std::{io, os::windows::io::AsRawHandle as _, path::Path, ptr};

use windows_sys::{
    Win32::{
        Foundation::LocalFree,
        Security::{
            Authorization::ConvertSidToStringSidW, GetTokenInformation, LookupAccountNameW, PSID,
            TOKEN_QUERY, TOKEN_USER, TokenUser,
        },
        System::Threading::{GetCurrentProcess, OpenProcessToken},
    },
    core::PWSTR,
};

use super::{
    handle::{done, own as take, wide},
    machine::{PRIVATE, protect},
};

/// Longer than any SID with what stands before it, and than any name of a domain.
const ROOM: usize = 512;

/// The SID of an account.
pub(in crate::process) fn id(name: &str) -> io::Result<String> {
    // Words, so that the structure in it lies where it may.
    let mut sid = [0_u64; ROOM];
    let mut domain = [0_u16; ROOM];
    let mut length = size_of_val(&sid) as u32;
    let mut domain_length = domain.len() as u32;
    let mut kind = 0;
    // A dot means this machine, where it is no part of a name.
    let name = name.strip_prefix(r".\").unwrap_or(name);
    // SAFETY: the name ends with a zero, and both places are as long as is said.
    done(unsafe {
        LookupAccountNameW(
            ptr::null(),
            wide(name).as_ptr(),
            sid.as_mut_ptr().cast(),
            &mut length,
            domain.as_mut_ptr(),
            &mut domain_length,
            &mut kind,
        )
    })?;
    // SAFETY: it was just filled in.
    unsafe { text(sid.as_mut_ptr().cast()) }
}

/// The SID of this program's account.
pub(in crate::process) fn own() -> io::Result<String> {
    let mut token = ptr::null_mut();
    // SAFETY: the pseudo handle needs no closing; the place for the token is valid.
    done(unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &mut token) })?;
    // SAFETY: it was just opened, for us.
    let token = unsafe { take(token) }?;
    let mut user = [0_u64; ROOM];
    let mut length = 0;
    // SAFETY: the place is as long as is said, and aligned as words are.
    done(unsafe {
        GetTokenInformation(
            token.as_raw_handle(),
            TokenUser,
            user.as_mut_ptr().cast(),
            size_of_val(&user) as u32,
            &mut length,
        )
    })?;
    // SAFETY: the system has filled in this structure, whose SID lies behind it.
    unsafe { text((*user.as_ptr().cast::<TOKEN_USER>()).User.Sid) }
}

/// A SID as text.
///
/// # Safety
/// It is one.
unsafe fn text(sid: PSID) -> io::Result<String> {
    let mut text: PWSTR = ptr::null_mut();
    // SAFETY: the caller says so, and the place for the text is valid.
    done(unsafe { ConvertSidToStringSidW(sid, &mut text) })?;
    // SAFETY: the text ends with a zero, and was allocated for us.
    unsafe {
        let length = (0..).take_while(|at| *text.add(*at) != 0).count();
        let copy = String::from_utf16_lossy(std::slice::from_raw_parts(text, length));
        LocalFree(text.cast());
        Ok(copy)
    }
}

/// See [`super::super::identity::let_in`].
pub(in crate::process) fn let_in(path: &Path, name: &str) -> io::Result<()> {
    protect(path, &format!("{PRIVATE}(A;OICI;FA;;;{})", id(name)?))
}
