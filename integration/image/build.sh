#!/usr/bin/env bash
# Builds an image of Apache Kafka for machines that cannot pull one: Debian with
# a Java runtime by debootstrap, the Kafka jars of a folder on top. It takes the
# environment of the official image (entrypoint.sh), so that either serves.
#
#   integration/image/build.sh LIBS [TAG]
#
# LIBS is the folder of jars. An image of the same inputs is not built again.
# It needs root (debootstrap) and a Docker engine; see .ci/containers.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

[ $# -ge 1 ] || { echo "usage: $0 LIBS [TAG]" >&2; exit 2; }
libs=$1
tag=${2:-countersign/kafka:4.2.0-local}
compgen -G "$libs/kafka_*.jar" >/dev/null || { echo "$0: $libs has no Kafka jars" >&2; exit 2; }

base=$(./base.sh)
inputs=$({
  echo "$base"
  sha256sum Dockerfile entrypoint.sh tool.sh log4j2.properties
  (cd "$libs" && sha256sum -- *.jar)
} | sha256sum | cut -c1-16)

if [ "$(docker image inspect --format '{{index .Config.Labels "countersign.inputs"}}' "$tag" 2>/dev/null)" = "$inputs" ]; then
  echo "$tag is there, of the same inputs ($inputs)"
  exit 0
fi
# The context goes in as a stream: the jars stay where they are.
tar -c --transform 's,^\./,,' Dockerfile entrypoint.sh tool.sh log4j2.properties -C "$libs" --transform 's,^\(.*\.jar\)$,libs/\1,' . |
  docker build --quiet --build-arg "BASE=$base" --label "countersign.inputs=$inputs" --tag "$tag" - >/dev/null
echo "$tag is built ($inputs, $(docker image inspect --format '{{.Size}}' "$tag" | awk '{printf "%.0f MB", $1/1e6}'))"
