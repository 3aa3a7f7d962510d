"""The process that holds a model: standard library only, in the model's own interpreter (Python 3.8 and later).

Nothing here imports ``drivetrain``. The two meet in the frame protocol (``protocol.py``), whose version both sides state in
their first frame.
"""
