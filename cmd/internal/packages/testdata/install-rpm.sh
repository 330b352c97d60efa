#!/bin/sh
# install-rpm.sh PACKAGES FOLDER: the life of the .rpm packages, told on stdout. It runs in a mount and a network
# namespace of its own, on a machine whose rpm may know of no other packages: so nothing is asked of those.
set -eu
. testdata/root.sh
rpm() { in_root sh -c "rpm --nodeps --dbpath /tmp/db $*" >"$work/rpm.log" 2>&1 || { cat "$work/rpm.log" && exit 1; }; }

# rpm runs scripts with a PATH of its own.
mv "$root/usr/local/sbin/systemctl" "$root/usr/bin/systemctl"
mkdir "$root/tmp/n"
cp "$packages"/*.rpm "$root/tmp/n/"
find "$work/upper" ! -type d | sort >"$work/before"

say first install
rpm -i /tmp/n/warren-[0-9]*.rpm /tmp/n/warren-agent-*.rpm /tmp/n/warren-controller-*.rpm
asked
in_root sh -c 'id -nu warren-agent warren-controller >/dev/null; getent passwd warren-agent | cut -d: -f6,7'
for path in /etc/warren /var/lib/warren-agent /var/lib/warren-controller; do
	in_root stat -c '%A %U %n' "$path"
done
in_root warren version >/dev/null && in_root warren-agent version >/dev/null && in_root warren-controller version >/dev/null && echo they run

say upgrade
rpm -U --force /tmp/n/warren-[0-9]*.rpm /tmp/n/warren-agent-*.rpm /tmp/n/warren-controller-*.rpm
asked

say remove
echo precious >"$root/var/lib/warren-agent/identity"
ip route add unreachable 10.90.0.0/16 proto 119
ip route add unreachable 10.91.0.0/16
rpm -e warren-agent
asked
ip route show type unreachable
cat "$root/var/lib/warren-agent/identity"

say install again
rpm -i /tmp/n/warren-agent-*.rpm
asked

say remove all
rpm -e warren-agent warren-controller warren
asked
cat "$root/var/lib/warren-agent/identity"
# What is left: users and what the agent knows.
find "$work/upper" ! -type d | sort | comm -13 "$work/before" - | sed "s|^$work/upper||" |
	grep -vE '^/etc/(passwd|group|shadow|gshadow|subuid|subgid)-?$|^/etc/.pwd.lock$|^/var/lib/rpm' || :
