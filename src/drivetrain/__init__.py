"""Run the models people have already written, unchanged, on hardware they own."""

__version__ = "0.1.0"
