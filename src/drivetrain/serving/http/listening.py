"""Take a port, or say who should give another one."""

from __future__ import annotations

import errno
import socket

from drivetrain.model.errors import Misuse, OutsideFailed


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to an address and not yet listening.

    Args:
        host: Name or address.
        port: 0 takes a free one.

    Raises:
        Misuse: The host is not one of this machine's, or the port is in use or reserved.
        OutsideFailed: The operating system refuses for another reason.
    """
    # As bytes, no codec for international names is imported.
    name = host.encode() if host.isascii() else host
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except socket.gaierror as error:
        raise Misuse(f"cannot listen on '{host}': {error.strerror}") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise _explain(error, host, port) from error
    return listener


def _explain(error: OSError, host: str, port: int) -> Misuse | OutsideFailed:
    if error.errno == errno.EADDRINUSE:
        return Misuse(f"port {port} is in use by another program", hint="choose another with --port, or --port 0 for a free one")
    if error.errno == errno.EADDRNOTAVAIL:
        return Misuse(
            f"'{host}' is not an address of this machine", hint="127.0.0.1 is this machine alone, 0.0.0.0 every address it has"
        )
    if error.errno == errno.EACCES:
        return Misuse(f"port {port} is reserved for the administrator", hint="choose one from 1024 up with --port")
    return OutsideFailed(f"cannot listen on {host}:{port}: {error.strerror}")
