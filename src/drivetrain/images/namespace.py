"""A program that runs a command in an unpacked image, in namespaces of its own; ``unpack_run`` starts it.

Two processes take part, and a third where there is a terminal. The *keeper* makes the namespaces, passes signals on, waits, and
removes what the command wrote. Its child is the first process in the new process namespace: it puts the file system together,
moves into it, and becomes the image's command. When the keeper dies the kernel ends that process, and with it every other in the
namespace.

A process with threads cannot make a user namespace, and nothing of ours is in the image; so this is a program of its own that
needs the standard library alone. Container engines do the same with helpers for which they install setuid programs; with one user
in the namespace none is needed. ``unshare(1)`` keeps signals to itself and ``bwrap`` ends at once when it gets one, so
that a server in it could not finish what it does; hence the system calls.

What the image's command may do is what its user may do, less what a container may not: the file systems that describe the kernel
are read-only, and the capabilities that could change that are given up.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import itertools
import json
import os
import secrets
import select
import shutil
import signal
import stat
import struct
import sys
import termios
import threading
import time
import tty
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

#: As docker has it: what runs the command has failed; the command cannot be run; there is none.
KEEPER_FAILED = 125
_CANNOT_RUN = 126
_NOT_FOUND = 127

#: How long a command has to end whose starter or terminal is gone.
_GRACE_SECONDS = 15
_REMINDER_SECONDS = 1
#: That many requests to end are passed on; the last one ends it in any case.
_PATIENCE = 3

_NAMESPACES = 0x10000000 | 0x20000000 | 0x04000000 | 0x08000000  # user, process, host name, IPC
_MOUNT_NAMESPACE = 0x00020000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 0x1, 0x2, 0x4, 0x8
_MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x20, 0x1000, 0x4000, 0x40000
_MNT_DETACH = 2
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 24, 38
_AT_FDCWD, _AT_RECURSIVE, _MOUNT_ATTR_RDONLY = -100, 0x8000, 0x1
_MOUNT_SETATTR = 442
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_FICLONE = 0x40049409

#: What docker leaves to containers; among the others is the right to mount.
_CAPABILITIES = frozenset({0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31})

_PASSED_ON = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT)
_ENDING = (signal.SIGINT, signal.SIGTERM)

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_DEVICE_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
#: Of the host, since its network is the image's too.
_NETWORK_FILES = ("/etc/resolv.conf", "/etc/hosts")
#: Through these a process could change or read the machine's kernel.
_READ_ONLY = ("/proc/sys", "/proc/irq", "/proc/bus", "/proc/fs", "/proc/sysrq-trigger")
_HIDDEN_FILES = ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/latency_stats")
_HIDDEN_DIRECTORIES = ("/proc/acpi", "/proc/scsi", "/sys/firmware")
#: Where NVIDIA's images look for what comes from the host.
DRIVER_LIBRARIES = "/usr/local/nvidia/lib64"

_libc = ctypes.CDLL(None, use_errno=True)


def main(words: Sequence[str]) -> int:
    """Run the command that the JSON document in a file descriptor describes, or try whether namespaces can be made.

    Args:
        words: ``--probe``, or the number of the descriptor.

    Returns:
        The command's exit status, as a shell would give it; after a probe 0, or the number of the error that the kernel gave.
    """
    try:
        if list(words) == ["--probe"]:
            enter_namespaces(0, 0)
            enter_mount_namespace()
            return 0
        with os.fdopen(int(words[0]), "rb") as file:
            return keep(json.load(file))
    except OSError as error:
        if list(words) == ["--probe"]:
            return error.errno or 1
        _say(f"cannot run the image: {error.strerror or error}{f': {error.filename}' if error.filename else ''}")
        return KEEPER_FAILED


def keep(order: dict[str, Any]) -> int:
    """Run the command in namespaces, see it through, and remove what it wrote.

    Args:
        order: ``directory`` holds ``layers`` and ``runs``; ``layers`` are names in the former, the lowest first; ``is_marked``
            tells whether the kernel can read there what layers take away; ``arguments``, ``environ``, ``working_directory`` and
            ``user`` (two numbers) are the command's; ``devices`` are paths of the host, ``libraries`` too, by their names;
            ``terminal`` asks for a terminal of its own; ``shared_memory`` is the size of ``/dev/shm`` in bytes; ``starter`` is
            the process whose end ends the command, 0 if there is none.
    """
    runs = f"{order['directory']}/runs"
    os.makedirs(runs, mode=0o700, exist_ok=True)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (*_PASSED_ON, signal.SIGCHLD))
    terminal = os.openpty() if order["terminal"] else None
    relay = _relay(terminal) if terminal is not None else None
    enter_namespaces(*order["user"])
    if order["starter"]:
        _set_death_signal(signal.SIGTERM)
        if os.getppid() != order["starter"]:  # it was quicker
            return KEEPER_FAILED
    sweep(runs)
    _hold(f"{order['directory']}/layers", order["layers"])
    with own_directory(runs) as directory:
        alive, keeps_alive = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(keeps_alive)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            _become(order, directory, terminal[1] if terminal is not None else None, alive)
        os.close(alive)
        if terminal is not None:
            os.close(terminal[1])
        status = _see_through(child, order["starter"])
        if relay is not None:
            os.waitpid(relay, 0)
        return status


# The keeper


def enter_namespaces(user: int, group: int) -> None:
    """Make namespaces, and be one user and group in them whatever they are outside."""
    outside = os.geteuid(), os.getegid()
    if outside[0] == 0:
        os.setgroups([])
    _call(_libc.unshare(_NAMESPACES))
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/gid_map", f"{group} {outside[1]} 1")
    _write("/proc/self/uid_map", f"{user} {outside[0]} 1")


def enter_mount_namespace() -> None:
    """Keep mounts from everybody else. The keeper has none of its own: it goes on to see the host as it is."""
    _call(_libc.unshare(_MOUNT_NAMESPACE))
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)


def _see_through(child: int, starter: int) -> int:
    """Pass signals on until the child has ended; its exit status."""
    asked, deadline = 0, None
    while True:
        info = signal.sigtimedwait((*_PASSED_ON, signal.SIGCHLD), _REMINDER_SECONDS)
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        if deadline is not None and info is None:  # a first process that is not prepared for it yet does not notice
            os.kill(child, signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL)
        if info is None:
            continue
        number = info.si_signo
        if number != signal.SIGCHLD:
            asked += number in _ENDING
            os.kill(child, signal.SIGKILL if asked >= _PATIENCE else number)
            gone = number == signal.SIGHUP or bool(starter and os.getppid() != starter)
            if gone and deadline is None:
                deadline = time.monotonic() + _GRACE_SECONDS


def _relay(terminal: tuple[int, int]) -> int:
    """Start a process that connects the command's terminal with ours; its number.

    A process of its own, since the keeper can start no threads once it has made a process namespace. It ends when nobody holds the
    other end any more, and leaves our terminal as it was even if the keeper is killed.
    """
    ours, theirs = terminal
    relay = os.fork()
    if relay:
        os.close(ours)
        return relay
    os.close(theirs)
    before = termios.tcgetattr(0)
    try:
        _follow_size(ours)
        tty.setraw(0, termios.TCSADRAIN)  # what was typed already is not lost
        threading.Thread(target=_copy, args=(0, ours), daemon=True).start()
        _copy(ours, 1)
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)
        os._exit(0)


def _follow_size(ours: int) -> None:
    def resize(*_: object) -> None:
        with contextlib.suppress(OSError):
            fcntl.ioctl(ours, termios.TIOCSWINSZ, fcntl.ioctl(0, termios.TIOCGWINSZ, b"\0" * 8))

    signal.signal(signal.SIGWINCH, resize)
    resize()


def _copy(source: int, target: int) -> None:
    with contextlib.suppress(OSError):
        while block := os.read(source, 65536):
            while block:
                block = block[os.write(target, block) :]


# Directories of runs


@contextlib.contextmanager
def own_directory(runs: str) -> Iterator[str]:
    """A directory that is removed at the end, or, if this process is killed, by the next ``sweep``."""
    while True:
        directory = f"{runs}/{secrets.token_hex(6)}"
        lock = os.open(f"{directory}.lock", os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(lock).st_nlink:  # nobody has swept it away in between
                break
        os.close(lock)
    try:
        os.mkdir(directory, 0o700)
        yield directory
    finally:
        with contextlib.suppress(OSError):  # the next sweep tries again
            remove_tree(directory)
            os.unlink(f"{directory}.lock")
        os.close(lock)


def _hold(directory: str, layers: Sequence[str]) -> None:
    """Keep layers from being removed as unused for as long as this process lives."""
    for layer in layers:
        note = os.open(f"{directory}/{layer}.json", os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(note, fcntl.LOCK_SH)


def sweep(runs: str) -> None:
    """Remove the directories of processes that were killed."""
    for entry in list(os.scandir(runs)):
        if not entry.name.endswith(".lock"):
            continue
        with contextlib.suppress(OSError):  # another process may do the same, or another user may have made it
            lock = os.open(entry.path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.isdir(entry.path.removesuffix(".lock")):
                    remove_tree(entry.path.removesuffix(".lock"))
                os.unlink(entry.path)
            finally:
                os.close(lock)


def remove_tree(directory: str) -> None:
    """Remove a directory whatever is in it: however deep, and with modes that keep its owner out.

    Args:
        directory: Holds directories and files of ours; what is in those may be of strangers.
    """
    numbers = itertools.count()
    while entries := list(os.scandir(directory)):
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)
                continue
            os.chmod(entry.path, 0o700)
            for inner in list(os.scandir(entry.path)):
                if inner.is_dir(follow_symlinks=False):
                    os.chmod(inner.path, 0o700)
                    os.rename(inner.path, f"{directory}/.{next(numbers)}")  # so that no path ever becomes too long
                else:
                    os.unlink(inner.path)
            os.rmdir(entry.path)
    os.rmdir(directory)


# The command


def _become(order: dict[str, Any], directory: str, terminal: int | None, alive: int) -> NoReturn:
    """Turn into the image's command."""
    try:
        _set_death_signal(signal.SIGKILL)
        if select.select([alive], [], [], 0)[0]:  # the keeper died before the kernel knew what to do then
            os._exit(KEEPER_FAILED)
        os.setsid()
        if terminal is not None:
            _take_terminal(terminal)
        os.umask(0o022)
        _build_root(order, directory)
        os.makedirs(order["working_directory"], exist_ok=True)
        os.chdir(order["working_directory"])
        _give_up_capabilities()
    except OSError as error:
        _say(f"cannot put the image together: {error.strerror or error}{f': {error.filename}' if error.filename else ''}")
        os._exit(KEEPER_FAILED)
    _execute(order["arguments"], order["environ"])


