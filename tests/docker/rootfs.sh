# shellcheck shell=bash
# Root folders in a mount namespace of their own: what an image's steps see, and what it runs in.
# Sourced by tests/docker/rehearsal.py inside of `unshare --mount --pid --fork`.
set -euo pipefail

start_root() { # an empty root folder that only this namespace has
    mount --make-rprivate /
    mkdir -p "$1"
    mount -t tmpfs -o mode=0755 tmpfs "$1"
    mkdir "$1/proc" "$1/dev" "$1/sys" "$1/tmp"
    mount -t proc proc "$1/proc"
    mount --rbind /dev "$1/dev"
    mount -t tmpfs -o mode=1777 tmpfs "$1/tmp"
}

show() { # ROOT PATH: a file or folder of this machine, read-only
    if [[ -L "$2" ]]; then
        cp -P "$2" "$1$2"
        return
    fi
    mkdir -p "$1$(dirname "$2")"
    if [[ -d "$2" ]]; then mkdir -p "$1$2"; else touch "$1$2"; fi
    mount --rbind "$2" "$1$2"
    mount -o remount,bind,ro "$1$2"
}

give() { # ROOT FOLDER PATH: a folder that may be written, under another name
    mkdir -p "$1$3"
    mount --bind "$2" "$1$3"
}

builder() { # ROOT: this machine's programs, and room for what an image's steps make
    start_root "$1"
    local path
    for path in /*; do
        case "$path" in /proc | /dev | /sys | /tmp | /opt | /src | /state) ;; *) show "$1" "$path" ;; esac
    done
    for path in /opt/*; do
        if [[ "$path" != /opt/bombyx && "$path" != /opt/models ]]; then show "$1" "$path"; fi
    done
}

runtime() { # ROOT PREFIX: what the base image brings, and nothing of this machine's users
    start_root "$1"
    local path
    for path in /usr /bin /lib /lib64 /etc/ld.so.cache "$2"; do
        if [[ -e "$path" ]]; then show "$1" "$path"; fi
    done
    printf '127.0.0.1 localhost gateway\n' >"$1/etc/hosts"
    printf 'hosts: files\n' >"$1/etc/nsswitch.conf"
}

locked_in() { # ROOT USER COMMAND…: as the compose files say it; a read-only root, no capabilities
    local root=$1 user=$2
    shift 2
    mount -o remount,ro "$root"
    exec chroot "$root" /usr/bin/setpriv --reuid "$user" --regid "$user" --clear-groups \
        --no-new-privs --inh-caps=-all --bounding-set=-all "$@"
}
