"""HTTP/2 for pushes: many small POSTs to one origin, at the cost of the wire, and exact about what became of each."""
