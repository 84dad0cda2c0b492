"""The codes with which streamd closes WebSockets (RFC 6455, section 7.4.2), but for those of the parser."""

from enum import IntEnum

__all__ = ["Closing"]


class Closing(IntEnum):
    """Say why a connection ends: 4000–4499 mean "come back with your cursor", 4500–4999 "do not"."""

    SERVICE_RESTART = 1012
    """The server stops; another or the same will be there soon."""
    TRY_AGAIN_LATER = 1013
    """It can't be said now whether the token will do."""
    TOKEN_EXPIRED = 4001
    """Come back with a new token."""
    TOO_SLOW = 4008
    """The peer is not alive."""
    TOO_MANY = 4029
    """Too many calls came too soon, or connections of one subject."""
    TOKEN_REFUSED = 4501
    """This token will not do."""
    NO_TOKEN_IN_TIME = 4508
    """A token is needed, and none came."""
