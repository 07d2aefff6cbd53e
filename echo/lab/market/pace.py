"""Says when trades are due, at a rate that does not drift."""

# Of somebody who fell further behind, as a laptop that slept, the past is left out.
MAX_BEHIND_SECONDS = 2.0
# As many as one publish may have.
MAX_DUE = 100


class Pace:
    """A rate, measured from its beginning: a late trade does not delay those after it."""

    def __init__(self, rate: float, now: float) -> None:
        # Trades a second.
        self.rate = rate
        # By the clock of `now`, in seconds.
        self.began_at = now
        # The trades taken since then.
        self.taken = 0

    def take(self, now: float, at_most: int = MAX_DUE) -> int:
        """Return how many trades are due now, at least one; count them as taken.

        The caller has waited until ``next_at``.
        """
        if now - self.next_at > MAX_BEHIND_SECONDS:
            self.began_at, self.taken = now, 0
        due = int((now - self.began_at) * self.rate) + 1 - self.taken
        due = max(1, min(due, at_most))  # 1: rounding must not say 0
        self.taken += due
        return due

    @property
    def next_at(self) -> float:
        """When the next trade is due."""
        return self.began_at + self.taken / self.rate
