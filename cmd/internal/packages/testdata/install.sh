#!/bin/sh
# install.sh PACKAGES FOLDER: the life of the .deb packages, told on stdout. It runs in a mount and a network
# namespace of its own.
set -eu
. testdata/root.sh
dpkg() { in_root sh -c "dpkg --force-unsafe-io --no-triggers $*" >"$work/dpkg.log" 2>&1 || { cat "$work/dpkg.log" && exit 1; }; }

mkdir "$root/tmp/n" "$root/tmp/next"
cp "$packages"/*.deb "$root/tmp/n/"
# The next version is this one with another number.
for deb in "$root"/tmp/n/*.deb; do
	name=${deb##*/}
	dpkg-deb --raw-extract "$deb" "$root/tmp/x"
	sed -i 's/^Version: .*/&+next/' "$root/tmp/x/DEBIAN/control"
	dpkg-deb -Znone --root-owner-group --build "$root/tmp/x" "$root/tmp/next/$name" >/dev/null
	rm -r "$root/tmp/x"
done
find "$work/upper" ! -type d | sort >"$work/before"

say first install
dpkg -i /tmp/n/warren_* /tmp/n/warren-agent_* /tmp/n/warren-controller_*
asked
in_root sh -c 'id -nu warren-agent warren-controller >/dev/null; getent passwd warren-agent | cut -d: -f6,7'
for path in /etc/warren /var/lib/warren-agent /var/lib/warren-controller; do
	in_root stat -c '%A %U %n' "$path"
done

say upgrade
dpkg -i /tmp/next/warren_* /tmp/next/warren-agent_* /tmp/next/warren-controller_*
asked

say downgrade
dpkg -i /tmp/n/warren_* /tmp/n/warren-agent_* /tmp/n/warren-controller_*
asked

say remove
echo precious >"$root/var/lib/warren-agent/identity"
ip route add unreachable 10.90.0.0/16 proto 119
ip route add unreachable 10.91.0.0/16
dpkg -r warren-agent
asked
ip route show type unreachable
cat "$root/var/lib/warren-agent/identity"

say install again
dpkg -i /tmp/n/warren-agent_*
asked

say remove all
dpkg -r warren-agent warren-controller warren
asked
cat "$root/var/lib/warren-agent/identity"

say purge
touch "$root/etc/warren/agent.yaml" "$root/etc/warren/controller.yaml"
dpkg -P warren-agent warren-controller warren
asked
in_root getent passwd warren-agent warren-controller || :
in_root getent group warren warren-admin warren-agent warren-controller || :
# The databases of dpkg, man and shadow have changed, and nothing else is there that was not before.
find "$work/upper" ! -type d | sort | comm -13 "$work/before" - | sed "s|^$work/upper||" |
	grep -vE '^/var/(lib/dpkg|cache/man|log|lib/systemd/deb-systemd)|^/etc/(passwd|group|shadow|gshadow|subuid|subgid)-?$|^/etc/.pwd.lock$' || :
find "$work/upper" -name '*warren*' -not -path "$work/upper/tmp/*" | sed "s|^$work/upper||"

say an image that is built without systemd
rm -r "$root/run/systemd" "$root/usr/local/sbin/systemctl"
dpkg -i /tmp/n/warren_* /tmp/n/warren-agent_*
in_root systemctl is-enabled warren-agent
ip route add unreachable 10.90.0.0/16 proto 119
dpkg -P warren-agent warren
ip route show type unreachable
