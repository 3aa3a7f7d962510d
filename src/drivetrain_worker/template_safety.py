"""Whether this process can be forked, each fork going its own way afterwards; if not, why.

A fork copies memory and one thread. What it does not copy, or copies as a second hand on the same thing, makes a worker hang or
fail far from here: other threads and the locks they held, CUDA, open connections, queues, event loops, children. So a template in
which any such thing is found is refused, with its reason; nothing is guessed.

Two kinds of threads are no obstacle, and are asked to end. OpenBLAS, which numpy brings, starts its threads at import, and ends
them by itself when a fork begins; a rehearsal, a fork that ends at once, shows it. OpenMP, which torch uses, keeps a pool once it
has computed; the standard has a call to let it go (``omp_pause_resource_all``). Both start threads anew when they next compute,
in the template and in each worker, as many as ever.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from typing import Any, Callable, Collection, Dict, Iterator, List, Optional

#: omp_pause_soft of OpenMP 5.0: give back threads, keep settings.
_OMP_PAUSE_SOFT = 1

#: A thread that was told to end may need a moment to be gone from the kernel's list.
_PATIENCE_SECONDS = 1.0

#: What the driver answers until it is initialised.
_CUDA_ERROR_NOT_INITIALIZED = 3

#: Opened by CUDA (and its like on AMD's GPUs) when it is initialised, and not by merely counting GPUs.
_GPU_DEVICES = ("/dev/nvidia-uvm", "/dev/kfd")

#: There where the machine has GPUs of NVIDIA's.
_GPU_CONTROL = "/dev/nvidiactl"


def unsupported() -> Optional[str]:
    """Why nothing can be known here about threads and descriptors, or ``None``."""
    if sys.platform == "linux" and os.path.isdir("/proc/self/task") and os.path.isdir("/proc/self/fd"):
        return None
    return "the safety of forking can be checked on Linux only"


def find_danger(ours: Collection[int]) -> Optional[str]:
    """Why a fork of this process would be unsafe, or ``None``.

    Args:
        ours: Descriptors of the template's own, which forks close.
    """
    return (
        find_threads() or _find_cuda() or _find_children() or _find_descriptors(ours) or _find_shared_memory() or _find_temporary()
    )


def find_threads() -> Optional[str]:
    """Have threads end that can be started anew; the reason if others go on."""
    if len(_threads()) == 1:
        return None
    _let_openmp_go()
    if len(_threads()) > 1:
        _rehearse()
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while len(_threads()) > 1:
        if time.monotonic() > deadline:
            return _describe_threads(_threads())
        time.sleep(0.01)
    return None


def open_files(ours: Collection[int]) -> List[int]:
    """Descriptors of regular files: forks share their positions unless each opens them anew."""
    return [number for number, _target, status in _descriptors(ours) if stat.S_ISREG(status.st_mode)]


def _threads() -> Dict[str, str]:
    threads = {}
    for name in os.listdir("/proc/self/task"):
        threads[name] = _first_line("/proc/self/task/%s/comm" % name)
    return threads


def _describe_threads(threads: Dict[str, str]) -> str:
    main = str(os.getpid())
    names = sorted({"'%s'" % threads[each] for each in threads if each != main})
    known = sys.modules.get("threading")
    if known is not None:
        named = ["'%s'" % thread.name for thread in known.enumerate() if thread is not known.main_thread()]
        names = named or names
    return "%d of its threads go on beside the main one (%s)" % (len(threads) - 1, ", ".join(names[:3]))


def _let_openmp_go() -> None:
    libraries = [path for path in _mapped_files() if os.path.basename(path).startswith(("libgomp", "libomp", "libiomp"))]
    if not libraries:
        return
    import ctypes

    for path in libraries:
        try:
            pause = ctypes.CDLL(path).omp_pause_resource_all
        except (OSError, AttributeError):  # older than OpenMP 5.0
            continue
        pause(_OMP_PAUSE_SOFT)


def _rehearse(ask: Callable[[], object] = lambda: None) -> bool:
    """Fork a process that ends at once; whether it said yes."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns of forks with several threads; this one is to find out
        process = os.fork()
    if process == 0:
        answer = True
        try:
            answer = bool(ask())
        finally:
            os._exit(1 if answer else 0)
    return os.waitpid(process, 0)[1] != 0


