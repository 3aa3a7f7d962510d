"""Where older releases kept ``BasePredictor``."""

from __future__ import annotations

from cog.predictor import BasePredictor as BasePredictor
