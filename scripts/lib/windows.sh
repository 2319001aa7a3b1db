# shellcheck shell=bash
# What builds for Windows on Linux, and runs what was built: all out of Debian packages. To be sourced.
#
# Rust's library for Windows comes compiled from rustup alone. Debian has its source, in the version of its newest
# compiler (rustc-web), so cargo compiles the library as well. Both have to be of one version.

# shellcheck source=scripts/lib/tools.sh
source "${BASH_SOURCE[0]%/*}/tools.sh"

windows_target=x86_64-pc-windows-gnu
windows_folder=$root/target/windows

# The compiler, the library's source and MinGW. Fails where they cannot be had.
need_windows_rust() {
    [[ -x $tools/rust-windows/rustc ]] || alone fetch_windows_rust
}

fetch_windows_rust() {
    [[ -x $tools/rust-windows/rustc ]] && return
    say "fetching Debian's rustc-web, rust-web-src and MinGW into target/tools: 200 MB"
    debian_unpack_with_needs rust-windows rustc-web rust-web-src gcc-mingw-w64-x86-64-win32 || return 1
    local program
    for program in gcc-win32 ar dlltool; do
        debian_wrapper rust-windows "x86_64-w64-mingw32-$program"
    done
    mv "$tools/rust-windows/x86_64-w64-mingw32-gcc-win32" "$tools/rust-windows/x86_64-w64-mingw32-gcc"
    # Last: where it is, everything is.
    debian_wrapper rust-windows rustc
    "$tools/rust-windows/rustc" --version >/dev/null && return
    rm "$tools/rust-windows/rustc"
    return 1
}

# windows_cargo COMMAND ARGUMENT...: cargo for Windows, into target/windows; without what debuggers need, as that is most
# of the time and the room.
windows_cargo() {
    local command=$1
    shift
    PATH=$tools/rust-windows:$PATH RUSTC=$tools/rust-windows/rustc RUSTC_BOOTSTRAP=1 \
        CARGO_PROFILE_DEV_DEBUG=false CARGO_INCREMENTAL=0 CARGO_TARGET_DIR=$windows_folder CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER=x86_64-w64-mingw32-gcc \
        CC_x86_64_pc_windows_gnu=x86_64-w64-mingw32-gcc AR_x86_64_pc_windows_gnu=x86_64-w64-mingw32-ar \
        cargo "$command" --locked -Z build-std=std,panic_unwind,test --target "$windows_target" "$@"
}

# Wine, which runs programs of Windows here. Sets WINE; fails where it cannot be had.
need_wine() {
    named WINE wine64 && return
    WINE=$tools/wine/wine64
    [[ -x $WINE ]] || alone fetch_wine || return 1
    export WINE
}

fetch_wine() {
    [[ -x $WINE ]] && return
    say "fetching Wine (Debian's wine64) into target/tools: 150 MB"
    debian_unpack_with_needs wine wine64 || return 1
    # What Debian puts there looks for the server in /usr.
    ln -sf wineserver64 "$tools/wine/usr/lib/wine/wineserver"
    ln -sf ../../../../x86_64-w64-mingw32/lib/zlib1.dll "$tools/wine/usr/lib/x86_64-linux-gnu/wine/x86_64-windows/"
    mkdir -p "$tools/wine/usr/bin"
    ln -sf ../lib/wine/wine64 "$tools/wine/usr/bin/wine64"
    debian_wrapper wine wine64
}

# Makes the folder WINEPREFIX, in which Wine keeps its Windows.
need_wine_folder() {
    [[ -d $WINEPREFIX/drive_c/windows/system32 ]] || "$WINE" wineboot -i >&2
    # Debian's user32.dll needs it, and Wine copies its own alone.
    local zlib=$tools/wine/usr/x86_64-w64-mingw32/lib/zlib1.dll
    if [[ -e $zlib ]]; then cp "$zlib" "$WINEPREFIX/drive_c/windows/system32/"; fi
    # What tests take for a share of a server: \\files\print.
    mkdir -p "$WINEPREFIX/drive_c/shared" "$WINEPREFIX/dosdevices/unc/files"
    ln -sfn "$WINEPREFIX/drive_c/shared" "$WINEPREFIX/dosdevices/unc/files/print"
}

# Ends what runs in Wine's WINEPREFIX, whoever started it.
end_wine() {
    local server=$tools/wine/usr/lib/wine/wineserver
    [[ -x $server ]] || server=wineserver
    "$server" -k || true
}

# What Wine 8 lacks: the random numbers that Rust's library asks for. In its folder lies a DLL with nothing else in it, for
# tests only; a real Windows has its own.
# windows_random FOLDER: puts it there.
windows_random() {
    "$tools/rust-windows/x86_64-w64-mingw32-gcc" -shared -o "$1/bcryptprimitives.dll" \
        "$root/scripts/lib/windows-random.c" -ladvapi32
}
