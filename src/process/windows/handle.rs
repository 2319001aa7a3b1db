//! Handles of the system, and text as it wants it.

use std::{
    ffi::OsStr,
    io,
    os::windows::{
        ffi::OsStrExt as _,
        io::{FromRawHandle as _, OwnedHandle},
    },
};

use windows_sys::Win32::Foundation::HANDLE;

/// Text with a zero behind it.
pub(super) fn wide(text: impl AsRef<OsStr>) -> Vec<u16> {
    text.as_ref().encode_wide().chain([0]).collect()
}

/// Takes over what a call returned that gives null for a failure.
///
/// # Safety
/// The handle is open and belongs to nobody else, or it is null.
pub(super) unsafe fn own(handle: HANDLE) -> io::Result<OwnedHandle> {
    if handle.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the caller says so.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// What a call says by zero or something else.
pub(super) fn done(result: i32) -> io::Result<()> {
    match result {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
