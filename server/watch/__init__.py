"""The status feed for its readers: one tailer per process, fan-out from memory, resume by token."""
