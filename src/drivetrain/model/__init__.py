"""Nouns and decisions: project, signature, prediction, errors. Pure: no process, socket, clock or environment is touched here."""
