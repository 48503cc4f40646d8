#!/usr/bin/env bash
# `make test-bare`: the two commands of the README, `make demo` and `make test`, on a Debian 12 that has nothing but
# python3, python3-venv, make, git and ca-certificates: in a chroot made by debootstrap. PYTEST="..." is handed on.
#
# Where packages come from is told by this machine's own apt and pip at run time: sources, proxies, certificates.
# Mounts and processes live in namespaces of their own, so that none is left, however this ends. It needs root.
set -euo pipefail

RELEASE=bookworm
PACKAGES=python3,python3-venv,make,git,ca-certificates
PROJECT=/srv/provisioner
cd "$(dirname "${BASH_SOURCE[0]}")/.."

main() {
	if [ "$(id -u)" != 0 ] || ! unshare --mount --pid --fork true 2>/dev/null; then
		echo "SKIPPED: make test-bare needs root and the right to mount and to chroot" >&2
		exit 0
	fi
	"${PYTHON:-python3}" -B tests/system_packages.py debootstrap
	root=$(mktemp -d "${TMPDIR:-/var/tmp}/bare-XXXXXXXX")
	chmod 755 "$root"
	trap 'rm -rf --one-file-system "$root"' EXIT
	trap 'kill -KILL "$inside" 2>/dev/null; wait "$inside" || true; exit 130' INT TERM HUP
	unshare --mount --pid --fork --kill-child tests/bare.sh inside "$root" </dev/null &
	inside=$!
	wait "$inside"
}

# In namespaces of mounts and processes: make the chroot, and run both commands in it.
inside() {
	local root=$1
	bootstrap "$root"
	mount -t proc proc "$root/proc"
	mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts "$root/dev/pts"
	mkdir -p "$root/dev/shm" && mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
	hand_on_apt "$root"
	hand_on_pip "$root"
	mkdir -p "$root$PROJECT"
	git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
		if [ -e "$file" ]; then printf '%s\0' "$file"; fi
	done | tar --null --files-from=- -c | tar -C "$root$PROJECT" --no-same-owner -x
	bare "$root" make setup
	unshare --net tests/bare.sh alone "$root" make demo
	bare "$root" make system
	! served_by "$root" || { echo "a package has started a service" >&2; return 1; }
	bare "$root" make test PYTEST="${PYTEST:-}"
}

# Make the chroot, through the proxy that apt uses if it uses one.
bootstrap() (
	root=$1
	mirror=$(sources | awk -v release=$RELEASE '$2 == release { print $1; exit }')
	[ -n "$mirror" ] || { echo "none of this machine's apt sources has Debian's $RELEASE" >&2; return 1; }
	eval "$(apt-config shell http_proxy Acquire::http::Proxy https_proxy Acquire::https::Proxy)"
	export http_proxy https_proxy
	echo "== bare: debootstrap of $RELEASE with $PACKAGES"
	debootstrap --variant=minbase --include="$PACKAGES" "$RELEASE" "$root" "$mirror" >"$root/debootstrap.out" 2>&1 \
		|| { tail -n 20 "$root/debootstrap.out" >&2; return 1; }
)

# Run a command in the chroot, with what a login has, and with what names proxies, certificates and packages.
bare() {
	local root=$1 kept=() name
	shift
	for name in $(compgen -e); do
		case $name in PIP_* | *_proxy | *_PROXY | SSL_CERT_FILE | SSL_CERT_DIR) kept+=("$name=${!name}") ;; esac
	done
	echo "== bare: $*"
	env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root "${kept[@]}" \
		chroot "$root" sh -c 'cd "$0" && exec "$@"' "$PROJECT" "$@"
}

# Debian's own sources of this machine, one a line: address, suite.
sources() {
	apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)' 'Created-By: Packages' \
		| awk -v release=$RELEASE '$2 ~ "^" release && $3 == "main" && $4 == "Debian" { print $1, $2 }' | sort -u
}

# Debian's own sources and what says how they are fetched: proxies and certificates. No other source, no hook.
hand_on_apt() {
	local root=$1
	sources | sed 's/.*/deb & main/' >"$root/etc/apt/sources.list"
	apt-config dump Acquire >"$root/etc/apt/apt.conf.d/00machine"
	hand_on_files "$root" <"$root/etc/apt/apt.conf.d/00machine"
	cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
	find /usr/local/share/ca-certificates -name '*.crt' -exec cp -t "$root/usr/local/share/ca-certificates" {} +
	chroot "$root" update-ca-certificates >/dev/null 2>&1
}

# pip's settings, and the files and folders that they name; of an index in a folder, what lies beside it, too.
hand_on_pip() {
	local root=$1 folder
	.venv/bin/pip config debug | sed -n 's/^ *\(\/.*\), exists: True$/\1/p' | while read -r file; do
		cp -L --parents "$file" "$root"
	done
	.venv/bin/pip config list | hand_on_files "$root"
	for folder in $(.venv/bin/pip config list | grep -oE "file://[^' ]+" | sed 's|^file://||' | xargs -r -n 1 dirname) \
		$(.venv/bin/pip config list | grep -oE "['= ]/[^' ]+" | cut -c 2-); do
		[ -d "$folder" ] || continue
		mkdir -p "$root$folder"
		mount --bind "$folder" "$root$folder"
		mount -o remount,bind,ro "$root$folder"
	done
}

# Copy every file that is named by its absolute path in the text on standard input.
hand_on_files() {
	local root=$1
	{ grep -oE "/[^'\"; ]+" || true; } | while read -r file; do
		if [ -f "$file" ]; then cp -L --parents "$file" "$root"; fi
	done
}

# Say whether a process runs in the chroot.
served_by() {
	local root=$1 process
	for process in /proc/[0-9]*; do
		[ "$(readlink "$process/root")" != "$root" ] || { tr '\0' ' ' <"$process/cmdline"; echo; return 0; }
	done
	return 1
}

# Run a command in the chroot with a loopback of its own and no other network: no server of the machine answers there.
alone() {
	python3 -c 'import fcntl, socket; fcntl.ioctl(socket.socket(), 0x8914, b"lo".ljust(16, b"\0") + b"\1".ljust(24, b"\0"))'
	bare "$@"
}

case ${1:-} in
	inside | alone) "$@" ;;
	*) main ;;
esac
