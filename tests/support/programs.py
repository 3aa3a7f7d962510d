"""Programs that a test starts."""

import contextlib
import subprocess


class Program(subprocess.Popen):
    """One that is gone when its block is left: a test that has failed, or waited too long, must not wait for it without end."""

    def __exit__(self, error_type, error, traceback):
        try:
            if error_type is None:
                with contextlib.suppress(BrokenPipeError):
                    self._close_streams()
                self.wait(timeout=60)
        finally:
            self.kill()  # nothing happens to one that has ended
            super().__exit__(error_type, error, traceback)

    def _close_streams(self):
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                stream.close()
