"""How many of something may happen in a sliding minute; pure, given the time."""

from __future__ import annotations

from collections import deque

WINDOW_SECONDS = 60.0


class SlidingLimit:
    """Counts what happened in the last minute. One per key.

    Args:
        most: How many may happen in any minute.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._moments: deque[float] = deque()

    def take(self, now: float) -> float:
        """Let one more happen, if it may.

        Args:
            now: Seconds on a clock that never goes back.

        Returns:
            0 if it may; else in how many seconds one more may.
        """
        # Reckoned as the wait below, or rounding makes that 0 for what may not happen yet.
        while self._moments and self._moments[0] + WINDOW_SECONDS <= now:
            self._moments.popleft()
        if len(self._moments) < self.most:
            self._moments.append(now)
            return 0.0
        if not self._moments:  # none may, ever
            return WINDOW_SECONDS
        return self._moments[0] + WINDOW_SECONDS - now

    def give_back(self) -> None:
        """The latest did not happen after all."""
        if self._moments:
            self._moments.pop()
