"""Everything kept in PostgreSQL. With the launcher of the embedded server, the only importer of asyncpg."""
