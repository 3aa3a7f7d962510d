"""The dialect of Cog projects: ``cog.yaml`` beside a Python file with a predictor."""
