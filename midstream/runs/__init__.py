"""Everything is a run: it owns its upstream calls, writes one event log, and whoever reads follows that log."""
