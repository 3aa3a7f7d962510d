"""Modules of older releases that authors import from."""
