#!/usr/bin/env bash
# Builds an image that stands for golang in our Dockerfile where none can be
# pulled: the local base with this machine's Go and the modules that the programs
# need, so that the build needs no network. Prints the image's name.
#
#   docker build --build-arg "GO_IMAGE=$(integration/image/golang.sh)" .
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

base=$(integration/image/base.sh)
inputs=$({ echo "$base"; go version; cat go.mod go.sum integration/image/golang.sh; } | sha256sum | cut -c1-16)
name=countersign/golang:$inputs
if ! docker image inspect "$name" >/dev/null 2>&1; then
  context=$(mktemp -d)
  trap 'chmod -R u+w -- "$context" && rm -rf -- "$context"' EXIT
  # To load the packages with an empty module cache leaves in it what a build needs.
  GOMODCACHE=$context/mod GOFLAGS='' GOPROXY="file://$(go env GOMODCACHE)/cache/download,$(go env GOPROXY)" GONOSUMDB='*' \
    CGO_ENABLED=0 go list -deps ./cmd/... >/dev/null
  mkdir -p "$context/image"
  mv "$context/mod/cache/download" "$context/image/modules"
  cat >"$context/image/Dockerfile" <<DOCKERFILE
FROM $base
COPY go /usr/local/go
COPY modules /modules
ENV PATH=/usr/local/go/bin:/usr/sbin:/usr/bin:/sbin:/bin GOPROXY=file:///modules,off GONOSUMDB=* GOFLAGS=
DOCKERFILE
  tar -c --exclude=testdata --exclude='*_test.go' --transform 's,^\./,go/,' -C "$context/image" Dockerfile modules \
    -C "$(go env GOROOT)" ./bin ./pkg ./src ./lib ./go.env ./VERSION |
    docker build --quiet --tag "$name" - >/dev/null
fi
echo "$name"
