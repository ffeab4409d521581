"""What was used, what it cost."""
