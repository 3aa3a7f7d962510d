"""A template: a process that has done ahead what workers of one project have in common, and from which they are forked.

``python .../drivetrain_worker template DESCRIPTOR``, started by its owner, which says what to prepare: either the libraries that
the project imports (``imports``), or the project itself, set up (``after_setup``). Then it waits for orders. For each it forks: the
child becomes the worker and goes on as one that was started afresh; the template stays its parent, and tells of its end.

The template ends when its owner closes the connection, or ends. Its workers do not: each ends with the connection to its own
server, as ever.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import select
import signal
import sys
from typing import Any, Dict, List, NoReturn, Optional, Tuple

from drivetrain_worker import capture, forked
from drivetrain_worker.failure import describe_exception
from drivetrain_worker.leaving import abandon, leave
from drivetrain_worker.protocol import Frame
from drivetrain_worker.template_child import Descriptors, become_worker
from drivetrain_worker.template_inheritance import Inheritance
from drivetrain_worker.template_record import Changes, ImportReplay, difference
from drivetrain_worker.template_safety import find_danger, find_threads, open_files, unsupported
from drivetrain_worker.template_socket import Gone, TemplateSocket, answer


def main(descriptor: int) -> Tuple[int, None, Inheritance]:
    """Live as a template. Returns in the forked processes alone: what the worker's ``main`` is called with.

    Args:
        descriptor: A connected stream socket, inherited from the owner.
    """
    os.set_inheritable(descriptor, False)
    capture.install()
    faulthandler.enable()
    owner = TemplateSocket(descriptor)
    _end_with(owner)
    template = _Template(owner)
    try:
        orders = template.prepare()
    except Gone:
        abandon()
    return template.serve(orders)


#: Libraries ask torch for GPUs when they are imported. With this it asks the driver's tools, and does not initialise CUDA by it.
_COUNT_GPUS_WITHOUT_CUDA = "PYTORCH_NVML_BASED_CUDA_CHECK"


class _SetupFailed(Exception):  # noqa: N818 (the author's failure)
    """Another time it may succeed."""


class _Worker:
    """A forked worker, as its parent sees it: whom to tell of its end."""

    def __init__(self, process: int, answers: int) -> None:
        self.process = process
        self.answers = answers


class _Template:
    def __init__(self, owner: TemplateSocket) -> None:
        self._owner = owner
        self._requesters: Dict[int, TemplateSocket] = {owner.fileno(): owner}
        self._workers: List[_Worker] = []
        self._kept: Changes = {}
        self._changes: Changes = {}
        self._load: Optional[Frame] = None
        self._model: Any = None
        self._bell = os.pipe()

    def prepare(self) -> List[Frame]:
        """Do what the owner's first frame says; end if that is not safe. The frames that came with it."""
        frames = self._owner.receive()
        while not frames:
            frames = self._owner.receive()
        order = frames.pop(0)
        try:
            reason = unsupported() or (self._import if order["kind"] == "imports" else self._set_up)(order)
        except _SetupFailed as failure:
            self._refuse(str(failure), lasts=False)
        capture.flush()
        if reason is None:
            reason = find_danger(self._ours())
        if reason is not None:
            self._refuse(reason, lasts=True)
        gc.collect()
        gc.freeze()  # a collection in a worker would write to, and so copy, every page that it looks at
        self._owner.send({"type": "prepared"})
        return frames

    def _refuse(self, reason: str, *, lasts: bool) -> NoReturn:
        """End as a worker ends: with what the project has registered for its end.

        Args:
            lasts: Whether it would be no better another time.
        """
        self._owner.send({"type": "refused", "reason": reason, "lasts": lasts})
        leave(None)
        sys.exit()

    def _import(self, order: Frame) -> Optional[str]:
        from drivetrain_worker.loading import enter_project

        self._changes = order["changes"]
        sys.argv[:] = [order["file"]]  # as the project's code will find it; libraries look at it too
        enter_project(order["root"])
        replay = ImportReplay(order["root"], order["journal"])
        os.environ[_COUNT_GPUS_WITHOUT_CUDA] = "1"
        gc.disable()
        try:
            reason = replay.run(_name_thread_starter)
        finally:
            gc.enable()
            os.environ.pop(_COUNT_GPUS_WITHOUT_CUDA, None)
        if order["root"] in sys.path:
            sys.path.remove(order["root"])  # each worker enters for itself
        self._kept = {name: value for name, value in replay.kept.items() if name != _COUNT_GPUS_WITHOUT_CUDA}
        return reason

    def _set_up(self, order: Frame) -> Optional[str]:
        from drivetrain_worker.loading import enter_project, find_entry_point, import_file, setup_arguments

        forked.install()
        load = order["load"]
        before = dict(os.environ)
        try:
            enter_project(load["root"])
            module = import_file(load["root"], load["file"])
            entry_point = find_entry_point(module, load["name"], mode=load["mode"], takes_lists=load["takes_lists"])
            self._model = entry_point.create()
            if self._model.setup is not None:
                result = self._model.setup(**setup_arguments(self._model.setup))
                if hasattr(result, "__await__"):
                    result.close()
                    return "its set-up is asynchronous, and an event loop cannot be forked"
        except BaseException as error:
            forked.end_copy(error)
            raise _SetupFailed("its set-up fails: %s" % describe_exception(error)["message"]) from error
        forked.end_copy()
        self._load = load
        self._kept = difference(before, os.environ)
        return None

    def _ours(self) -> List[int]:
        return [*self._requesters, *self._bell, *[worker.answers for worker in self._workers]]

    def serve(self, orders: List[Frame]) -> Tuple[int, None, Inheritance]:
        """Fork workers for whoever asks, and reap them; returns in the workers."""
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        for end in self._bell:
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._bell[1], warn_on_full_buffer=False)
        poller = select.poll()
        poller.register(self._bell[0], select.POLLIN)
        poller.register(self._owner.fileno(), select.POLLIN)
        requester = self._owner
        while True:
            for order in orders:
                born = self._obey(requester, order, poller)
                if born is not None:
                    return born
            orders = []
            for descriptor, _events in poller.poll():
                if descriptor == self._bell[0]:
                    self._reap()
                    continue
                requester = self._requesters[descriptor]
                try:
                    orders = requester.receive()
                except Gone:
                    if requester is self._owner:
                        os._exit(0)  # without the clean-up of libraries: it is the workers', which may be using what it removes
                    poller.unregister(descriptor)
                    del self._requesters[descriptor]
                    requester.close()
                break

    def _obey(self, requester: TemplateSocket, order: Frame, poller: Any) -> Optional[Tuple[int, None, Inheritance]]:
        if order["type"] == "introduce":
            descriptor = requester.descriptors.popleft()
            self._requesters[descriptor] = TemplateSocket(descriptor)
            poller.register(descriptor, select.POLLIN)
            return None
        answers, connection, log = (requester.descriptors.popleft() for _ in range(3))
        reason = find_threads()
        try:
            process = os.fork() if reason is None else -1
        except OSError as error:
            reason, process = "a fork failed: %s" % error.strerror, -1
        if process == 0:
            return self._be_born(Descriptors(connection, log), order, answers)
        if process < 0:
            answer(answers, {"type": "refused", "reason": reason})
            for each in (answers, connection, log):
                os.close(each)
            return None
        os.close(connection)
        os.close(log)
        self._workers.append(_Worker(process, answers))
        return None

    def _be_born(self, descriptors: Descriptors, order: Frame, answers: int) -> Tuple[int, None, Inheritance]:
        """In the child: let go of what is the template's."""
        try:
            for requester in self._requesters.values():
                requester.close()
            for each in (*self._bell, *[worker.answers for worker in self._workers]):
                os.close(each)
            files = open_files([descriptors.connection, descriptors.log, answers])
            become_worker(descriptors, order, self._kept, files)
        except BaseException as error:  # noqa: BLE001 (the stack below is the template's)
            answer(
                answers,
                {"type": "refused", "reason": "a fork could not become a worker: %s" % describe_exception(error)["message"]},
            )
            os._exit(1)
        answer(answers, {"type": "forked", "pid": os.getpid()})  # not before it leads its group, by which it may be killed
        os.close(answers)
        return descriptors.connection, None, Inheritance(order["variables"], self._changes, self._load, self._model)

    def _reap(self) -> None:
        try:
            while os.read(self._bell[0], 4096):
                pass
        except BlockingIOError:
            pass
        for worker in list(self._workers):
            process, status = os.waitpid(worker.process, os.WNOHANG)
            if process:
                answer(worker.answers, {"type": "ended", "status": status})
                os.close(worker.answers)
                self._workers.remove(worker)


def _name_thread_starter(name: str) -> Optional[str]:
    """Called after each import: a thread that stays is easier to mend when it is known where it came from."""
    reason = find_threads()
    return None if reason is None else "importing '%s' starts threads: %s" % (name, reason)


def _end_with(owner: TemplateSocket) -> None:
    """End at once when the owner is gone, also in the middle of an import."""
    import fcntl

    def ring(_number: int, _frame: Any) -> None:
        poller = select.poll()
        poller.register(owner.fileno(), 0)  # a hang-up is always reported
        if poller.poll(0):
            _abandon()

    signal.signal(signal.SIGIO, ring)
    fcntl.fcntl(owner.fileno(), fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(owner.fileno(), fcntl.F_SETFL, fcntl.fcntl(owner.fileno(), fcntl.F_GETFL) | os.O_ASYNC)


def _abandon() -> NoReturn:
    forked.end_copy()
    abandon()
