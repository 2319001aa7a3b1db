# shellcheck shell=bash
# Programs out of Debian packages without root: apt downloads them with private lists and caches,
# dpkg-deb unpacks them under target/tools/. To be sourced.

# shellcheck source=scripts/lib/common.sh
source "${BASH_SOURCE[0]%/*}/common.sh"

# Where all that is fetched is kept.
tools=$root/target/tools

# apt-get on lists of our own, which are kept small.
private_apt() {
    apt-get -q \
        -o Dir::State::lists="$tools/apt/lists" -o Dir::Cache="$tools/apt/cache" \
        -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
        -o Acquire::Languages=none -o Acquire::GzipIndexes=true -o APT::Sandbox::User=root "$@" >>"$tools/apt/log" 2>&1
}

# debian_unpack NAME PACKAGE...: unpacks the packages, together, into target/tools/NAME.
# Fails, with apt's words on stderr, where Debian's packages cannot be had.
debian_unpack() {
    local name=$1 part=$tools/$1.part
    shift
    type apt-get dpkg-deb >/dev/null 2>&1 || return 1
    rm -rf "$part"
    mkdir -p "$part/debs" "$tools"/apt/{lists,cache/archives}/partial
    : >"$tools/apt/log"
    # Lists that are there may name versions that the servers have replaced: then new lists. A
    # failing source of another vendor does not matter as long as the download works.
    if ! (cd "$part/debs" && private_apt download "$@"); then
        private_apt update || true
        if ! (cd "$part/debs" && private_apt download "$@"); then
            grep -E '^(E|W|Err)' "$tools/apt/log" >&2 || true
            rm -rf "$part"
            return 1
        fi
    fi
    local deb
    for deb in "$part"/debs/*.deb; do
        dpkg-deb -x "$deb" "$part/root" || return 1
    done
    rm -rf "${tools:?}/$name"
    mv "$part/root" "$tools/$name"
    rm -rf "$part"
}

# debian_unpack_with_needs NAME PACKAGE...: the same, and all that they need and the system lacks.
debian_unpack_with_needs() {
    local name=$1 part=$tools/$1.part deb attempt
    shift
    type apt-get dpkg-deb >/dev/null 2>&1 || return 1
    for attempt in first second; do
        rm -rf "$part"
        mkdir -p "$part/debs/partial" "$tools"/apt/{lists,cache/archives}/partial
        : >"$tools/apt/log"
        private_apt install --yes --download-only --no-install-recommends -o Debug::NoLocking=1 \
            -o Dir::Cache::archives="$part/debs/" "$@" && break
        [[ $attempt == first ]] || { grep -E '^(E|W|Err)' "$tools/apt/log" >&2; rm -rf "$part"; return 1; }
        private_apt update || true
    done
    for deb in "$part"/debs/*.deb; do
        dpkg-deb -x "$deb" "$part/root" || return 1
    done
    rm -rf "${tools:?}/$name"
    mv "$part/root" "$tools/$name"
    rm -rf "$part"
}

# debian_wrapper NAME PROGRAM: writes target/tools/NAME/PROGRAM, which runs usr/bin/PROGRAM of the
# unpacked packages with their libraries. It may be moved along with its folder.
debian_wrapper() {
    local wrapper=$tools/$1/$2
    cat >"$wrapper.part" <<END
#!/bin/sh
here=\${0%/*}
for libraries in "\$here"/lib/*-linux-gnu* "\$here"/usr/lib/*-linux-gnu* \
    "\$here"/usr/lib/*-linux-gnu*/pulseaudio "\$here"/usr/lib/*-linux-gnu*/nss; do
    LD_LIBRARY_PATH=\$libraries\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}
done
export LD_LIBRARY_PATH
exec "\$here/usr/bin/$2" "\$@"
END
    chmod +x "$wrapper.part"
    mv "$wrapper.part" "$wrapper"
}
