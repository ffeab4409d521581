from tests.store.conftest import (  # noqa: F401
    _given_or_private,
    any_url,
    postgres_url,
    server,
    sqlite_url,
)
