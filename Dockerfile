# Countersign in an image of its own: two static binaries and the certificates
# of the public authorities, no shell, no other user than its own.
#
#   docker build -t countersign/countersign .
#   docker run --rm countersign/countersign demo
#
# The base is pinned by its full version. To pin it by digest as well, give
# GO_IMAGE=golang:1.26.8-bookworm@sha256:...; the binaries that it makes do not
# depend on the rest of it, and the image that is shipped has no base at all.
ARG GO_IMAGE=golang:1.26.8-bookworm
FROM ${GO_IMAGE} AS build

# What go env knows of the way to the modules may be given by --build-arg.
ARG GOPROXY
ARG GONOSUMDB
ARG GOPRIVATE
ARG VERSION=
ARG COMMIT=
ENV CGO_ENABLED=0 GOTOOLCHAIN=local
WORKDIR /src
COPY . .
RUN mkdir -p /owned/countersign /rootfs/usr/local/bin /rootfs/etc/ssl/certs /rootfs/etc/countersign /rootfs/var/lib \
 && mkdir -m 1777 /rootfs/tmp \
 && cp /etc/ssl/certs/ca-certificates.crt /rootfs/etc/ssl/certs/ \
 && cp LICENSE /rootfs/etc/countersign/ \
 && go build -trimpath -buildvcs=false -ldflags "-s -w -X main.release=${VERSION} -X main.commit=${COMMIT}" \
      -o /rootfs/usr/local/bin/ ./cmd/countersign ./cmd/countersign-plugin

FROM scratch
COPY --from=build /rootfs/ /
# A new volume at /var/lib/countersign belongs to the user below, as its folder does.
COPY --from=build --chown=65532:65532 /owned/ /var/lib/
ENV PATH=/usr/local/bin
USER 65532:65532
EXPOSE 8080
# The process is alive. For "progress is possible", ask /readyz.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["countersign", "healthcheck"]
ENTRYPOINT ["countersign"]
CMD ["host", "--config", "/etc/countersign/countersign.yaml", "--listen", "127.0.0.1:8080"]
