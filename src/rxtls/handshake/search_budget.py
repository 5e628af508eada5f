"""What searching may cost. A budget is counted in units of about a microsecond of Python; they are charged by what is
done, not by the clock, so that results do not depend on the machine."""

from __future__ import annotations

from rxtls.crypto.keys import Keys

SEARCH = 2_000_000  # the default budget of a direction (`search` of the profile): some seconds

TRIAL, TRIAL_BYTES = 4, 1024  # opening a record, and a unit for so many bytes of it
MAC_TRIAL, MAC_BYTES = 16, 256  # the same in a CBC suite
SEARCHED_BYTES = 1024  # looked through for headers, a unit
SCHEDULE = 10  # keys from a secret
TOLD = 20  # the number out of a record (crypto/number.py)
LIKELY_NUMBERS = 2  # looked at in bulk, a unit


class Work:
    """A budget: `left` may end below zero by what the last step cost."""

    __slots__ = ("budget", "left")

    def __init__(self, budget: int = SEARCH) -> None:
        self.budget = self.left = budget

    @property
    def spent(self) -> int:
        """Units so far."""
        return self.budget - self.left

    def trial(self, keys: Keys, length: int) -> None:
        """Pay for opening `length` bytes once."""
        if keys.aead_tag_length:
            self.left -= TRIAL + length // TRIAL_BYTES
        else:
            self.left -= MAC_TRIAL + length // MAC_BYTES
