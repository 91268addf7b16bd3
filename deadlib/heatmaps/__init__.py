"""A run laid over whole frames, and over time-lapses of them."""
