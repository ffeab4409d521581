"""Wire formats as pure state machines: each written once, read in both roles."""
