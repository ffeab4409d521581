"""The language that rooms speak to each other: no I/O, no clock."""