def _take_terminal(terminal: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    for number in (0, 1, 2):
        os.dup2(terminal, number)


def _execute(arguments: Sequence[str], environ: dict[str, str]) -> NoReturn:
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and that would be inherited
        signal.signal(number, signal.SIG_DFL)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    try:
        os.execvpe(arguments[0], list(arguments), environ)  # noqa: S606 (running the image's command is what this is for)
    except OSError as error:
        _say(f"cannot run '{arguments[0]}' in the image: {error.strerror}")
        os._exit(_NOT_FOUND if isinstance(error, FileNotFoundError) else _CANNOT_RUN)


def _give_up_capabilities() -> None:
    for number in range(64):
        if number not in _CAPABILITIES:
            _libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)  # numbers that the kernel does not know are not there to give up
    _call(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def _build_root(order: dict[str, Any], directory: str) -> None:
    """Put the file system together, and move into it.

    All but the layers is mounted after the move: a symbolic link of the image then leads into the image and nowhere else.
    """
    enter_mount_namespace()
    network = {path: _content(path) for path in _NETWORK_FILES}
    root = _merged(order, directory)
    os.chdir(root)
    old = f".{secrets.token_hex(16)}"
    os.mkdir(old, 0o700)
    _call(_libc.syscall(_PIVOT_ROOT[os.uname().machine], b".", old.encode()))
    os.chdir("/")
    host = f"/{old}"
    _mount_kernel(host)
    _mount_devices(host, order)
    for path, content in network.items():
        _replace(path, content)
    _make_directory("/tmp", 0o1777)  # noqa: S108 (where every program expects it)
    _call(_libc.umount2(host.encode(), _MNT_DETACH))
    os.rmdir(host)


def _merged(order: dict[str, Any], directory: str) -> str:
    """The image's file system, to be written to; nothing that is written reaches the layers."""
    root, upper, work = (f"{directory}/{name}" for name in ("root", "upper", "work"))
    for path in (root, upper, work):
        os.mkdir(path, 0o755)
    layers = f"{order['directory']}/layers"
    if order["is_marked"] and order["layers"]:
        os.chmod(upper, stat.S_IMODE(os.stat(f"{layers}/{order['layers'][-1]}").st_mode))
        run = f"../runs/{os.path.basename(directory)}"
        # Paths from here: the kernel reads a page of options at most, and a comma or colon above would be one of them.
        os.chdir(layers)
        options = f"lowerdir={':'.join(reversed(order['layers']))},upperdir={run}/upper,workdir={run}/work,userxattr"
        with contextlib.suppress(OSError):
            _mount("overlay", f"{run}/root", "overlay", _MS_NOSUID | _MS_NODEV, options)
            return root
    for layer in order["layers"]:
        copy_layer(f"{layers}/{layer}", root)
    _mount(root, root, None, _MS_BIND)
    _mount(None, root, None, _MS_BIND | _MS_REMOUNT | _MS_NOSUID | _MS_NODEV)
    return root


def copy_layer(tree: str, root: str) -> None:
    """Put a layer over those that are in a directory already, as a copy."""
    with open(f"{tree}.json", encoding="utf-8") as file:
        removals = json.load(file)
    emptied = set(removals["emptied"])
    gone: dict[str, list[str]] = {}
    for path in removals["gone"]:
        gone.setdefault(os.path.dirname(path), []).append(os.path.basename(path))
    links: dict[int, str] = {}
    modes = []
    pending = [""]
    while pending:
        inner = pending.pop()
        source, target = f"{tree}/{inner}".rstrip("/"), f"{root}/{inner}".rstrip("/")
        if not _is_directory(target):
            _remove(target)
            os.mkdir(target, 0o700)
        for name in os.listdir(target) if inner in emptied else gone.get(inner, ()):
            _remove(f"{target}/{name}")
        for entry in os.scandir(source):
            if entry.is_dir(follow_symlinks=False):
                pending.append(f"{inner}/{entry.name}".lstrip("/"))
            else:
                _copy_entry(entry, f"{target}/{entry.name}", links)
        modes.append((source, target))
    for source, target in reversed(modes):
        shutil.copystat(source, target)


def _copy_entry(entry: os.DirEntry[str], target: str, links: dict[int, str]) -> None:
    found = entry.stat(follow_symlinks=False)
    if stat.S_ISCHR(found.st_mode):  # says that something is gone, which is known already
        return
    _remove(target)
    if entry.is_symlink():
        os.symlink(os.readlink(entry.path), target)
    elif found.st_nlink > 1 and found.st_ino in links:
        os.link(links[found.st_ino], target)
    else:
        with open(entry.path, "rb") as source, open(target, "xb") as file:
            try:
                fcntl.ioctl(file.fileno(), _FICLONE, source.fileno())  # shares the content until it is written to
            except OSError:
                shutil.copyfileobj(source, file, 1024 * 1024)
        shutil.copystat(entry.path, target)
        links[found.st_ino] = target


def _remove(path: str) -> None:
    if _is_directory(path):
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _is_directory(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return False


def _mount_kernel(host: str) -> None:
    """``/proc`` and ``/sys``: to be looked at."""
    for path in ("/proc", "/sys"):
        _make_directory(path)
    try:
        _mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    except PermissionError:  # within a container that hides parts of its own, which the kernel keeps hidden
        _mount(f"{host}/proc", "/proc", None, _MS_BIND | _MS_REC)
    _mount(f"{host}/sys", "/sys", None, _MS_BIND | _MS_REC)
    if not _made_read_only("/sys"):
        _call(_libc.umount2(b"/sys", _MNT_DETACH))
    for path in filter(os.path.exists, _READ_ONLY):
        _mount(path, path, None, _MS_BIND | _MS_REC)
        if not _made_read_only(path):  # an old kernel
            _mount(None, path, None, _MS_BIND | _MS_REMOUNT | _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    for path in filter(os.path.exists, _HIDDEN_FILES):
        _mount(f"{host}/dev/null", path, None, _MS_BIND)
    for path in filter(os.path.exists, _HIDDEN_DIRECTORIES):
        _mount("tmpfs", path, "tmpfs", _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)


def _made_read_only(path: str) -> bool:
    attributes = struct.pack("=QQQQ", _MOUNT_ATTR_RDONLY, 0, 0, 0)
    result = _libc.syscall(_MOUNT_SETATTR, _AT_FDCWD, path.encode(), _AT_RECURSIVE, attributes, ctypes.c_size_t(len(attributes)))
    return bool(result == 0)


def _mount_devices(host: str, order: dict[str, Any]) -> None:
    _make_directory("/dev")
    _mount("tmpfs", "/dev", "tmpfs", _MS_NOSUID, "mode=755,size=65536k")
    for name in _DEVICES:
        _bind(f"{host}/dev/{name}", f"/dev/{name}")
    for name, target in _DEVICE_LINKS.items():
        os.symlink(target, f"/dev/{name}")
    for name, kind, options in (
        ("pts", "devpts", "newinstance,ptmxmode=0666,mode=0620"),
        ("shm", "tmpfs", f"mode=1777,size={order['shared_memory']}"),
    ):
        os.mkdir(f"/dev/{name}")
        _mount(kind, f"/dev/{name}", kind, _MS_NOSUID | _MS_NOEXEC, options)
    for path in order["devices"]:
        _bind(f"{host}{path}", path)
    if order["libraries"]:
        _make_directory(DRIVER_LIBRARIES)
        _mount("tmpfs", DRIVER_LIBRARIES, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=755")
        for name, path in order["libraries"].items():
            _bind(f"{host}{path}", f"{DRIVER_LIBRARIES}/{name}")


def _bind(source: str, target: str) -> None:
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(target, "xb"):
        pass
    _mount(source, target, None, _MS_BIND)


def _make_directory(path: str, mode: int = 0o755) -> None:
    if not os.path.isdir(path):
        os.makedirs(path)
        os.chmod(path, mode)


def _replace(path: str, content: bytes | None) -> None:
    if content is None:
        return
    _make_directory(os.path.dirname(path))
    _remove(path)
    with open(path, "xb") as file:
        file.write(content)


def _content(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None


# System calls that Python has no names for


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    words = [text.encode() if text is not None else None for text in (source, target, kind)]
    data = options.encode() if options is not None else None
    _call(_libc.mount(*words, ctypes.c_ulong(flags), data), target)


def _set_death_signal(number: int) -> None:
    _call(_libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0))


def _call(result: int, what: str | None = None) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def _write(path: str, text: str) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)


def _say(text: str) -> None:
    sys.stderr.write(f"drivetrain: {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
