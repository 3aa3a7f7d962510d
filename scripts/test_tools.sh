#!/bin/sh
# Install what the tests of images need and no package index has: container engines, a registry, a way to make a base image.
# Without root or apt nothing is done, and the tests that need them are skipped and say so.
set -eu
missing=
for pair in podman:podman buildah:buildah runc:runc dockerd:docker.io docker-registry:docker-registry debootstrap:debootstrap; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair##*:}"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "Tests of images will be skipped in part: there is no$(echo "$missing" | sed 's/ /, /g; s/^,//') here" >&2
    exit 0
fi
echo "Installing for the tests of images:$missing" >&2
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # the names are words
{ apt-get update -qq && apt-get install -qq -y --no-install-recommends $missing netavark aardvark-dns; } >/dev/null 2>&1 ||
    echo "They could not be installed; tests that need them are skipped" >&2
