"""Replicate's HTTP API, as its clients speak it.

    routes ──▶ predictions, models, versions, deployments, trainings, files, account ──▶ platform
                     │ request: bodies and headers in         rendering, stream, problem: objects, events and errors out
                     └ page: lists and their cursors

What the official clients depend on without saying so is noted where it is obeyed.
"""
