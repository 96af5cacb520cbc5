#!/usr/bin/env bash
# Builds an image that stands for golang in our Dockerfile where none can be
# pulled: the local base with this machine's Go, the modules that the programs
# need, and what they compile to, so that a build needs no network and compiles
# only what is ours. Prints the image's name.
#
#   docker build --build-arg "GO_IMAGE=$(integration/image/golang.sh)" .
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

base=$(integration/image/base.sh)
inputs=$({ echo "$base"; go version; cat go.mod go.sum integration/image/golang.sh; } | sha256sum | cut -c1-16)
name=countersign/golang:$inputs
if ! docker image inspect "$name" >/dev/null 2>&1; then
  context=$(mktemp -d)
  modules=$(go env GOMODCACHE)/cache/download
  trap 'chmod -R u+w -- "$context" && rm -rf -- "$context"' EXIT
  # To load the packages with an empty module cache leaves in it what a build needs.
  # The flags are the Dockerfile's: with others nothing of the cache would be used.
  export GOMODCACHE=$context/mod GOCACHE=$context/image/cache CGO_ENABLED=0 GOFLAGS='' GONOSUMDB='*'
  GOPROXY="file://$modules,$(go env GOPROXY)"
  export GOPROXY
  go list -deps -f '{{if not (and .Module .Module.Main)}}{{.ImportPath}}{{end}}' ./cmd/... |
    xargs go build -trimpath -buildvcs=false
  mkdir -p "$context/image"
  mv "$context/mod/cache/download" "$context/image/modules"
  cat >"$context/image/Dockerfile" <<DOCKERFILE
FROM $base
COPY go /usr/local/go
COPY modules /modules
COPY cache /cache
ENV PATH=/usr/local/go/bin:/usr/sbin:/usr/bin:/sbin:/bin GOPROXY=file:///modules,off GONOSUMDB=* GOFLAGS= GOCACHE=/cache
DOCKERFILE
  tar -c --exclude=testdata --exclude='*_test.go' --transform 's,^\./,go/,' -C "$context/image" Dockerfile modules cache \
    -C "$(go env GOROOT)" ./bin ./pkg ./src ./lib ./go.env ./VERSION |
    docker build --quiet --tag "$name" - >/dev/null
fi
echo "$name"
