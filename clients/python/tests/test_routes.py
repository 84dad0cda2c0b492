from streamd_client.errors import PlaceLost
from streamd_client.protocol import Closed, Progress, Push
from streamd_client.routes import Routes
from streamd_client.values import Entry

ENTRY = Entry("c", 1, {})
LOST = PlaceLost(-32007, "m")


class Listener:
    """A subscriber that keeps what it is told."""

    def __init__(self):
        self.heard = []

    def received(self, entry, size):
        self.heard.append(("received", entry, size))

    def progressed(self, cursor, live):
        self.heard.append(("progressed", cursor, live))

    def closed_by_server(self, error):
        self.heard.append(("closed", error))


def test_each_number_has_its_subscriber_and_one_that_nobody_has_is_ignored():
    first, second = Listener(), Listener()
    routes = Routes()
    routes.add(1, first)
    routes.add(2, second)
    for message in (
        Push(1, ENTRY),
        Push(3, ENTRY),
        Progress("c", 2, live=False),
        Progress("c", 3, live=True),
        Progress("d", None, live=False),
        Closed(1, LOST),
        Closed(1, LOST),
        Push(1, ENTRY),
    ):
        routes.receive(message, 40)
    assert first.heard == [("received", ENTRY, 40), ("progressed", "d", True), ("closed", LOST)]
    assert second.heard == [("progressed", "c", False), ("progressed", "d", True)]


def test_removed_numbers_are_ignored_and_so_are_all_when_the_connection_is_gone():
    first, second = Listener(), Listener()
    routes = Routes()
    routes.add(1, first)
    routes.add(2, second)
    routes.remove(1)
    routes.remove(1)
    routes.receive(Push(1, ENTRY), 1)
    routes.clear()
    routes.receive(Push(2, ENTRY), 1)
    routes.receive(Progress("d", None, live=False), 1)
    assert (first.heard, second.heard) == ([], [])