def _find_cuda() -> Optional[str]:
    torch: Any = sys.modules.get("torch")
    is_initialized = getattr(getattr(torch, "cuda", None), "is_initialized", None)
    if is_initialized is not None and is_initialized():
        return "CUDA is initialised (by torch)"
    is_in_bad_fork = getattr(getattr(torch, "cuda", None), "_is_in_bad_fork", None)
    if is_in_bad_fork is not None and os.path.exists(_GPU_CONTROL) and _rehearse(is_in_bad_fork):
        return "torch was asked for GPUs in a way after which forks cannot use them"
    driver = next((path for path in _mapped_files() if os.path.basename(path).startswith("libcuda.so")), None)
    if driver is None:
        return None
    import ctypes

    try:
        code = ctypes.CDLL(driver).cuDeviceGetCount(ctypes.byref(ctypes.c_int()))
    except (OSError, AttributeError):
        return "the CUDA driver is loaded and does not say whether it is initialised"
    return None if code == _CUDA_ERROR_NOT_INITIALIZED else "CUDA is initialised"


def _find_children() -> Optional[str]:
    """For the time before the first worker: all children are the project's."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return "it has started child processes"


def _find_descriptors(ours: Collection[int]) -> Optional[str]:
    for _number, target, status in _descriptors(ours):
        if target.startswith(_GPU_DEVICES):
            return "CUDA is initialised ('%s' is open)" % target
        if stat.S_ISSOCK(status.st_mode):
            return "it holds an open connection"
        if stat.S_ISFIFO(status.st_mode):
            return "it holds an open pipe"
        if target.startswith("anon_inode:"):
            return "it holds something of the kernel's that forks would share (%s)" % target.partition(":")[2].strip("[]")
    return None


def _descriptors(ours: Collection[int]) -> Iterator[Any]:
    for name in os.listdir("/proc/self/fd"):
        number = int(name)
        if number < 3 or number in ours:
            continue
        try:
            yield number, os.readlink("/proc/self/fd/%d" % number), os.fstat(number)
        except OSError:  # the directory that was being listed
            continue


def _find_shared_memory() -> Optional[str]:
    for line in _maps():
        fields = line.split(None, 5)
        if len(fields) == 6 and fields[1].startswith("rw") and fields[1].endswith("s"):
            path = fields[5].strip()
            if path.startswith(("/dev/shm/", "/memfd:", "/dev/zero", "/SYSV", "/dev/nvidia")):  # noqa: S108 (compared, not used)
                return "it holds memory, locks or semaphores that forks would share ('%s')" % path
    return None


def _find_temporary() -> Optional[str]:
    """What removes itself at the end of a process would be removed by the first worker that ends."""
    tempfile: Any = sys.modules.get("tempfile")
    if tempfile is None:
        return None
    import gc

    wrapper = tempfile._TemporaryFileWrapper  # noqa: SLF001 (what NamedTemporaryFile returns)
    for thing in gc.get_objects():
        kind = type(thing)  # isinstance would ask the thing itself, which may answer with a warning
        if kind is tempfile.TemporaryDirectory and thing._finalizer.alive:  # noqa: SLF001 (nothing else says it)
            return "it keeps a temporary directory ('%s'), which the first worker to end would remove" % thing.name
        if kind is wrapper and _removes_itself(thing):
            return "it keeps a temporary file ('%s'), which the first worker to end would remove" % thing.name
    return None


def _removes_itself(file: Any) -> bool:
    closer = file._closer  # noqa: SLF001 (here it is in all versions)
    return bool(closer.delete) and (not file.file.closed or not getattr(closer, "delete_on_close", True))


def _mapped_files() -> List[str]:
    files = (line.split(None, 5)[5].strip() for line in _maps() if line.count("/"))
    return sorted({path for path in files if ".so" in path})


def _maps() -> List[str]:
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as file:
        return file.readlines()


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readline().strip()
    except OSError:  # the thread has ended
        return ""
