"""What callers of Pharos use: the async client, and on it the `pharos` command."""
