"""Serve one model: the process that owns workers, hands out slots and speaks HTTP."""
