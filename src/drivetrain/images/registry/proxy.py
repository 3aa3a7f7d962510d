"""Which proxy the environment names for a host."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from urllib.parse import SplitResult, unquote, urlsplit

from drivetrain.images.reference import is_loopback
from drivetrain.model.errors import OutsideFailed


def proxy_for(url: SplitResult, environ: Mapping[str, str]) -> SplitResult | None:
    """The proxy that the environment names for a URL; none for this machine itself.

    Raises:
        OutsideFailed: It is of a kind that we do not speak.
    """
    names = (f"{url.scheme}_proxy", "all_proxy")
    named = next((found for name in names for one in (name, name.upper()) if (found := environ.get(one))), None)
    host = url.netloc.rpartition("@")[2]
    if named is None or is_loopback(host) or _is_direct(host, environ.get("no_proxy") or environ.get("NO_PROXY") or ""):
        return None
    proxy = urlsplit(named if "://" in named else f"http://{named}")
    if proxy.scheme != "http" or not proxy.hostname:
        raise OutsideFailed(
            f"the proxy '{proxy._replace(netloc=proxy.netloc.rpartition('@')[2]).geturl()}' cannot be used for '{url.netloc}'",
            hint="name one that starts with http://, or put the host into NO_PROXY",
        )
    return proxy


def proxy_headers(proxy: SplitResult) -> dict[str, str]:
    """What tells a proxy who asks, if its URL names a user."""
    if proxy.username is None:
        return {}
    user = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(user.encode()).decode()}"}


def _is_direct(host: str, no_proxy: str) -> bool:
    """Whether a host, or a domain that it is in, is on the list of those that are asked without a proxy."""
    names = [name.strip().lstrip(".").lower() for name in no_proxy.split(",")]
    forms = (host.lower(), host.lower().rpartition(":")[0])
    return "*" in names or any(form == name or form.endswith(f".{name}") for name in names if name for form in forms)
