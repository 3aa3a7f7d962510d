#!/bin/sh
# Put uv into .tooling/, from its registry package, by the first way this machine offers. Prints the path of the uv binary.
set -eu
cd "$(dirname "$0")/.."
pinned=$(sed -n 's/^uv==\([0-9.]*\).*/\1/p' requirements.lock)
uv=.tooling/bin/uv
log=.tooling/bootstrap.log

if [ -x "$uv" ] && [ "$("$uv" --version 2>/dev/null | cut -d' ' -f2)" = "$pinned" ]; then
    echo "$uv"
    exit 0
fi

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
    echo "error: '$python' is not Python 3.10 or later; set PYTHON to one that is: make PYTHON=/path/to/python3.12" >&2
    exit 1
fi

rm -rf .tooling
mkdir -p .tooling/bin
echo "Fetching uv $pinned" >&2
if "$python" -m venv .tooling/venv >"$log" 2>&1 && .tooling/venv/bin/python -m pip install --quiet "uv==$pinned" >>"$log" 2>&1; then
    ln -s ../venv/bin/uv "$uv"
elif "$python" -m pip install --quiet --target .tooling/site "uv==$pinned" >>"$log" 2>&1; then
    ln -s ../site/bin/uv "$uv"
elif command -v uv >/dev/null 2>&1; then
    ln -s "$(command -v uv)" "$uv"
else
    cat "$log" >&2
    echo "error: could not fetch uv (above is why); on Debian and Ubuntu 'apt-get install python3-venv' is what is usually missing" >&2
    exit 1
fi
echo "$uv"
