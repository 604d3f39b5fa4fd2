"""The worker: claims jobs, expands and renders their recipients, sends, and records what became of each."""
