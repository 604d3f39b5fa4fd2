"""Posts what happens in an account to its webhooks."""
