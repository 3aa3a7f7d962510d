"""Cog's HTTP API in front of a model server: a route parses, calls one use case, renders."""
