"""The one door out: our own HTTP/1.1 client, with the address check that nothing can go around."""

from .door import Egress

__all__ = ["Egress"]
