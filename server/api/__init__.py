"""gRPC in and out: what every call goes through, and one servicer a service."""
