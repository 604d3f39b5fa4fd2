"""An HTTP/2 client made for one thing: many small POSTs to one origin, each with a known fate (RFC 9113)."""
