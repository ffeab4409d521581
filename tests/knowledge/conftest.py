from tests.store.conftest import (  # noqa: F401
    any_url,
    postgres_url,
    server,
    sqlite_url,
)
