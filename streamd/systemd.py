"""What systemd is told of a service with `Type=notify`: that it is up, alive, about to stop (sd_notify(3))."""

import os
import socket
from collections.abc import Mapping

__all__ = ["Systemd"]


class Systemd:
    """Tell the systemd that has started this process; where there is none, nobody is told."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """Take where it listens, and whether it wants signs of life, from the environment that it gave."""
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._watched = "WATCHDOG_USEC" in environment and environment.get(
            "WATCHDOG_PID", str(os.getpid())
        ) == str(os.getpid())

    def ready(self) -> None:
        """Say that the server can be connected to."""
        self._tell("READY=1")

    def alive(self) -> None:
        """Give a sign of life: one is due twice in each `WatchdogSec`."""
        if self._watched:
            self._tell("WATCHDOG=1")

    def stopping(self) -> None:
        """Say that the server has begun to stop."""
        self._tell("STOPPING=1")

    def _tell(self, state: str) -> None:
        if not self._address:
            return
        # A name that begins with @ is one of the abstract namespace (unix(7)).
        address = f"\0{self._address[1:]}" if self._address[0] == "@" else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            try:
                sock.sendto(state.encode(), address)
            except OSError:
                return  # That it does not listen any more keeps nobody from serving.
