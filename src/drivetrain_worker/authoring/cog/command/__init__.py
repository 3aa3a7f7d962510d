"""Modules of older releases that are run with ``python -m``."""
