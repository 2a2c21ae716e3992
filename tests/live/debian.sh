#!/bin/sh
# The Debian packages that tests/live needs, or those that are named: installs what is missing where it may, else says
# what to install and fails.
set -eu

# the browser and its pages; machines; X desktops; an RFB 3.7 server; assembler and linker for guest.S;
# load balancers; a Java viewer and its display; outside clients and network namespaces;
# native viewers, one of which is compiled; a Wayland desktop; users for SASL; libvirt's schemas; GLib;
# SPICE's viewers and page; databases; nova, whose tokens are read
PACKAGES="chromium novnc
qemu-system-x86 seabios
tigervnc-standalone-server tigervnc-tools xterm
x11vnc
binutils
haproxy nginx-light
tightvnc-java default-jre xvfb xdotool
curl openssl netcat-openbsd iproute2 systemd
tigervnc-viewer gvncviewer libvncserver-dev gcc libc6-dev
sway wayvnc foot grim
sasl2-bin libsasl2-modules
spice-client-gtk virt-viewer spice-html5
libvirt0 libxml2-utils libglib2.0-0
postgresql mariadb-server
python3-nova"
[ $# = 0 ] || PACKAGES=$*

is_installed() {
    [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing() {
    for package in $PACKAGES; do
        is_installed "$package" || printf ' %s' "$package"
    done
}

give_up() {
    echo "$0: $1; please run: apt-get install --no-install-recommends$wanted" >&2
    exit 1
}

wanted=$(missing)
[ -n "$wanted" ] || exit 0
command -v apt-get >/dev/null || give_up "there is no apt-get here"

if [ "$(id -u)" = 0 ]; then
    as_root=env
elif sudo -n true 2>/dev/null; then
    as_root="sudo -n"
else
    give_up "packages are missing, and installing them needs root"
fi

# A package that brings a service must not start it.
policy=/usr/sbin/policy-rc.d
remove_policy() { :; }
if $as_root sh -c "set -C; printf '#!/bin/sh\nexit 101\n' >$policy" 2>/dev/null; then
    remove_policy() { $as_root rm -f "$policy"; }
    trap remove_policy EXIT
    trap 'exit 1' HUP INT TERM
    $as_root chmod 755 "$policy"
fi

apt() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 "$@" >&2
}

apt update || give_up "apt-get update failed"
# shellcheck disable=SC2086 # a list of packages
apt install --no-install-recommends $wanted || give_up "apt-get install failed"
wanted=$(missing)
[ -z "$wanted" ] || give_up "packages are still missing"
