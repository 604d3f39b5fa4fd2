"""From a push to its outcome: messages, answers, credentials, and the only outgoing HTTP and TLS to vendors."""
