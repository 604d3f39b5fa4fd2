"""The words and rules of the service. Pure: standard library only, imported by all, imports nothing of ours."""
