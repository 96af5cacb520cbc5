#!/usr/bin/env bash
# Makes the image that our local images stand on, where no registry of images
# can be reached: this machine's own Debian release with a Java runtime and the
# CA certificates, from the mirror that its apt uses. Prints the image's name.
# An image of the same inputs is not made again.
set -euo pipefail

packages=ca-certificates,default-jre-headless
# shellcheck source=/dev/null
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
name=countersign/base:$suite-$(printf '%s' "$packages" | sha256sum | cut -c1-8)

if ! docker image inspect "$name" >/dev/null 2>&1; then
  # The first source, of either form, that carries the release itself.
  mirror=$( (cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null || true) |
    awk -v suite="$suite" '
      $1 == "URIs:" { uri = $2 }
      $1 == "Suites:" { for (i = 2; i <= NF; i++) if ($i == suite) { print uri; exit } }
      $1 == "deb" { gsub(/\[[^]]*\] */, ""); if ($3 == suite) { print $2; exit } }')
  [ -n "$mirror" ] || { echo "$0: apt has no source of $suite" >&2; exit 1; }
  root=$(mktemp -d)
  trap 'rm -rf -- "$root"' EXIT
  debootstrap --variant=minbase --include="$packages" "$suite" "$root" "$mirror" >"$root.log" 2>&1 || {
    tail -n 20 "$root.log" >&2
    exit 1
  }
  rm -f "$root.log"
  tar -c -C "$root" --exclude=./var/cache/apt/* --exclude=./var/lib/apt/lists/* --exclude=./usr/share/doc/* \
    --exclude=./usr/share/man/* --exclude=./usr/share/locale/* --exclude=./proc/* --exclude=./sys/* --exclude=./dev/* . |
    docker import --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' - "$name" >/dev/null
fi
echo "$name"
