"""A compiled problem told again: other numbers, other people."""
