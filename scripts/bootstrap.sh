#!/bin/sh
# Put uv into .tooling/, from its registry package, by the first way this machine offers. Prints the path of the uv binary.
set -eu
cd "$(dirname "$0")/.."
pinned=$(sed -n 's/^uv==\([0-9.]*\).*/\1/p' requirements.lock)
uv=.tooling/bin/uv
log=.tooling/bootstrap.log
mark=.tooling/uv-version # the version that was asked for; the last way below may give another

if [ -x "$uv" ] && [ "$(cat "$mark" 2>/dev/null)" = "$pinned" ]; then
    echo "$uv"
    exit 0
fi

python=${PYTHON:-python3}
if ! command -v "$python" >/dev/null 2>&1; then
    echo "error: there is no '$python'; install Python 3.10 or later, or name one: make PYTHON=/path/to/python3.12" >&2
    exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
    echo "error: '$python' is not Python 3.10 or later; name one that is: make PYTHON=/path/to/python3.12" >&2
    exit 1
fi

rm -rf .tooling
mkdir -p .tooling/bin
echo "Fetching uv $pinned" >&2
# Debian's python3 comes without pip and venv, and where pip is there it refuses to install (PEP 668) unless told where to.
if "$python" -m venv .tooling/venv >"$log" 2>&1 && .tooling/venv/bin/python -m pip install --quiet "uv==$pinned" >>"$log" 2>&1; then
    ln -s ../venv/bin/uv "$uv"
elif "$python" -m pip install --quiet --target .tooling/site "uv==$pinned" >>"$log" 2>&1; then
    ln -s ../site/bin/uv "$uv"
elif command -v uv >/dev/null 2>&1; then
    ln -s "$(command -v uv)" "$uv"
else
    cat "$log" >&2
    if grep -Eq 'ensurepip|No module named .?(pip|venv)' "$log"; then
        echo "error: '$python' has neither pip nor venv, so uv cannot be fetched" >&2
        echo " hint: on Debian and Ubuntu: apt-get install python3-venv; or install uv by any other means, and run this again" >&2
    else
        echo "error: uv could not be fetched; above is why" >&2
        echo " hint: check the network, and the proxy or mirror that pip is set up for" >&2
    fi
    exit 1
fi
echo "$pinned" >"$mark"
echo "$uv"
