# A copy of this machine that is thrown away, with a systemd that only says what it is asked for. To be read by scripts
# that run in a mount and a network namespace of their own, as SCRIPT PACKAGES FOLDER.
packages=$1
work=$2
mount -t tmpfs tmpfs "$work" && mkdir "$work/upper" "$work/work" "$work/root" &&
	mount -t overlay overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/work" "$work/root" || exit 77
root=$work/root
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/dev"
mknod -m 666 "$root/dev/null" c 1 3
rm -f "$root/usr/sbin/policy-rc.d"
ip link set lo up

say() { printf '\n# %s\n' "$*"; }
in_root() { chroot "$root" "$@"; }
asked() {
	cat "$root/tmp/asked" 2>/dev/null || :
	rm -f "$root/tmp/asked"
}

# A systemd that runs, as far as the scripts can see.
mkdir -p "$root/run/systemd/system" "$root/usr/local/sbin"
cat >"$root/usr/local/sbin/systemctl" <<'EOF'
#!/bin/sh
echo "systemctl $*" >>/tmp/asked
EOF
chmod 755 "$root/usr/local/sbin/systemctl"
