"""Who reads the standard output, and may go before all of it is written: `| head -1`."""

import os
import select

__all__ = ["has_gone", "let_go"]

_STDOUT = 1


def has_gone() -> bool:
    """Tell whether nobody can read what is written from now on."""
    poll = select.poll()
    poll.register(_STDOUT, 0)  # That it is closed is told unasked.
    return bool(poll.poll(0))


def let_go() -> None:
    """Let what follows go nowhere: what is left in a buffer is written at exit, and would fail again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, _STDOUT)
    os.close(nowhere)
