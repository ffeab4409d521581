"""What agents can look up: documents in pieces, and the search over them."""

from .search import Knowledge

__all__ = ["Knowledge"]
