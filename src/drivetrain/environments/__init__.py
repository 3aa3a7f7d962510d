"""Make the interpreter a project asks for: an environment realised as a venv on this host."""
