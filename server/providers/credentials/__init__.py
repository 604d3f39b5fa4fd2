"""A credential's content: checked at upload, kept as one canonical secret, read back by the senders."""
